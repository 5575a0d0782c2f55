//! BLAKE3 of a file from hashes of its blocks, in any order and from any thread: what `b3sum` prints.
//!
//! BLAKE3 is a binary tree; a block of a power of two kilobytes at a multiple of its size is a subtree of it.

use std::os::unix::fs::FileExt;
use std::path::Path;

use blake3::hazmat::{HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::input;
use crate::interrupt;

/// Bytes of a block: small enough to stay in the second-level cache between being made, hashed and written.
pub(crate) const BLOCK: usize = 1 << 20;

/// The hash of one block of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockHash([u8; 32]);

impl BlockHash {
    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes block `index` of a file that has `count` blocks.
    pub fn of(index: usize, count: usize, bytes: &[u8]) -> Self {
        let mut hasher = BlockHasher::new(index, count);
        hasher.update(bytes);
        hasher.finish()
    }

    /// In lower-case hexadecimal.
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

/// Hashes a block that comes in pieces.
pub(crate) struct BlockHasher {
    hasher: blake3::Hasher,
    is_only: bool,
}

impl BlockHasher {
    /// Nothing yet of block `index` of a file that has `count` blocks.
    pub fn new(index: usize, count: usize) -> Self {
        let mut hasher = blake3::Hasher::new();
        if count > 1 {
            hasher.set_input_offset((index * BLOCK) as u64);
        }
        BlockHasher { hasher, is_only: count == 1 }
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The hash of all pieces together.
    pub fn finish(self) -> BlockHash {
        BlockHash(match self.is_only {
            true => *self.hasher.finalize().as_bytes(),
            false => self.hasher.finalize_non_root(),
        })
    }
}

/// How many blocks a file of `length` bytes has; an empty file has one.
pub(crate) fn block_count(length: u64) -> usize {
    length.div_ceil(BLOCK as u64).max(1) as usize
}

/// BLAKE3 of the file, in lower-case hexadecimal, from the hashes of all its blocks in order.
pub(crate) fn root(blocks: &[BlockHash]) -> String {
    match blocks {
        [only] => blake3::Hash::from_bytes(only.0).to_hex().to_string(),
        _ => {
            let (left, right) = blocks.split_at(left_count(blocks.len()));
            merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).to_hex().to_string()
        }
    }
}

fn subtree(blocks: &[BlockHash]) -> [u8; 32] {
    match blocks {
        [only] => only.0,
        _ => {
            let (left, right) = blocks.split_at(left_count(blocks.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// The blocks of the left half of a tree: the largest power of two below `count`.
fn left_count(count: usize) -> usize {
    left_subtree_len((count * BLOCK) as u64) as usize / BLOCK
}

/// The size and the BLAKE3 hash of the file `path`, over all cores. It is read and not mapped, so that a file that is cut
/// short meanwhile is an error.
///
/// # Errors
/// [`Error::Io`], [`Error::Interrupted`].
pub(crate) fn hash_file(path: &Path) -> Result<(u64, String)> {
    let failed = |e| Error::io("read", path, e);
    let file = input::open(path)?;
    let length = file.metadata().map_err(failed)?.len();
    let count = block_count(length);
    let hash = |buffer: &mut Vec<u8>, index: usize| {
        interrupt::check()?;
        let start = index as u64 * BLOCK as u64;
        buffer.resize((length - start).min(BLOCK as u64) as usize, 0);
        file.read_exact_at(buffer, start).map_err(failed)?;
        Ok(BlockHash::of(index, count, buffer))
    };
    let blocks: Vec<BlockHash> =
        (0..count).into_par_iter().map_init(Vec::new, hash).collect::<Result<_>>()?;
    Ok((length, root(&blocks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_in_any_number_add_up_to_the_hash_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        for length in
            [0, 1, 1023, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 5, 7 * BLOCK, 8 * BLOCK]
        {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            let path = dir.path().join(length.to_string());
            std::fs::write(&path, &bytes).unwrap();
            let expected = blake3::hash(&bytes).to_hex().to_string();
            assert_eq!(hash_file(&path).unwrap(), (length as u64, expected), "{length}");
        }
    }

    #[test]
    fn a_block_in_pieces_has_the_hash_of_the_block() {
        let bytes: Vec<u8> = (0..BLOCK).map(|i| (i * 31 % 251) as u8).collect();
        for (index, count) in [(0, 1), (0, 2), (5, 9)] {
            let mut hasher = BlockHasher::new(index, count);
            bytes.chunks(1 << 17).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish().to_hex(), BlockHash::of(index, count, &bytes).to_hex());
        }
    }
}
