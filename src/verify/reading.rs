//! One read of every weight file: its hash, the values that no weight has, and the comparison with the base checkpoint.
//!
//! Files are read block by block from several threads and never mapped here, so that one that is cut short meanwhile is an error
//! and no signal. Memory is a block a thread.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::base::{Counterpart, Difference};
use super::values::{nan_codes, non_finite};
use crate::error::{Error, Result};
use crate::input::{self, Identity, Watched};
use crate::interrupt;
use crate::model::Model;
use crate::record::tree_hash::{BLOCK, BlockHash, block_count, root};
use crate::tensor::Tensor;

/// The largest element: one that begins in a block may end behind it.
const WIDEST: usize = 16;

/// What was read of weight files, so that files which several directories hold under names of their own (hard links) are read once.
#[derive(Debug, Default)]
pub struct SeenFiles(Mutex<HashMap<Identity, SeenShard>>);

/// The hash of a file, and how many unusable values each tensor has.
#[derive(Debug, Clone)]
struct SeenShard {
    hash: String,
    unusable: Vec<(String, bool, u64)>,
}

/// What was read.
pub(super) struct ReadWeights {
    /// The size and the hash of each weight file, by its name.
    pub files: HashMap<String, (u64, String)>,
    /// What was found in each tensor, by its name.
    pub tensors: HashMap<String, TensorReading>,
}

/// What was found in one tensor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TensorReading {
    /// Values that are NaN or infinite, or codes that are NaN.
    pub unusable: u64,
    /// How it differs from its counterpart.
    pub difference: Difference,
}

/// A tensor in its file.
struct Segment<'a> {
    name: &'a str,
    tensor: &'a Tensor,
    start: usize,
    is_codes: bool,
    counterpart: Option<&'a Counterpart<'a>>,
}

struct ShardToRead<'a> {
    name: &'a str,
    file: File,
    path: &'a std::path::Path,
    length: usize,
    /// In the order in which they lie in the file.
    segments: Vec<Segment<'a>>,
}

/// What one block told.
struct BlockReading {
    hash: BlockHash,
    first_segment: usize,
    segments: Vec<TensorReading>,
}

/// Reads the weights of `model`. `is_codes` says which tensors hold E4M3 codes; `counterparts` are what tensors are compared with.
///
/// # Errors
/// [`Error::Io`], [`Error::Changed`], [`Error::Interrupted`].
pub(super) fn read(
    model: &Model,
    is_codes: &(dyn Fn(&str) -> bool + Sync),
    counterparts: &HashMap<&str, Counterpart>,
    seen: &SeenFiles,
) -> Result<ReadWeights> {
    let mut by_shard: HashMap<&str, Vec<(&str, &Tensor)>> = HashMap::new();
    for (name, tensor) in model.tensors() {
        by_shard.entry(model.shard_of(name).unwrap_or_default()).or_default().push((name, tensor));
    }
    let mut read = ReadWeights { files: HashMap::new(), tensors: HashMap::new() };
    for (name, path, bytes) in model.shards() {
        let tensors = by_shard.remove(name).unwrap_or_default().into_iter();
        let mut segments: Vec<Segment> = tensors
            .filter(|(_, tensor)| !tensor.bytes().is_empty())
            .map(|(name, tensor)| Segment {
                name,
                tensor,
                // Where the tensor lies in the file is where it lies in the map of it.
                start: tensor.bytes().as_ptr().addr() - bytes.as_ptr().addr(),
                is_codes: is_codes(name),
                counterpart: counterparts.get(name),
            })
            .collect();
        segments.sort_by_key(|segment| segment.start);
        let file = input::open(path)?;
        let shard = ShardToRead { name, file, path, length: bytes.len(), segments };
        shard.read_into(&mut read, seen)?;
    }
    Ok(read)
}

impl ShardToRead<'_> {
    fn read_into(&self, read: &mut ReadWeights, seen: &SeenFiles) -> Result<()> {
        let watched = Watched::new(self.path, &self.file)?;
        let identity = *watched.identity();
        let is_compared = self.segments.iter().any(|segment| segment.counterpart.is_some());
        let known = || seen.0.lock().unwrap_or_else(PoisonError::into_inner).get(&identity).cloned();
        if let Some(shard) = known().filter(|shard| !is_compared && self.is_of(shard)) {
            for (name, _, unusable) in shard.unusable {
                read.tensors.insert(name, TensorReading { unusable, ..TensorReading::default() });
            }
            read.files.insert(self.name.to_string(), (self.length as u64, shard.hash));
            return Ok(());
        }
        let count = block_count(self.length as u64);
        let blocks: Vec<BlockReading> = (0..count)
            .into_par_iter()
            .map_init(Buffers::default, |buffers, index| self.read_block(index, count, buffers))
            .collect::<Result<_>>()?;
        watched.recheck()?;
        // Sums run in the order of the blocks, whoever read them.
        for block in &blocks {
            for (segment, found) in self.segments[block.first_segment..].iter().zip(&block.segments) {
                let tensor = read.tensors.entry(segment.name.to_string()).or_default();
                tensor.unusable += found.unusable;
                tensor.difference = tensor.difference.merge(found.difference);
            }
        }
        let hashes: Vec<BlockHash> = blocks.iter().map(|block| block.hash).collect();
        let hash = root(&hashes);
        let unusable = self.segments.iter().map(|segment| {
            let found = read.tensors.get(segment.name).map_or(0, |tensor| tensor.unusable);
            (segment.name.to_string(), segment.is_codes, found)
        });
        let shard = SeenShard { hash: hash.clone(), unusable: unusable.collect() };
        seen.0.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, shard);
        read.files.insert(self.name.to_string(), (self.length as u64, hash));
        Ok(())
    }

    /// Whether the same tensors were looked at in `seen`, in the same way.
    fn is_of(&self, seen: &SeenShard) -> bool {
        let ours = self.segments.iter().map(|segment| (segment.name, segment.is_codes));
        ours.eq(seen.unusable.iter().map(|(name, is_codes, _)| (name.as_str(), *is_codes)))
    }

    fn read_block(&self, index: usize, count: usize, buffers: &mut Buffers) -> Result<BlockReading> {
        interrupt::check()?;
        let block = index * BLOCK..self.length.min((index + 1) * BLOCK);
        let bytes = &mut buffers.bytes;
        bytes.resize(self.length.min(block.end + WIDEST) - block.start, 0);
        self.file.read_exact_at(bytes, block.start as u64).map_err(|e| Error::io("read", self.path, e))?;
        let hash = BlockHash::of(index, count, &bytes[..block.len()]);
        let ends_before = |segment: &Segment| segment.start + segment.tensor.bytes().len() <= block.start;
        let first_segment = self.segments.partition_point(ends_before);
        let here = self.segments[first_segment..].iter().take_while(|segment| segment.start < block.end);
        let mut segments = Vec::new();
        for segment in here {
            let elements = segment.elements_beginning_in(&block);
            let size = segment.size();
            let from = segment.start + elements.start * size;
            let part = if elements.is_empty() {
                &[]
            } else {
                &bytes[from - block.start..from - block.start + elements.len() * size]
            };
            let unusable = match segment.is_codes {
                true => nan_codes(part),
                false => non_finite(segment.tensor.dtype(), part),
            };
            let difference = match segment.counterpart {
                Some(counterpart) => counterpart.compare(elements, part, &mut buffers.codes)?,
                None => Difference::default(),
            };
            segments.push(TensorReading { unusable, difference });
        }
        Ok(BlockReading { hash, first_segment, segments })
    }
}

impl Segment<'_> {
    /// Bytes of an element; of packed ones, each byte counts as one.
    fn size(&self) -> usize {
        self.tensor.dtype().size().max(1)
    }

    /// The elements whose first bytes lie in `block` of the file.
    fn elements_beginning_in(&self, block: &Range<usize>) -> Range<usize> {
        let end = block.end.min(self.start + self.tensor.bytes().len());
        let index = |position: usize| position.saturating_sub(self.start).div_ceil(self.size());
        index(block.start)..index(end)
    }
}

/// What a thread works with.
#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    codes: Vec<u8>,
}
