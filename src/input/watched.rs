//! Files that must stay as they were when they were first read.
//!
//! A file is the same while its [`Identity`] is. That is no proof in two cases. A clock that ticks every few milliseconds gives two
//! changes in one tick the same time: so nothing but what is known by its hash is read before the tick is over
//! ([`Watched::settle`]). And who has mapped the file may write to a page without any time being changed for as long as the page
//! has not gone to the disk, some thirty seconds: so a file that was changed shortly before is [`Sameness::Doubtful`], and its
//! content is compared.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::identity::Identity;
use super::kind::InputKind;
use super::regular::{is_missing, open, read_file};
use crate::error::{Error, Result};

/// As long as a page may wait to be written to the disk (`vm.dirty_expire_centisecs`), and some more.
const YOUNG: Duration = Duration::from_secs(40);
/// Longer than a tick of the clock of files.
const TICK: Duration = Duration::from_millis(20);
/// The same where files have whole seconds; FAT has every second one.
const COARSE_TICK: Duration = Duration::from_secs(2);

/// A file as it was when it was first read.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    path: PathBuf,
    identity: Identity,
    is_young: bool,
    /// How many bytes were read at once, and their hash.
    known: Option<(u64, blake3::Hash)>,
}

/// How sure it is that a file is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// It is.
    Same,
    /// Nothing speaks against it, but only its content can tell.
    Doubtful,
}

impl Watched {
    /// The file `path`, which is open as `file`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(path: &Path, file: &File) -> Result<Self> {
        let metadata = file.metadata().map_err(|e| Error::io("read", path, e))?;
        let identity = Identity::of(&metadata);
        let is_young = identity.age() < YOUNG;
        Ok(Watched { path: path.into(), identity, is_young, known: None })
    }

    /// The regular file at `path`, of which nothing was read yet.
    ///
    /// # Errors
    /// Those of [`open`].
    pub fn at(path: &Path) -> Result<Self> {
        Watched::new(path, &open(path)?)
    }

    /// The same, of which `start` was read: all of the file, or its beginning.
    #[must_use]
    pub fn with_start(mut self, start: &[u8]) -> Self {
        self.known = Some((start.len() as u64, blake3::hash(start)));
        self
    }

    /// The hash of what was read of it at once, in hexadecimal.
    pub fn hash(&self) -> Option<String> {
        self.known.map(|(_, hash)| hash.to_hex().to_string())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether it was changed so shortly before it was first read that its times do not tell of all changes after.
    pub fn is_young(&self) -> bool {
        self.is_young
    }

    /// Waits until the file's clock has ticked since its last change, for two seconds at the most: a change after that is seen.
    pub fn settle(&self) {
        let tick = if self.identity.is_coarse() { COARSE_TICK } else { TICK };
        if self.is_young
            && let Some(left) = tick.checked_sub(self.identity.age())
        {
            std::thread::sleep(left);
        }
    }

    /// Looks whether the file at the path is still the same. One that was read whole may be another with the same content.
    ///
    /// # Errors
    /// [`Error::Changed`]; [`Error::Io`] when it cannot be read any more, [`Error::Format`] when it is no regular file.
    pub fn recheck(&self) -> Result<Sameness> {
        let (file, now) = self.now()?;
        let difference = self.identity.difference(&now);
        let is_whole = self.known.is_some_and(|(length, _)| length == self.identity.length());
        match difference {
            Some(how) if !is_whole || now.length() != self.identity.length() => Err(self.changed(how)),
            None if !self.is_young && !self.identity.is_doubtful(&now) => Ok(Sameness::Same),
            how => {
                self.compare_start(file, how.unwrap_or("was written to"))?;
                Ok(if is_whole { Sameness::Same } else { Sameness::Doubtful })
            }
        }
    }

    /// The same for a shard that directories share: it gets and loses names meanwhile, and nobody sets its times back.
    ///
    /// # Errors
    /// As for [`Watched::recheck`].
    pub fn recheck_shared(&self) -> Result<()> {
        match self.identity.difference_in_content(&self.now()?.1) {
            Some(how) => Err(self.changed(how)),
            None => Ok(()),
        }
    }

    /// What is at the path now.
    fn now(&self) -> Result<(File, Identity)> {
        let file = open(&self.path).map_err(|error| match is_missing(&error) {
            true => self.changed("was deleted"),
            false => error,
        })?;
        let now = Watched::new(&self.path, &file)?.identity;
        Ok((file, now))
    }

    /// The error for this file: `how` it changed.
    pub fn changed(&self, how: &str) -> Error {
        Error::changed(&self.path, how)
    }

    fn compare_start(&self, file: File, how: &str) -> Result<()> {
        let Some((length, hash)) = self.known else { return Ok(()) };
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file.take(length)).map_err(|e| Error::io("read", &self.path, e))?;
        if hasher.finalize() == hash { Ok(()) } else { Err(self.changed(how)) }
    }
}

/// The content of the regular file at `path`, and the file as it was.
///
/// # Errors
/// Those of [`super::read`]; [`Error::Changed`] when somebody wrote to it meanwhile.
pub fn read_watched(path: &Path, kind: InputKind) -> Result<(Vec<u8>, Watched)> {
    let file = open(path)?;
    let watched = Watched::new(path, &file)?;
    let bytes = read_file(path, &file, kind.most_bytes(), kind.name())?;
    let now = Watched::new(path, &file)?.identity;
    match watched.identity.difference(&now) {
        Some(how) => Err(watched.changed(how)),
        None => {
            let watched = watched.with_start(&bytes);
            Ok((bytes, watched))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn old(path: &Path) -> Watched {
        let (_, watched) = read_watched(path, InputKind::Data).unwrap();
        Watched { is_young: false, ..watched }
    }

    #[test]
    fn every_change_is_said_and_the_same_content_is_the_same() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        type Change = fn(&Path);
        let changes: [(&str, Change); 6] = [
            ("was deleted", |p| fs::remove_file(p).unwrap()),
            ("was cut short", |p| File::options().write(true).open(p).unwrap().set_len(3).unwrap()),
            ("grew", |p| fs::write(p, "content and more").unwrap()),
            ("was written to", |p| fs::write(p, "CONTENT").unwrap()),
            ("was replaced", |p| {
                fs::write(p.with_extension("new"), "CONTENT").unwrap();
                fs::rename(p.with_extension("new"), p).unwrap();
            }),
            ("was changed", |p| {
                let modified = fs::metadata(p).unwrap().modified().unwrap();
                fs::write(p, "CONTENT").unwrap();
                File::options().write(true).open(p).unwrap().set_modified(modified).unwrap();
            }),
        ];
        for (how, change) in changes {
            fs::write(&path, "content").unwrap();
            let watched = old(&path);
            watched.settle();
            assert_eq!(watched.recheck().unwrap(), Sameness::Same);
            std::thread::sleep(TICK);
            change(&path);
            let error = watched.recheck().unwrap_err();
            assert_eq!((error.kind(), error.to_string().contains(how)), ("changed", true), "{error}");
        }
        fs::write(&path, "content").unwrap();
        let (whole, unread) = (old(&path), Watched { is_young: false, ..Watched::at(&path).unwrap() });
        std::thread::sleep(TICK);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "content").unwrap();
        assert_eq!(whole.recheck().unwrap(), Sameness::Same);
        assert_eq!(unread.recheck().unwrap_err().kind(), "changed");
    }

    #[test]
    fn what_was_changed_shortly_before_is_compared_by_its_content() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "content").unwrap();
        let watched = Watched::at(&path).unwrap();
        assert_eq!(watched.recheck().unwrap(), Sameness::Doubtful);
        assert_eq!(watched.clone().with_start(b"content").recheck().unwrap(), Sameness::Same);
        assert_eq!(watched.clone().with_start(b"cont").recheck().unwrap(), Sameness::Doubtful);
        assert_eq!(watched.with_start(b"CONT").recheck().unwrap_err().kind(), "changed");
    }

    #[test]
    fn another_name_of_the_same_file_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "content").unwrap();
        let watched = Watched { is_young: false, ..Watched::at(&path).unwrap() };
        std::thread::sleep(TICK);
        fs::hard_link(&path, place.path().join("other")).unwrap();
        assert_eq!(watched.recheck().unwrap(), Sameness::Doubtful);
    }
}
