//! A file of unfinished work, held by one process as [`super::held`] says.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::held::{ATTEMPTS, OPEN, being_written, no_plain};
use crate::error::{Error, Result};

/// A file of unfinished work that nobody else touches. It goes away when it is dropped, unless it has another name then.
#[derive(Debug)]
pub(super) struct HeldFile {
    path: PathBuf,
    file: File,
}

impl HeldFile {
    /// Makes the empty file `path`, or takes over and empties what an ended process left there.
    ///
    /// # Errors
    /// As [`super::held::HeldDirectory::take`].
    pub fn take(path: &Path, target: &Path) -> Result<Self> {
        let failed = |e| Error::io("lock", path, e);
        for _ in 0..ATTEMPTS {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).custom_flags(OPEN.bits() as i32);
            let file = match options.open(path) {
                Ok(file) => file,
                Err(_) if path.symlink_metadata().is_ok_and(|m| !m.is_file()) => {
                    return Err(no_plain(path, "file"));
                }
                Err(e) => return Err(failed(e)),
            };
            if !file.metadata().map_err(failed)?.is_file() {
                return Err(no_plain(path, "file"));
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(being_written(target)),
                Err(fs::TryLockError::Error(e)) => return Err(failed(e)),
            }
            let held = HeldFile { path: path.to_path_buf(), file };
            if held.is_at_path() {
                held.file.set_len(0).map_err(failed)?;
                return Ok(held);
            }
        }
        Err(being_written(target))
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it the name `target`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn rename(self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).map_err(|e| Error::io("rename", &self.path, e))
    }

    fn is_at_path(&self) -> bool {
        let (here, there) = (self.file.metadata(), self.path.symlink_metadata());
        matches!((here, there), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        if self.is_at_path() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_refused_and_what_it_leads_to_stays() {
        let base = tempfile::tempdir().unwrap();
        let (mine, path) = (base.path().join("mine"), base.path().join(".a.partial"));
        fs::write(&mine, "1").unwrap();
        std::os::unix::fs::symlink(&mine, &path).unwrap();
        let error = HeldFile::take(&path, Path::new("a")).unwrap_err();
        assert!(error.to_string().contains("is a symbolic link"), "{error}");
        assert_eq!(fs::read(&mine).unwrap(), b"1");
    }
}
