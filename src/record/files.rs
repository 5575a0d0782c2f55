//! The files of a directory, as they are on record and as they are there.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tree_hash::hash_file;
use crate::error::{Error, Result};

/// A file of a directory and its BLAKE3 hash (`b3sum` prints the same): SHA-256 of all weights would take longer than writing
/// a scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Its path inside the directory; bytes that are no UTF-8 are written as `\xNN`.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub blake3: String,
}

impl RecordedFile {
    /// Hashes `found`, which lies below `directory`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub fn read(directory: &Path, found: &FileInDirectory) -> Result<Self> {
        let (bytes, blake3) = hash_file(&directory.join(&found.path))?;
        Ok(RecordedFile { file: found.name.clone(), bytes, blake3 })
    }
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A file, or a link to one, of so many bytes.
    Regular(u64),
    /// A link to nothing.
    Dangling,
    /// A pipe, a socket, a device, or a folder that links to itself: nothing that is read like a file.
    Special,
}

/// A file that is there.
#[derive(Debug, Clone)]
pub struct FileInDirectory {
    /// Its path inside the directory.
    pub path: PathBuf,
    /// The same as [`RecordedFile::file`].
    pub name: String,
    /// What it is.
    pub kind: FileKind,
}

/// Every file below `directory`, sorted by path, but for what begins with a dot: no loader reads that, and version control and
/// downloads leave such things.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read.
pub fn files_below(directory: &Path) -> Result<Vec<FileInDirectory>> {
    let mut found = Vec::new();
    let root = directory.canonicalize().map_err(|e| Error::io("read", directory, e))?;
    walk(directory, Path::new(""), &[root], &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(root: &Path, folder: &Path, above: &[PathBuf], found: &mut Vec<FileInDirectory>) -> Result<()> {
    let here = root.join(folder);
    for entry in fs::read_dir(&here).map_err(|e| Error::io("read", &here, e))? {
        let name = entry.map_err(|e| Error::io("read", &here, e))?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = folder.join(&name);
        let full = root.join(&path);
        let kind = match fs::metadata(&full) {
            Ok(metadata) if metadata.is_dir() => {
                let inner = full.canonicalize().map_err(|e| Error::io("read", &full, e))?;
                if !above.contains(&inner) {
                    let above: Vec<PathBuf> = above.iter().cloned().chain([inner]).collect();
                    walk(root, &path, &above, found)?;
                    continue;
                }
                FileKind::Special
            }
            Ok(metadata) if metadata.is_file() => FileKind::Regular(metadata.len()),
            Ok(_) => FileKind::Special,
            Err(_) => FileKind::Dangling,
        };
        found.push(FileInDirectory { name: name_in_record(&path), path, kind });
    }
    Ok(())
}

/// What [`RecordedFile::file`] says for the path `path` inside the directory.
pub(crate) fn name_in_record(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}
