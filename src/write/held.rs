//! Directories of unfinished work, and what holds for files of it, each held by one process: by a lock that the operating system releases when the
//! process ends, however it ends.
//!
//! A lock belongs to a file, not to a path: whoever has waited for the file of a path may hold one that was removed meanwhile.
//! So after locking, the file is compared with what the path names, and a holder that is not the path's tries again. Links are
//! never followed, and nothing is removed by anybody but its holder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The file in an unfinished directory that the process working there holds a lock on.
pub(super) const LOCK_FILE: &str = ".qlua-lock";

/// Attempts at a path whose file changes between opening and locking: each failure is another process that came or went.
pub(super) const ATTEMPTS: usize = 1000;

/// How a path of unfinished work is opened: never through a link, never waiting for a pipe.
pub(super) const OPEN: OFlags =
    OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A directory of unfinished work that nobody else touches.
#[derive(Debug)]
pub(crate) struct HeldDirectory {
    path: PathBuf,
    /// Locked until it is dropped.
    lock: File,
}

/// What came of locking a directory.
enum Attempt {
    Held(HeldDirectory),
    /// Another process holds it.
    Busy,
    /// It went away or was replaced meanwhile.
    Changed,
}

impl Drop for HeldDirectory {
    fn drop(&mut self) {
        // A process that is being started has the file open for a moment, and would hold the lock for as long.
        let _ = self.lock.unlock();
    }
}

impl HeldDirectory {
    /// Makes the directory `path`, its parents too, or takes over what an ended process left there. `target`, what it is for,
    /// is named when somebody else holds it.
    ///
    /// # Errors
    /// [`Error::Exists`] when another process holds it, or `path` or the lock in it is a link or no directory or file;
    /// [`Error::Io`].
    pub fn take(path: &Path, target: &Path) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
            }
            match fs::create_dir(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("create", path, e));
                }
                _ => {}
            }
            match Self::attempt(path)? {
                Attempt::Held(held) => return Ok(held),
                Attempt::Busy => break,
                Attempt::Changed => {}
            }
        }
        Err(being_written(target))
    }

    /// Takes over what an ended process left at `path`; nothing when there is nothing, or another process holds it.
    ///
    /// # Errors
    /// As [`HeldDirectory::take`].
    pub fn find(path: &Path) -> Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            if path.symlink_metadata().is_err() {
                return Ok(None);
            }
            match Self::attempt(path)? {
                Attempt::Held(held) => return Ok(Some(held)),
                Attempt::Busy => return Ok(None),
                Attempt::Changed => {}
            }
        }
        Ok(None)
    }

    /// Locks the directory that is at `path` now.
    fn attempt(path: &Path) -> Result<Attempt> {
        let failed = |e: Errno| Error::io("lock", path.join(LOCK_FILE), e.into());
        let directory = match openat(rustix::fs::CWD, path, OPEN | OFlags::DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(Attempt::Changed),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(no_plain(path, "directory")),
            Err(e) => return Err(Error::io("read", path, e.into())),
        };
        let is_at_path = || {
            let (here, there) = (fstat(&directory), statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW));
            matches!((here, there), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
        };
        let open = |more: OFlags| openat(&directory, LOCK_FILE, OPEN | OFlags::RDWR | more, 0o666.into());
        // A kill may have come before the lock was made. In a directory that has got its final name meanwhile, none is made.
        let (lock, made) = match open(OFlags::empty()) {
            Err(Errno::NOENT) if !is_at_path() => return Ok(Attempt::Changed),
            // The lock is made first and removed last: what holds anything else and no lock is somebody's own.
            Err(Errno::NOENT) if holds_others(path) => match open(OFlags::empty()) {
                Err(Errno::NOENT) if is_at_path() => return Err(no_work(path)),
                _ => return Ok(Attempt::Changed),
            },
            Err(Errno::NOENT) => (open(OFlags::CREATE | OFlags::EXCL), true),
            other => (other, false),
        };
        let lock = match lock {
            Ok(lock) => File::from(lock),
            Err(Errno::NOENT | Errno::EXIST) => return Ok(Attempt::Changed),
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
                return Err(no_plain(&path.join(LOCK_FILE), "file"));
            }
            Err(e) => return Err(failed(e)),
        };
        let kind = lock.metadata().map_err(|e| Error::io("lock", path.join(LOCK_FILE), e))?;
        if !kind.is_file() {
            return Err(no_plain(&path.join(LOCK_FILE), "file"));
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(Attempt::Busy),
            Err(fs::TryLockError::Error(e)) => return Err(Error::io("lock", path.join(LOCK_FILE), e)),
        }
        let is_own = || {
            statat(&directory, LOCK_FILE, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|there| (there.st_dev, there.st_ino) == (kind.dev(), kind.ino()))
        };
        if is_own() && is_at_path() {
            return Ok(Attempt::Held(HeldDirectory { path: path.to_path_buf(), lock }));
        }
        if made && is_own() {
            let _ = unlinkat(&directory, LOCK_FILE, AtFlags::empty());
        }
        Ok(Attempt::Changed)
    }

    /// Removes what is in it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(&self) -> Result<()> {
        clear(&self.path)
    }

    /// Removes it and what is in it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<()> {
        remove_held(&self.path)
    }
}

/// Removes the directory `path`, which this process holds. The lock goes last, so that nobody takes it over half removed, and
/// who comes right after that finds a directory that is not empty or none at all.
pub(super) fn remove_held(path: &Path) -> Result<()> {
    clear(path)?;
    let lock = path.join(LOCK_FILE);
    missing_is_fine(fs::remove_file(&lock)).map_err(|e| Error::io("remove", &lock, e))?;
    match missing_is_fine(fs::remove_dir(path)) {
        Err(e) if e.kind() != io::ErrorKind::DirectoryNotEmpty => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

fn clear(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| Error::io("read", path, e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read", path, e))?;
        if entry.file_name() != LOCK_FILE {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file, a link, or a directory and what is in it; links in it are not followed.
pub(super) fn remove(path: &Path) -> Result<()> {
    let is_directory = path.symlink_metadata().is_ok_and(|m| m.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    missing_is_fine(removed).map_err(|e| Error::io("remove", path, e))
}

fn missing_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether another process works on `directory`, which has its final name.
pub(super) fn is_held(directory: &Path) -> bool {
    let lock = File::options().read(true).custom_flags(OPEN.bits() as i32).open(directory.join(LOCK_FILE));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// Fails when [`HeldDirectory::take`] would refuse what is at `path`, whoever holds it; nothing is touched.
///
/// # Errors
/// [`Error::Exists`].
pub(crate) fn require_takable(path: &Path) -> Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !found.is_dir() {
        return Err(no_plain(path, "directory"));
    }
    let lock = path.join(LOCK_FILE);
    match lock.symlink_metadata() {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(no_plain(&lock, "file")),
        Err(_) if holds_others(path) && lock.symlink_metadata().is_err() => Err(no_work(path)),
        Err(_) => Ok(()),
    }
}

/// Whether there is anything but the lock in `directory`.
fn holds_others(directory: &Path) -> bool {
    let mut entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name() != LOCK_FILE)
}

/// The refusal of a directory that no run works in.
fn no_work(path: &Path) -> Error {
    let problem = "holds files and was not made by qlua, and unfinished work goes there";
    Error::exists(path, problem).with_hint("move it away, or choose another --out")
}

/// The refusal of a path that a link or something else than a `wanted` has.
pub(super) fn no_plain(path: &Path, wanted: &str) -> Error {
    let problem = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            format!(
                "is a symbolic link where a {wanted} of unfinished work goes, and links are not followed there"
            )
        }
        Ok(metadata) if metadata.file_type().is_fifo() => format!("is a pipe where a {wanted} goes"),
        _ => format!("is no {wanted}, and unfinished work goes there"),
    };
    Error::exists(path, problem).with_hint("remove it yourself, or choose another --out")
}

/// The refusal of a `target` that another process works on.
pub(super) fn being_written(target: &Path) -> Error {
    Error::exists(target, "is being written by another process")
        .with_hint("wait for it to finish, or stop it and run again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_and_goes_with_what_is_in_it() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("new/.a.partial");
        let held = HeldDirectory::take(&path, Path::new("a")).unwrap();
        fs::create_dir(path.join("inner")).unwrap();
        fs::write(path.join("inner/file"), "1").unwrap();
        let error = HeldDirectory::take(&path, Path::new("a")).unwrap_err().to_string();
        assert_eq!(error, "`a` is being written by another process");
        assert!(HeldDirectory::find(&path).unwrap().is_none());
        held.clear().unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "the lock stays");
        drop(held);
        HeldDirectory::find(&path).unwrap().unwrap().remove().unwrap();
        assert!(HeldDirectory::find(&path).unwrap().is_none() && !path.exists());
    }

    #[test]
    fn links_are_refused_and_what_they_lead_to_stays() {
        let base = tempfile::tempdir().unwrap();
        let (mine, path) = (base.path().join("mine"), base.path().join(".a.partial"));
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("file"), "1").unwrap();
        std::os::unix::fs::symlink(&mine, &path).unwrap();
        let refused = |error: Error| assert!(error.to_string().contains("is a symbolic link"), "{error}");
        refused(HeldDirectory::take(&path, Path::new("a")).unwrap_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(mine.join("file"), path.join(LOCK_FILE)).unwrap();
        refused(HeldDirectory::take(&path, Path::new("a")).unwrap_err());
        assert_eq!(fs::read(mine.join("file")).unwrap(), b"1");
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused_and_stays() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join(".a.partial");
        fs::create_dir(&path).unwrap();
        require_takable(&path).unwrap();
        fs::write(path.join("mine"), "1").unwrap();
        for error in [
            require_takable(&path).unwrap_err(),
            HeldDirectory::take(&path, Path::new("a")).unwrap_err(),
            HeldDirectory::find(&path).unwrap_err(),
        ] {
            assert!(
                error.to_string().ends_with("was not made by qlua, and unfinished work goes there"),
                "{error}"
            );
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "no lock is made in it");
        // What a kill left before the lock was made is empty.
        fs::remove_file(path.join("mine")).unwrap();
        HeldDirectory::take(&path, Path::new("a")).unwrap().remove().unwrap();
    }

    /// Many threads take, hold and remove one directory: never two at a time, and never does one remove what another holds.
    #[test]
    fn however_many_come_and_go_one_at_a_time_holds_it() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("deep/.a.partial");
        let taken = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(held) = HeldDirectory::take(&path, Path::new("a")) else { continue };
                        fs::File::create_new(path.join("mine")).unwrap();
                        std::thread::yield_now();
                        fs::remove_file(path.join("mine")).unwrap();
                        held.remove().unwrap();
                        taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
        assert!(!path.exists());
    }
}
