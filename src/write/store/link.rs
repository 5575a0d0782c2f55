//! How a directory gets a shard that other directories hold too.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::input;
use crate::interrupt::Cleanup;
use crate::words::words;
use crate::write::destination::nearest_existing;

words! {
    /// How shards are shared between the directories of a family, as it was asked for.
    #[derive(Default)]
    pub enum LinkChoice: "way to link" {
        /// The first of reflink, hardlink and copy that the file system can do.
        #[default]
        Auto = "auto",
        /// Copies that share their blocks on the disk until one is changed (btrfs, XFS, APFS).
        Reflink = "reflink",
        /// One file under several names, read-only so that nobody changes all by changing one.
        Hardlink = "hardlink",
        /// A file for each directory.
        Copy = "copy",
    }
}

words! {
    /// How a shard got into a directory, worst last.
    #[derive(PartialOrd, Ord)]
    pub enum Link: "link" {
        /// As [`LinkChoice::Reflink`].
        Reflink = "reflink",
        /// As [`LinkChoice::Hardlink`].
        Hardlink = "hardlink",
        /// As [`LinkChoice::Copy`].
        Copy = "copy",
    }
}

/// Gives the shard `from` the further name `to`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Refused`] when the file system cannot do what was asked for.
pub(crate) fn share(from: &Path, to: &Path, choice: LinkChoice) -> Result<Link> {
    if matches!(choice, LinkChoice::Auto | LinkChoice::Reflink) {
        match reflink_copy::reflink(from, to) {
            Ok(()) => return Ok(Link::Reflink),
            Err(error) if choice == LinkChoice::Reflink => {
                return Err(cannot("reflink", format!("`{}`", from.display()), &error));
            }
            Err(_) => {}
        }
    }
    if matches!(choice, LinkChoice::Auto | LinkChoice::Hardlink) {
        match fs::hard_link(from, to) {
            Ok(()) => {
                // The mode belongs to the file, so this holds for all its names; who may read it is as the umask had it.
                let failed = |e| Error::io("make read-only", to, e);
                let mode = to.metadata().map_err(failed)?.permissions().mode() & 0o444;
                fs::set_permissions(to, Permissions::from_mode(mode)).map_err(failed)?;
                return Ok(Link::Hardlink);
            }
            Err(error) if choice == LinkChoice::Hardlink => {
                return Err(cannot("hard-link", format!("`{}`", from.display()), &error));
            }
            Err(_) => {}
        }
    }
    copy(from, to)?;
    Ok(Link::Copy)
}

/// How [`share`] would give files of the folder `out` further names there, tried with a pair of empty files: they lie in `out` or
/// its nearest parent that is there, and are gone afterwards.
///
/// # Errors
/// [`Error::Refused`] when the file system cannot do what was asked for.
pub(crate) fn foresee(out: &Path, choice: LinkChoice) -> Result<Link> {
    if choice == LinkChoice::Copy {
        return Ok(Link::Copy);
    }
    let folder = nearest_existing(out);
    let attempt = |error| Error::io("try to link files in", &folder, error);
    let make = || tempfile::Builder::new().prefix(".qlua-link-").tempdir_in(&folder).map_err(attempt);
    let (pair, cleanup) = Cleanup::make(make, |pair| {
        let path = pair.path().to_path_buf();
        move || drop(fs::remove_dir_all(&path))
    })?;
    let (from, to) = (pair.path().join("a"), pair.path().join("b"));
    let tried = fs::write(&from, "").map_err(attempt).map(|()| {
        let is_reflinked = || reflink_copy::reflink(&from, &to);
        let is_linked = || fs::hard_link(&from, &to);
        let within = format!("files of `{}`", folder.display());
        match choice {
            LinkChoice::Reflink => {
                is_reflinked().map(|()| Link::Reflink).map_err(|error| cannot("reflink", within, &error))
            }
            LinkChoice::Hardlink => {
                is_linked().map(|()| Link::Hardlink).map_err(|error| cannot("hard-link", within, &error))
            }
            _ if is_reflinked().is_ok() => Ok(Link::Reflink),
            _ if is_linked().is_ok() => Ok(Link::Hardlink),
            _ => Ok(Link::Copy),
        }
    });
    cleanup.conclude(|| pair.close()).map_err(attempt)?;
    tried?
}

fn cannot(action: &str, what: String, error: &std::io::Error) -> Error {
    Error::refused(format!("the file system cannot {action} {what}: {error}"))
        .with_hint("choose --link auto, which falls back to what the file system can do")
}

/// A file of its own with the content of `from`, on the disk; permissions follow the umask.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut target = File::create_new(to).map_err(|e| Error::io("create", to, e))?;
    copy_into(from, &mut target, to)
}

/// Fills `target`, which is empty and lies at `to`, with the content of `from`, and forces it to the disk.
pub(crate) fn copy_into(from: &Path, target: &mut File, to: &Path) -> Result<()> {
    let mut source = input::open(from)?;
    std::io::copy(&mut source, target).map_err(|e| Error::io("write", to, e))?;
    target.sync_all().map_err(|e| Error::io("write", to, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn auto_shares_what_it_can_and_shared_files_are_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&from, "content").unwrap();
        fs::set_permissions(&from, Permissions::from_mode(0o640)).unwrap();
        let link = share(&from, &to, LinkChoice::Auto).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"content");
        let metadata = to.metadata().unwrap();
        match link {
            Link::Hardlink => assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (2, 0o440)),
            Link::Reflink | Link::Copy => assert_eq!(metadata.nlink(), 1),
        }
    }

    #[test]
    fn what_share_will_do_is_foreseen_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&from, "content").unwrap();
        for choice in [LinkChoice::Auto, LinkChoice::Reflink, LinkChoice::Hardlink, LinkChoice::Copy] {
            let foreseen = foresee(&dir.path().join("not/there/yet"), choice);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            match (foreseen, share(&from, &to, choice)) {
                (Ok(foreseen), Ok(done)) => assert_eq!(foreseen, done),
                (Err(foreseen), Err(error)) => {
                    assert!(foreseen.to_string().contains(&dir.path().display().to_string()), "{foreseen}");
                    assert_eq!(foreseen.hint(), error.hint());
                }
                (foreseen, done) => panic!("{choice}: {foreseen:?} was foreseen, {done:?} happened"),
            }
            let _ = fs::remove_file(&to);
        }
    }

    #[test]
    fn another_file_system_gets_a_copy_and_hardlink_alone_is_refused_there() {
        let (here, there) = (tempfile::tempdir().unwrap(), Path::new("/dev/shm"));
        let Ok(there) = tempfile::tempdir_in(there) else {
            eprintln!("SKIPPED: there is no /dev/shm, and this test needs another file system");
            return;
        };
        if here.path().metadata().unwrap().dev() == there.path().metadata().unwrap().dev() {
            eprintln!(
                "SKIPPED: /dev/shm is the file system of temporary files, and this test needs another one"
            );
            return;
        }
        let (from, to) = (here.path().join("a"), there.path().join("b"));
        fs::write(&from, "content").unwrap();
        for choice in [LinkChoice::Hardlink, LinkChoice::Reflink] {
            let error = share(&from, &to, choice).unwrap_err();
            assert_eq!(error.kind(), "refused");
            assert!(error.hint().unwrap().contains("--link auto"));
            assert!(!to.exists());
        }
        assert_eq!(share(&from, &to, LinkChoice::Auto).unwrap(), Link::Copy);
        assert_eq!(fs::read(&to).unwrap(), b"content");
    }
}
