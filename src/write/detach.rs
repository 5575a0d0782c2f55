//! Making a directory independent: files that it shares with others become its own.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::held_file::HeldFile;
use super::store::link::copy_into;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::input::Watched;
use crate::interrupt::{self, Cleanup};

/// What [`detach`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detached {
    /// Files that were shared with other directories.
    pub files: usize,
    /// Their bytes, which are on the disk once more now.
    pub bytes: u64,
}

/// Gives the checkpoint in `directory` copies of its own of all weight files that other directories hold too (hard links).
/// Content and names stay; permissions follow the umask again. Each file is replaced whole or not at all, so a call that is
/// stopped can be repeated.
///
/// # Errors
/// Those of [`Checkpoint::open_directory`]; [`Error::Io`], [`Error::Changed`], [`Error::Interrupted`].
pub fn detach(directory: &Path) -> Result<Detached> {
    let checkpoint = Checkpoint::open_directory(directory)?;
    let mut detached = Detached::default();
    for (name, path, bytes) in checkpoint.shards() {
        interrupt::check()?;
        let metadata = path.symlink_metadata().map_err(|e| Error::io("read", path, e))?;
        if !metadata.is_file() || metadata.nlink() < 2 {
            continue;
        }
        let partial = directory.join(format!(".{name}.partial"));
        let mut copy = HeldFile::take(&partial, path)?;
        let removal = partial.clone();
        let cleanup = Cleanup::register(move || drop(fs::remove_file(&removal)));
        let watched = Watched::at(path)?;
        watched.settle();
        copy_into(path, copy.file(), &partial)?;
        watched.recheck()?;
        cleanup.conclude(|| copy.rename(path))?;
        detached.files += 1;
        detached.bytes += bytes.len() as u64;
    }
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| Error::io("write", directory, e))?;
    Ok(detached)
}
