//! What the weight files of schemes take on the disk. Plan, dry run, run and report are counted here alike, as `du` does: every
//! file once, however many names it has. A reflink or a copy is a file of its own, although reflinks share their blocks.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::record::WeightFile;
use crate::write::Link;
use crate::write::store::link::LinkChoice;

/// A weight file of a scheme, as it lies there or will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeFile {
    /// File name inside the directory.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// How many of the schemes that were counted together hold it, this one included.
    pub schemes: usize,
}

/// What the weight files of some schemes take, each counted as the file that it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// Bytes of all different files.
    pub unique_bytes: u64,
    /// Bytes of the files of every directory, as if none were shared.
    pub copied_bytes: u64,
    /// The files of each scheme, in the order of their numbers.
    pub files: Vec<Vec<SchemeFile>>,
}

/// Which file a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FileIdentity {
    /// Device and inode of a file that is there.
    Lying(u64, u64),
    /// A shard that is not written yet; where each scheme gets a file of its own, for the scheme of this number.
    New(usize, Option<usize>),
    /// A further file with the content of one that is there (device and inode), for the scheme of this number.
    Copied(u64, u64, usize),
}

/// A name in the directory of a scheme, and the file that it stands for.
#[derive(Debug, Clone)]
pub(super) struct NamedFile {
    pub file: String,
    pub bytes: u64,
    pub identity: FileIdentity,
}

impl NamedFile {
    /// The files of `weights` that lie in `directory`, with the sizes that they have there.
    ///
    /// # Errors
    /// [`Error::Io`] where one is not there.
    pub fn lying_in(directory: &Path, weights: &[WeightFile]) -> Result<Vec<Self>> {
        let named = |weight: &WeightFile| {
            let path = directory.join(&weight.file);
            let metadata = fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?;
            let identity = FileIdentity::Lying(metadata.dev(), metadata.ino());
            Ok(NamedFile { file: weight.file.clone(), bytes: metadata.len(), identity })
        };
        weights.iter().map(named).collect()
    }
}

impl OnDisk {
    /// Counts the files of `schemes`.
    pub(super) fn of(schemes: &[&[NamedFile]]) -> Self {
        let mut holders: HashMap<FileIdentity, usize> = HashMap::new();
        for scheme in schemes {
            let different: HashSet<FileIdentity> = scheme.iter().map(|file| file.identity).collect();
            different.into_iter().for_each(|identity| *holders.entry(identity).or_default() += 1);
        }
        let mut counted = HashSet::new();
        let mut on_disk = OnDisk::default();
        for scheme in schemes {
            for file in *scheme {
                on_disk.copied_bytes += file.bytes;
                if counted.insert(file.identity) {
                    on_disk.unique_bytes += file.bytes;
                }
            }
            let row = |file: &NamedFile| SchemeFile {
                file: file.file.clone(),
                bytes: file.bytes,
                schemes: holders.get(&file.identity).copied().unwrap_or(1),
            };
            on_disk.files.push(scheme.iter().map(row).collect());
        }
        on_disk
    }
}

/// Whether schemes that hold the same shard have one file of it, where that was asked for in these words and nobody looked at
/// what the file system can do.
pub(super) fn shares_files(choice: LinkChoice) -> bool {
    match choice {
        LinkChoice::Auto | LinkChoice::Hardlink => true,
        LinkChoice::Reflink | LinkChoice::Copy => false,
    }
}

/// The file that the scheme `number` gets of the new shard `shard`.
pub(super) fn new_file(shard: usize, number: usize, is_shared: bool) -> FileIdentity {
    FileIdentity::New(shard, (!is_shared).then_some(number))
}

/// The file that the scheme `number` gets of one that lies there, when `link` is how it gets it.
pub(super) fn reused_file(lying: &fs::Metadata, number: usize, link: Link) -> FileIdentity {
    match link {
        Link::Hardlink => FileIdentity::Lying(lying.dev(), lying.ino()),
        Link::Reflink | Link::Copy => FileIdentity::Copied(lying.dev(), lying.ino(), number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64, identity: FileIdentity) -> NamedFile {
        NamedFile { file: name.into(), bytes, identity }
    }

    #[test]
    fn a_file_with_two_names_counts_once_and_copies_count_each() {
        let shared = FileIdentity::Lying(1, 7);
        let first = [file("a", 100, shared), file("b", 10, new_file(0, 0, false))];
        let second = [file("a", 100, shared), file("b", 10, new_file(0, 1, false))];
        let on_disk = OnDisk::of(&[&first, &second]);
        assert_eq!((on_disk.unique_bytes, on_disk.copied_bytes), (120, 220));
        let held = on_disk.files[1].iter().map(|file| file.schemes);
        assert_eq!(held.collect::<Vec<_>>(), [2, 1]);
        let linked = [file("b", 10, new_file(0, 1, true))];
        assert_eq!(OnDisk::of(&[&linked, &linked]).unique_bytes, 10);
    }
}
