//! The files of two directories, but for their weights.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::checkpoint::{Checkpoint, INDEX_FILE};
use crate::error::{Error, Result};
use crate::input;
use crate::interrupt;
use crate::record::{FileInDirectory, FileKind, files_below};

/// Bytes that are compared at a time.
const PART: usize = 1 << 20;

/// A file that is in both directories and not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path inside the directories.
    pub file: String,
    /// Its size in the first; nothing for what is no regular file.
    pub a: Option<u64>,
    /// Its size in the second.
    pub b: Option<u64>,
}

/// How the files of two directories compare, but for weights and their index, which are compared by what is in them. Files
/// whose names begin with a dot are not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesDiff {
    /// Files that are the same byte for byte.
    pub same: usize,
    /// Files of the first alone.
    pub only_in_a: Vec<String>,
    /// Files of the second alone.
    pub only_in_b: Vec<String>,
    /// Files that differ.
    pub differing: Vec<FileChange>,
    /// Configurations of which the text differs and the content does not: no difference.
    pub other_text: Vec<String>,
}

impl FilesDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.only_in_a.is_empty() && self.only_in_b.is_empty() && self.differing.is_empty()
    }
}

/// Compares the files of the directories of `a` and `b`.
///
/// # Errors
/// [`Error::Io`], [`Error::Interrupted`].
pub(super) fn diff_files(a: &Checkpoint, b: &Checkpoint) -> Result<FilesDiff> {
    let (files_a, mut files_b) = (other_files(a)?, other_files(b)?);
    let mut found = FilesDiff::default();
    for (name, one) in files_a {
        let Some(other) = files_b.remove(&name) else {
            found.only_in_a.push(name);
            continue;
        };
        if is_same(a.directory(), &one, b.directory(), &other)? {
            found.same += 1;
        } else {
            let [a, b] = [one, other].map(|file| match file.kind {
                FileKind::Regular(bytes) => Some(bytes),
                FileKind::Dangling | FileKind::Special => None,
            });
            found.differing.push(FileChange { file: name, a, b });
        }
    }
    found.only_in_b = files_b.into_keys().collect();
    Ok(found)
}

/// All files of a directory but its weights.
fn other_files(checkpoint: &Checkpoint) -> Result<BTreeMap<String, FileInDirectory>> {
    let weights: HashSet<&str> = checkpoint.shards().map(|(name, _, _)| name).chain([INDEX_FILE]).collect();
    let files = files_below(checkpoint.directory())?.into_iter();
    Ok(files
        .filter(|file| !weights.contains(file.name.as_str()))
        .map(|file| (file.name.clone(), file))
        .collect())
}

/// Whether two files have the same bytes. What is no regular file is not read, and never the same.
fn is_same(in_a: &Path, a: &FileInDirectory, in_b: &Path, b: &FileInDirectory) -> Result<bool> {
    let (FileKind::Regular(size_a), FileKind::Regular(size_b)) = (a.kind, b.kind) else { return Ok(false) };
    if size_a != size_b {
        return Ok(false);
    }
    let paths = [in_a.join(&a.path), in_b.join(&b.path)];
    let [mut one, mut other] = [input::open(&paths[0])?, input::open(&paths[1])?];
    let failed = |at: usize| {
        let path = paths[at].clone();
        move |e| Error::io("read", path, e)
    };
    let [m, n] = [one.metadata().map_err(failed(0))?, other.metadata().map_err(failed(1))?];
    if (m.dev(), m.ino()) == (n.dev(), n.ino()) {
        return Ok(true);
    }
    let (mut part, mut other_part) = (Vec::new(), Vec::new());
    loop {
        interrupt::check()?;
        part.clear();
        other_part.clear();
        (&mut one).take(PART as u64).read_to_end(&mut part).map_err(failed(0))?;
        (&mut other).take(PART as u64).read_to_end(&mut other_part).map_err(failed(1))?;
        if part != other_part {
            return Ok(false);
        }
        if part.is_empty() {
            return Ok(true);
        }
    }
}
