//! The files of a directory, as they are on record and as they are there.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tree_hash::hash_file;
use crate::error::{Error, Result};
use crate::input::Identity;

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
    /// What the system says of a regular file, by which a change is noticed.
    pub(crate) identity: Option<Identity>,
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
        let metadata = fs::metadata(&full);
        let identity = metadata.as_ref().ok().filter(|found| found.is_file()).map(Identity::of);
        let kind = match metadata {
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
        found.push(FileInDirectory { name: name_in_record(&path), path, kind, identity });
    }
    Ok(())
}

/// Fails when the files below `directory` are others than `before`. Names elsewhere that a file gets or loses change nothing here.
///
/// # Errors
/// [`Error::Changed`] with the first one that differs; [`Error::Io`].
pub(crate) fn require_same(directory: &Path, before: &[FileInDirectory]) -> Result<()> {
    if directory.symlink_metadata().is_err() {
        return Err(Error::changed(directory, "was deleted or renamed"));
    }
    let now = files_below(directory)?;
    let changed = |found: &FileInDirectory, how: &str| Err(Error::changed(directory.join(&found.path), how));
    for found in before {
        let Ok(at) = now.binary_search_by(|other| other.path.cmp(&found.path)) else {
            return changed(found, "was deleted");
        };
        match (found.identity, now[at].identity) {
            (Some(was), Some(is)) => was.difference(&is).map_or(Ok(()), |how| changed(found, how))?,
            _ if found.kind != now[at].kind => return changed(found, "was replaced"),
            _ => {}
        }
    }
    match now.iter().find(|other| before.binary_search_by(|found| found.path.cmp(&other.path)).is_err()) {
        Some(new) => changed(new, "was added"),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_of_a_directory_is_said_and_names_elsewhere_are_none() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("scheme");
        fs::create_dir_all(directory.join("layer-sensitivity")).unwrap();
        for name in ["config.json", "layer-sensitivity/record", "tokenizer.json"] {
            fs::write(directory.join(name), name).unwrap();
        }
        let path = |name: &str| directory.join(name);
        type Change<'a> = (&'a str, &'a dyn Fn());
        let changes: [Change; 6] = [
            ("`tokenizer.json` was deleted", &|| fs::remove_file(path("tokenizer.json")).unwrap()),
            ("`tokenizer.json` was added", &|| fs::write(path("tokenizer.json"), "").unwrap()),
            ("`layer-sensitivity/record` grew", &|| {
                fs::write(path("layer-sensitivity/record"), [0; 99]).unwrap()
            }),
            ("`layer-sensitivity/record` was replaced", &|| {
                fs::write(place.path().join("new"), [0; 99]).unwrap();
                fs::rename(place.path().join("new"), path("layer-sensitivity/record")).unwrap();
            }),
            ("`config.json` was replaced", &|| {
                fs::remove_file(path("config.json")).unwrap();
                std::os::unix::fs::symlink("nowhere", path("config.json")).unwrap();
            }),
            ("`` was deleted or renamed", &|| fs::rename(&directory, place.path().join("moved")).unwrap()),
        ];
        for (number, (expected, change)) in changes.into_iter().enumerate() {
            let before = files_below(&directory).unwrap();
            let other = place.path().join(format!("another name {number}"));
            fs::hard_link(path("layer-sensitivity/record"), other).unwrap();
            require_same(&directory, &before).unwrap();
            change();
            let said = require_same(&directory, &before).unwrap_err().to_string();
            let said = said.replace(&format!("{}", directory.display()), "").replace("`/", "`");
            assert_eq!(said, format!("{expected} while it was in use"));
        }
    }
}
