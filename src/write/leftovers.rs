//! What runs left in a directory that were stopped and never repeated: unfinished schemes, shards of a family, and schemes
//! that were being replaced.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::held::{HeldDirectory, LOCK_FILE, is_held};
use super::transaction::settle;
use crate::error::{Error, Result};
use crate::record::record_path;

/// Something that a stopped run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
    /// That it takes on the disk, without what finished schemes have too.
    pub bytes: u64,
    /// The directory that it was to become, or was before it was to be replaced.
    target: PathBuf,
    kind: LeftoverKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftoverKind {
    /// Work that was not finished.
    Partial,
    /// A scheme that was being replaced.
    Replaced,
}

/// What became of a leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverFate {
    /// It is gone.
    Removed,
    /// It was a whole scheme, and the one that was to replace it is not there: it has its name again.
    PutBack,
    /// Another process works on it, so it was left alone.
    InUse,
}

/// What stopped runs left in `out`, sorted by path; what another process works on is not among it. Nothing is touched. Known is
/// what has the name and the lock that qlua gives such directories.
///
/// # Errors
/// [`Error::Io`] when `out` cannot be read.
pub fn leftovers(out: &Path) -> Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(out).map_err(|e| Error::io("read", out, e))? {
        let entry = entry.map_err(|e| Error::io("read", out, e))?;
        let (path, name) = (entry.path(), entry.file_name());
        // Names of schemes are text, and links are nobody's leftovers.
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.')) else { continue };
        if !path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            continue;
        }
        // An empty one and one without a record may be anybody's.
        let (name, kind) = match (name.strip_suffix(".partial"), name.strip_suffix(".replaced")) {
            (Some(name), _) if is_unfinished(&path) => (name, LeftoverKind::Partial),
            (_, Some(name)) if path.join(record_path()).is_file() => (name, LeftoverKind::Replaced),
            _ => continue,
        };
        let target = out.join(name);
        let is_free = match kind {
            LeftoverKind::Partial => !is_held(&path),
            LeftoverKind::Replaced => !is_held(&target),
        };
        if is_free {
            found.push(Leftover { bytes: own_bytes(&path), path, target, kind });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

impl Leftover {
    /// What [`Leftover::remove`] will make of it, if nothing changes until then.
    pub fn expected_fate(&self) -> LeftoverFate {
        match self.kind {
            LeftoverKind::Replaced if self.target.symlink_metadata().is_err() => LeftoverFate::PutBack,
            _ => LeftoverFate::Removed,
        }
    }

    /// Removes it, or gives it back the name that it had.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Exists`] when something that is no scheme has taken the name.
    pub fn remove(&self) -> Result<LeftoverFate> {
        match self.kind {
            LeftoverKind::Partial => {
                let Some(held) = HeldDirectory::find(&self.path)? else { return Ok(LeftoverFate::InUse) };
                held.remove().map(|()| LeftoverFate::Removed)
            }
            LeftoverKind::Replaced => {
                let is_back = self.target.symlink_metadata().is_err();
                Ok(match settle(&self.target)? {
                    false => LeftoverFate::InUse,
                    true if is_back => LeftoverFate::PutBack,
                    true => LeftoverFate::Removed,
                })
            }
        }
    }
}

/// Whether `path` is a directory that qlua works in: the lock is made first and removed last.
fn is_unfinished(path: &Path) -> bool {
    path.join(LOCK_FILE).symlink_metadata().is_ok_and(|m| m.is_file())
}

/// Bytes on the disk of all that lies in `directory` and nowhere else.
fn own_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.path().symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => own_bytes(&entry.path()),
        Ok(metadata) if metadata.nlink() == 1 => metadata.blocks() * 512,
        _ => 0,
    });
    bytes.sum()
}
