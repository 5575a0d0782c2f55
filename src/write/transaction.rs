//! A directory that appears whole or not at all.
//!
//! Everything is written into a hidden sibling on the same file system, which takes the final name when it is complete.
//! A run that fails or is interrupted removes the sibling; what a killed run left behind is recognised by its lock, which
//! the operating system has released, and removed by the next one or by `qlua clean`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::held::{HeldDirectory, LOCK_FILE, is_held, remove, remove_held, require_takable};
use super::kept::{KeptAside, keep_foreign};
use crate::error::{Error, Result};
use crate::interrupt::Cleanup;
use crate::record::record_path;

/// Attempts of a process that ends at once to remove a directory: while its other threads still write there, new files appear.
const REMOVALS: usize = 1000;

/// A directory in the making. Dropped before [`PartialDirectory::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct PartialDirectory {
    target: PathBuf,
    partial: PathBuf,
    overwrite: bool,
    /// Parents that were made for it, deepest first.
    created: Vec<PathBuf>,
    /// Nothing before it is this process's, and after it has its name.
    held: Option<HeldDirectory>,
    cleanup: Option<Cleanup>,
}

impl PartialDirectory {
    /// Begins a directory that will be called `target`; parents are created. With `overwrite`, an existing `target` stays
    /// untouched until the commit.
    ///
    /// # Errors
    /// [`Error::Exists`] when `target` exists and `overwrite` is not set, when another process is writing it, or when a link
    /// lies where the unfinished directory goes; [`Error::Io`].
    pub fn begin(target: &Path, overwrite: bool) -> Result<Self> {
        if target.file_name().and_then(|n| n.to_str()).is_none() {
            let problem = format!("`{}` cannot be the name of an output directory", target.display());
            return Err(Error::argument(problem));
        }
        if !overwrite && target.symlink_metadata().is_ok() {
            return Err(exists_already(target));
        }
        require_replaceable(target)?;
        let mut directory = PartialDirectory {
            target: target.to_path_buf(),
            partial: partial(target),
            overwrite,
            created: missing_parents(target),
            held: None,
            cleanup: None,
        };
        let take = || HeldDirectory::take(&directory.partial, target);
        let partial = directory.partial.clone();
        let removal = |_: &HeldDirectory| {
            move || {
                let is_gone = || remove_held(&partial).is_ok() && partial.symlink_metadata().is_err();
                let _ = (0..REMOVALS).find(|_| is_gone());
            }
        };
        let (held, cleanup) = Cleanup::make(take, removal)?;
        (directory.held, directory.cleanup) = (Some(held), Some(cleanup));
        // What an ended process left.
        if let Some(held) = &directory.held {
            held.clear()?;
        }
        directory.recover()?;
        if !overwrite && target.symlink_metadata().is_ok() {
            return Err(exists_already(target));
        }
        Ok(directory)
    }

    /// Clears up after a run that was killed while it replaced the target: until the new directory has taken its name,
    /// the old one lies beside it under another.
    fn recover(&self) -> Result<()> {
        if is_held(&self.target) {
            return Err(Error::exists(&self.target, "is being written by another process")
                .with_hint("wait for it to finish, or stop it and run again"));
        }
        let replaced = replaced(&self.target);
        let Ok(metadata) = replaced.symlink_metadata() else { return Ok(()) };
        if !metadata.is_dir() {
            return Err(Error::exists(&replaced, "is no directory, and the replaced scheme goes there")
                .with_hint("remove it yourself, or choose another --out"));
        }
        if self.target.symlink_metadata().is_ok() {
            keep_foreign(&replaced, &self.target)?;
            return remove(&replaced);
        }
        fs::rename(&replaced, &self.target).map_err(|e| Error::io("rename", &replaced, e))
    }

    /// Where to write for the time being.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Forces the directory to the disk and gives it its final name. What an old directory of that name held that qlua did not
    /// write is moved aside, and where to is returned.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Exists`] when somebody else created the target in the meantime.
    pub fn commit(self) -> Result<Option<KeptAside>> {
        self.commit_if(|| Ok(()))
    }

    /// The same when `check` succeeds, which is asked last of all before anything gets another name.
    ///
    /// # Errors
    /// That of `check`; those of [`PartialDirectory::commit`].
    pub fn commit_if(mut self, check: impl FnOnce() -> Result<()>) -> Result<Option<KeptAside>> {
        sync_tree(&self.partial)?;
        check()?;
        let replaced = replaced(&self.target);
        let exists = self.target.symlink_metadata().is_ok();
        if exists && !self.overwrite {
            return Err(Error::exists(&self.target, "appeared while it was being written"));
        }
        let rename = || {
            if exists {
                fs::rename(&self.target, &replaced).map_err(|e| Error::io("rename", &self.target, e))?;
            }
            fs::rename(&self.partial, &self.target).map_err(|error| {
                if exists {
                    let _ = fs::rename(&replaced, &self.target);
                }
                Error::io("rename", &self.partial, error)
            })
        };
        // However soon the process ends, one of the two directories has the name.
        match self.cleanup.take() {
            Some(cleanup) => cleanup.conclude(rename)?,
            None => rename()?,
        }
        self.created.clear();
        let held = self.held.take();
        let cleared = match exists {
            true => keep_foreign(&replaced, &self.target).and_then(|kept| remove(&replaced).map(|()| kept)),
            false => Ok(None),
        };
        // Not before the old directory is gone: without the lock, another run would clear it up too.
        remove(&self.target.join(LOCK_FILE))?;
        drop(held);
        let kept = cleared?;
        sync(&self.target)?;
        let parent = self.target.parent().filter(|p| !p.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new("."))).map(|()| kept)
    }
}

impl Drop for PartialDirectory {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let remove = || drop(held.remove());
            match self.cleanup.take() {
                Some(cleanup) => cleanup.conclude(remove),
                None => remove(),
            }
        }
        for parent in &self.created {
            // Fails, as it should, when somebody else has put something there.
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Fails when [`PartialDirectory::begin`] would refuse what lies where the unfinished `target` goes; nothing is touched.
///
/// # Errors
/// [`Error::Exists`].
pub(crate) fn require_place(target: &Path) -> Result<()> {
    require_takable(&partial(target))
}

/// Where `target` lies until it is complete.
fn partial(target: &Path) -> PathBuf {
    hidden(target, "partial")
}

/// Where an old directory `target` is put aside.
fn replaced(target: &Path) -> PathBuf {
    hidden(target, "replaced")
}

fn hidden(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{ending}"))
}

fn exists_already(target: &Path) -> Error {
    Error::exists(target, "exists already").with_hint(way_out(target))
}

/// What to do about what stands at `target`.
pub(crate) fn way_out(target: &Path) -> &'static str {
    match target.is_symlink() {
        true => "it is a link, and --overwrite replaces none: remove it, or choose another --out",
        false => "pass --overwrite to replace it, or choose another --out",
    }
}

/// Fails when `target` is there and is no checkpoint directory and not empty: only those are ever replaced, as a mistyped name
/// must not cost anybody a folder. A link is not replaced either: what it leads to would stay, under no name that a run knows.
///
/// # Errors
/// [`Error::Exists`].
pub(crate) fn require_replaceable(target: &Path) -> Result<()> {
    if target.symlink_metadata().is_err() {
        return Ok(());
    }
    if target.is_symlink() {
        let to = fs::read_link(target).unwrap_or_default();
        return Err(Error::exists(target, format!("is a link to `{}`, so it is not replaced", to.display()))
            .with_hint("put the directory itself in its place, or remove the link"));
    }
    if !target.is_dir() {
        return Err(Error::exists(target, "is no directory, so it is not replaced")
            .with_hint("remove it yourself, or choose another name"));
    }
    let mut entries = fs::read_dir(target).map_err(|e| Error::io("read", target, e))?;
    let is_one = target.join("config.json").exists() || target.join(record_path()).exists();
    if is_one || entries.next().is_none() {
        return Ok(());
    }
    Err(Error::exists(target, "is no checkpoint directory, so it is not replaced")
        .with_hint("remove it yourself, or choose another name"))
}

/// The parents of `path` that do not exist yet, deepest first.
pub(crate) fn missing_parents(path: &Path) -> Vec<PathBuf> {
    let parents = path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty());
    parents.take_while(|p| p.symlink_metadata().is_err()).map(Path::to_path_buf).collect()
}

/// Clears up what a run left beside and in the finished directory `target` when it was killed while it gave the directory its
/// name: its lock, and the directory that was replaced, which gets its name back when nothing has it. What another process
/// works on is left alone, and that is said.
///
/// # Errors
/// [`Error::Io`]; [`Error::Exists`] when what is no scheme has one of the names.
pub(crate) fn settle(target: &Path) -> Result<bool> {
    if is_held(target) {
        return Ok(false);
    }
    if replaced(target).symlink_metadata().is_ok() {
        let partial = partial(target);
        // Whoever replaces the target holds this.
        if partial.symlink_metadata().is_ok() && HeldDirectory::find(&partial)?.is_none() {
            return Ok(false);
        }
        // What begins anew settles first what was begun before.
        drop(PartialDirectory::begin(target, true)?);
    }
    remove(&target.join(LOCK_FILE)).map(|()| true)
}

/// Forces every file and directory below `directory` to the disk.
fn sync_tree(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))? {
        let path = entry.map_err(|e| Error::io("read", directory, e))?.path();
        let is_directory = path.symlink_metadata().is_ok_and(|m| m.is_dir());
        if is_directory { sync_tree(&path)? } else { sync(&path)? }
    }
    sync(directory)
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| Error::io("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_appears_only_when_it_is_committed() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("new/scheme");
        let partial = PartialDirectory::begin(&target, false).unwrap();
        fs::write(partial.path().join("a"), "1").unwrap();
        assert!(!target.exists());
        partial.commit().unwrap();
        assert_eq!(names(&target), ["a"]);
        assert_eq!(names(&base.path().join("new")), ["scheme"]);
    }

    #[test]
    fn a_dropped_directory_leaves_nothing_and_the_old_one_as_it_was() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("scheme");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "1").unwrap();
        assert_eq!(PartialDirectory::begin(&target, false).unwrap_err().kind(), "exists");
        let error = PartialDirectory::begin(&target, true).unwrap_err().to_string();
        assert!(error.ends_with("is no checkpoint directory, so it is not replaced"), "{error}");
        fs::write(target.join("config.json"), "{}").unwrap();
        drop(PartialDirectory::begin(&target, true).unwrap());
        assert_eq!(names(base.path()), ["scheme"]);
        assert_eq!(names(&target), ["config.json", "old"]);
        PartialDirectory::begin(&target, true).unwrap().commit().unwrap();
        // What qlua did not write is not lost.
        assert_eq!(names(base.path()), ["scheme", "scheme.kept"]);
        assert_eq!(names(&base.path().join("scheme.kept")), ["old"]);
        assert!(names(&target).is_empty());
    }

    #[test]
    fn a_leftover_is_replaced_and_a_running_writer_is_respected() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("scheme");
        let running = PartialDirectory::begin(&target, false).unwrap();
        let error = PartialDirectory::begin(&target, false).unwrap_err().to_string();
        assert!(error.ends_with("is being written by another process"), "{error}");
        drop(running);
        fs::create_dir(base.path().join(".scheme.partial")).unwrap();
        PartialDirectory::begin(&target, false).unwrap().commit().unwrap();
        assert_eq!(names(base.path()), ["scheme"]);
    }

    #[test]
    fn parents_that_were_made_for_it_go_away_with_it() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("there")).unwrap();
        drop(PartialDirectory::begin(&base.path().join("there/a/b/scheme"), false).unwrap());
        assert_eq!(names(&base.path().join("there")), [""; 0]);
        let partial = PartialDirectory::begin(&base.path().join("there/a/scheme"), false).unwrap();
        fs::write(base.path().join("there/a/else"), "").unwrap();
        drop(partial);
        assert_eq!(names(&base.path().join("there/a")), ["else"]);
    }

    #[test]
    fn an_old_directory_that_a_killed_run_had_put_aside_comes_back() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("scheme");
        let aside = base.path().join(".scheme.replaced");
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("config.json"), "old").unwrap();
        assert_eq!(PartialDirectory::begin(&target, false).unwrap_err().kind(), "exists");
        assert_eq!((names(base.path()), names(&target)), (vec!["scheme".into()], vec!["config.json".into()]));
        fs::create_dir(&aside).unwrap();
        PartialDirectory::begin(&target, true).unwrap().commit().unwrap();
        assert_eq!((names(base.path()), names(&target)), (vec!["scheme".to_string()], vec![]));
    }

    #[test]
    fn a_file_is_never_replaced() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("notes");
        fs::write(&target, "mine").unwrap();
        let error = PartialDirectory::begin(&target, true).unwrap_err().to_string();
        assert!(error.ends_with("is no directory, so it is not replaced"), "{error}");
    }
}
