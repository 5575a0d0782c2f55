//! BLAKE3 of the source shards, taken from the same touch of their bytes as everything else.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::interrupt;
use crate::record::RecordedFile;
use crate::record::tree_hash::{BLOCK, BlockHash, block_count, root};

/// The hashes of a checkpoint's weight files, as far as they are known.
pub(crate) struct SourceHashes<'a> {
    files: Vec<SourceFile<'a>>,
}

struct SourceFile<'a> {
    name: &'a str,
    bytes: &'a [u8],
    blocks: Vec<OnceLock<BlockHash>>,
}

impl<'a> SourceHashes<'a> {
    /// Knows nothing of `checkpoint` yet.
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        let file = |(name, _, bytes): (&'a str, _, &'a [u8])| SourceFile {
            name,
            bytes,
            blocks: vec![OnceLock::new(); block_count(bytes.len() as u64)],
        };
        SourceHashes { files: checkpoint.shards().map(file).collect() }
    }

    /// Hashes the blocks that begin in `part`, unless that was done before. Bytes that belong to no source shard are
    /// nobody's concern. Call it right before or after reading `part`: its bytes are in the cache then.
    pub fn cover(&self, part: &[u8]) {
        let address = part.as_ptr().addr();
        for file in &self.files {
            let start = file.bytes.as_ptr().addr();
            if (start..start + file.bytes.len()).contains(&address) {
                let (from, to) = (address - start, address - start + part.len());
                for index in from.div_ceil(BLOCK)..to.div_ceil(BLOCK) {
                    file.hash(index);
                }
            }
        }
    }

    /// How many blocks were hashed so far.
    #[cfg(test)]
    pub fn covered(&self) -> usize {
        self.files.iter().flat_map(|file| &file.blocks).filter(|block| block.get().is_some()).count()
    }

    /// Whether `recorded` may be these files: names and sizes are the same. Hashes decide.
    pub fn may_be(&self, recorded: &[RecordedFile]) -> bool {
        let ours = self.files.iter().map(|file| (file.name, file.bytes.len() as u64));
        ours.eq(recorded.iter().map(|shard| (shard.file.as_str(), shard.bytes)))
    }

    /// One hash over all blocks that `parts` lie in, and over where these are; what is not covered yet is.
    pub fn of_parts<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> String {
        let mut blocks = BTreeSet::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let address = part.as_ptr().addr();
            for (number, file) in self.files.iter().enumerate() {
                let start = file.bytes.as_ptr().addr();
                if (start..start + file.bytes.len()).contains(&address) {
                    let from = address - start;
                    blocks.extend(
                        (from / BLOCK..(from + part.len()).div_ceil(BLOCK)).map(|index| (number, index)),
                    );
                }
            }
        }
        let mut hasher = blake3::Hasher::new();
        for (number, index) in blocks {
            hasher.update(format!("{} {index} ", self.files[number].name).as_bytes());
            hasher.update(self.files[number].hash(index).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Hashes what was not covered, and returns the hash of every file.
    ///
    /// # Errors
    /// [`crate::Error::Interrupted`].
    pub fn finish(&self) -> Result<Vec<RecordedFile>> {
        self.files
            .iter()
            .map(|file| {
                let hash = |index: usize| interrupt::check().map(|()| file.hash(index));
                let blocks =
                    (0..file.blocks.len()).into_par_iter().map(hash).collect::<Result<Vec<BlockHash>>>()?;
                let (name, bytes) = (file.name.to_string(), file.bytes.len() as u64);
                Ok(RecordedFile { file: name, bytes, blake3: root(&blocks) })
            })
            .collect()
    }
}

impl SourceFile<'_> {
    fn hash(&self, index: usize) -> BlockHash {
        *self.blocks[index].get_or_init(|| {
            let bytes = &self.bytes[index * BLOCK..self.bytes.len().min((index + 1) * BLOCK)];
            BlockHash::of(index, self.blocks.len(), bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_covered_in_pieces_and_what_was_not_add_up_to_the_files_hash() {
        let dir = tempfile::tempdir().unwrap();
        let demo = crate::demo::build(dir.path()).unwrap();
        let checkpoint = Checkpoint::open(&demo.model).unwrap();
        let hashes = SourceHashes::new(&checkpoint);
        for (_, tensor) in checkpoint.tensors().step_by(2) {
            tensor.bytes().chunks(300_000).for_each(|part| hashes.cover(part));
        }
        hashes.cover(&[0; 99]);
        let found = hashes.finish().unwrap();
        assert_eq!(found.len(), checkpoint.shards().count());
        for (shard, (name, path, _)) in found.iter().zip(checkpoint.shards()) {
            let expected = blake3::hash(&std::fs::read(path).unwrap()).to_hex().to_string();
            assert_eq!((shard.file.as_str(), &shard.blake3), (name, &expected));
        }
    }
}
