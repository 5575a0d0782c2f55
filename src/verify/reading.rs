//! One read of every weight file: its hash, the values that no weight has, and the comparison with the base checkpoint.
//!
//! Files are mapped. Threads take block after block of them, and of a block piece after piece: each is hashed and looked at while
//! it is in the cache of a core, so that every byte comes from memory once. A file that is cut short meanwhile is an error
//! ([`MappedFile`]).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::base::{Counterpart, Difference};
use super::values::{nan_codes, non_finite};
use crate::error::Result;
use crate::input::{Identity, MappedFile};
use crate::interrupt;
use crate::model::Model;
use crate::record::tree_hash::{BLOCK, BlockHash, BlockHasher, block_count, root};
use crate::tensor::Tensor;

/// Bytes that are hashed and then looked at: they fit the second-level cache of any core.
const PIECE: usize = 1 << 17;

/// Hears how a check of all weights goes on, from several threads at once.
pub trait VerifyListener: Sync {
    /// So many bytes of weights are to be read.
    fn begin(&self, bytes: u64);
    /// Another `bytes` bytes are read.
    fn advance(&self, bytes: u64);
}

/// Tells nobody.
struct Unheard;

impl VerifyListener for Unheard {
    fn begin(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// Weight files of all directories that are checked in one go, so that those which several hold under names of their own (hard links)
/// are read once. Who comes first reads; nothing stands there while that goes on, or when it failed.
pub(super) struct SeenShards<'a> {
    readings: Mutex<HashMap<ShardKey, Option<ShardReading>>>,
    listener: &'a dyn VerifyListener,
}

/// About how many bytes of weights a check of `directories` reads: files that several of them hold are read once, unless each is
/// compared with a base. What cannot be looked at is said by the check.
pub(super) fn bytes_to_read(directories: &[PathBuf], has_base: bool) -> u64 {
    let mut seen = HashSet::new();
    let entries = directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    let weights =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "safetensors"));
    let found = weights.filter_map(|path| fs::metadata(path).ok()).filter(|metadata| metadata.is_file());
    found
        .filter(|metadata| has_base || seen.insert((metadata.dev(), metadata.ino())))
        .map(|metadata| metadata.len())
        .sum()
}

/// A file, and what it was looked at for: the names of its tensors, and which of them hold codes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ShardKey {
    identity: Identity,
    segments: Vec<(String, bool)>,
}

/// What was read of a file.
#[derive(Debug, Clone)]
pub(super) struct ShardReading {
    hash: String,
    /// In the order in which the tensors lie in it.
    tensors: Vec<TensorReading>,
}

/// Whether a file was read.
pub(super) enum ShardState {
    /// It was.
    Read(ShardReading),
    /// For another directory.
    Elsewhere(ShardKey),
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

impl TensorReading {
    /// This and what comes after it.
    fn merge(self, next: TensorReading) -> TensorReading {
        TensorReading {
            unusable: self.unusable + next.unusable,
            difference: self.difference.merge(next.difference),
        }
    }
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
    map: &'a MappedFile,
    /// In the order in which they lie in the file.
    segments: Vec<Segment<'a>>,
}

/// What one block told.
struct BlockReading {
    hash: BlockHash,
    first_segment: usize,
    segments: Vec<TensorReading>,
}

/// Reads the weight files of `model` that nobody reads who has the same `seen`. `is_codes` says which tensors hold E4M3 codes;
/// `counterparts` are what tensors are compared with. The state of each file, in their order.
///
/// # Errors
/// [`crate::Error::Changed`], [`crate::Error::Interrupted`].
pub(super) fn read(
    model: &Model,
    is_codes: &(dyn Fn(&str) -> bool + Sync),
    counterparts: &HashMap<&str, Counterpart>,
    seen: &SeenShards,
) -> Result<Vec<ShardState>> {
    let shards = shards_of(model, is_codes, counterparts);
    shards.into_par_iter().map(|shard| shard.read_first(seen)).collect()
}

/// What was read of all weight files of `model`, whose states are `shards`. What is in `seen` by now is not read again.
///
/// # Errors
/// [`crate::Error::Changed`], [`crate::Error::Interrupted`].
pub(super) fn collect(
    model: &Model,
    is_codes: &(dyn Fn(&str) -> bool + Sync),
    states: Vec<ShardState>,
    seen: &SeenShards,
) -> Result<ReadWeights> {
    let mut read = ReadWeights { files: HashMap::new(), tensors: HashMap::new() };
    for (shard, state) in shards_of(model, is_codes, &HashMap::new()).into_iter().zip(states) {
        let reading = match state {
            ShardState::Read(reading) => reading,
            // Whoever was to read it may have failed.
            ShardState::Elsewhere(key) => seen.get(&key).map_or_else(|| shard.read(seen), Ok)?,
        };
        let names = shard.segments.iter().map(|segment| segment.name.to_string());
        read.tensors.extend(names.zip(reading.tensors));
        read.files.insert(shard.name.to_string(), (shard.map.len() as u64, reading.hash));
    }
    Ok(read)
}

/// The weight files of `model`, in their order.
fn shards_of<'a>(
    model: &'a Model,
    is_codes: &dyn Fn(&str) -> bool,
    counterparts: &'a HashMap<&str, Counterpart<'a>>,
) -> Vec<ShardToRead<'a>> {
    let mut by_shard: HashMap<&str, Vec<(&str, &Tensor)>> = HashMap::new();
    for (name, tensor) in model.tensors() {
        by_shard.entry(model.shard_of(name).unwrap_or_default()).or_default().push((name, tensor));
    }
    let shard = |(name, map): (&'a str, &'a MappedFile)| {
        let tensors = by_shard.remove(name).unwrap_or_default().into_iter();
        let mut segments: Vec<Segment> = tensors
            .filter(|(_, tensor)| !tensor.bytes().is_empty())
            .map(|(name, tensor)| Segment {
                name,
                tensor,
                // Where the tensor lies in the file is where it lies in the map of it.
                start: tensor.bytes().as_ptr().addr() - map.as_ptr().addr(),
                is_codes: is_codes(name),
                counterpart: counterparts.get(name),
            })
            .collect();
        segments.sort_by_key(|segment| segment.start);
        ShardToRead { name, map, segments }
    };
    model.maps().map(shard).collect()
}

impl<'a> SeenShards<'a> {
    /// Of a check that nobody hears of.
    pub fn unheard() -> Self {
        SeenShards::heard_by(&Unheard)
    }

    /// Of a check that `listener` hears of.
    pub fn heard_by(listener: &'a dyn VerifyListener) -> Self {
        SeenShards { readings: Mutex::default(), listener }
    }

    /// Whether the file of `key` is for the caller to read.
    fn claim(&self, key: &ShardKey) -> bool {
        let mut seen = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !seen.contains_key(key);
        if is_new {
            seen.insert(key.clone(), None);
        }
        is_new
    }

    fn insert(&self, key: ShardKey, reading: ShardReading) {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Some(reading));
    }

    fn get(&self, key: &ShardKey) -> Option<ShardReading> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().flatten()
    }
}

impl ShardToRead<'_> {
    fn key(&self) -> ShardKey {
        let segments = self.segments.iter().map(|segment| (segment.name.to_string(), segment.is_codes));
        ShardKey { identity: *self.map.watched().identity(), segments: segments.collect() }
    }

    /// Reads it, unless it is compared with nothing and somebody else reads it.
    fn read_first(&self, seen: &SeenShards) -> Result<ShardState> {
        if self.segments.iter().any(|segment| segment.counterpart.is_some()) {
            return self.read(seen).map(ShardState::Read);
        }
        let key = self.key();
        if seen.claim(&key) {
            seen.insert(key.clone(), self.read(seen)?);
        }
        Ok(ShardState::Elsewhere(key))
    }

    fn read(&self, seen: &SeenShards) -> Result<ShardReading> {
        let count = block_count(self.map.len() as u64);
        let blocks: Vec<BlockReading> = (0..count)
            .into_par_iter()
            .map_init(Vec::new, |codes, index| {
                let block = self.read_block(index, count, codes)?;
                seen.listener.advance(self.block(index).len() as u64);
                Ok(block)
            })
            .collect::<Result<_>>()?;
        self.map.require_readable()?;
        // Sums run in the order of the blocks, whoever read them.
        let mut tensors = vec![TensorReading::default(); self.segments.len()];
        for block in &blocks {
            for (tensor, found) in tensors[block.first_segment..].iter_mut().zip(&block.segments) {
                *tensor = tensor.merge(*found);
            }
        }
        let hashes: Vec<BlockHash> = blocks.iter().map(|block| block.hash).collect();
        Ok(ShardReading { hash: root(&hashes), tensors })
    }

    /// Where block `index` lies.
    fn block(&self, index: usize) -> Range<usize> {
        index * BLOCK..self.map.len().min((index + 1) * BLOCK)
    }

    /// Reads block `index` of `count`; `codes` is room to work in.
    fn read_block(&self, index: usize, count: usize, codes: &mut Vec<u8>) -> Result<BlockReading> {
        interrupt::check()?;
        let block = self.block(index);
        self.map.will_need(block.clone());
        let first_segment = self.segments.partition_point(|segment| segment.end() <= block.start);
        let mut hasher = BlockHasher::new(index, count);
        let mut segments: Vec<TensorReading> = Vec::new();
        for start in block.clone().step_by(PIECE) {
            let piece = start..block.end.min(start + PIECE);
            hasher.update(&self.map[piece.clone()]);
            let first = self.segments.partition_point(|segment| segment.end() <= piece.start);
            let here = self.segments[first..].iter().take_while(|segment| segment.start < piece.end);
            for (at, segment) in here.enumerate().map(|(at, segment)| (first - first_segment + at, segment)) {
                let found = segment.read(self.map, &piece, codes)?;
                segments.resize(segments.len().max(at + 1), TensorReading::default());
                segments[at] = segments[at].merge(found);
            }
        }
        Ok(BlockReading { hash: hasher.finish(), first_segment, segments })
    }
}

impl Segment<'_> {
    fn end(&self) -> usize {
        self.start + self.tensor.bytes().len()
    }

    /// Bytes of an element; of packed ones, each byte counts as one.
    fn size(&self) -> usize {
        self.tensor.dtype().size().max(1)
    }

    /// Reads the elements whose first bytes lie in `piece` of the file `map`.
    fn read(&self, map: &MappedFile, piece: &Range<usize>, codes: &mut Vec<u8>) -> Result<TensorReading> {
        let end = piece.end.min(self.end());
        let index = |position: usize| position.saturating_sub(self.start).div_ceil(self.size());
        let elements = index(piece.start)..index(end);
        let bytes = &map[self.start + elements.start * self.size()..self.start + elements.end * self.size()];
        let unusable = match self.is_codes {
            true => nan_codes(bytes),
            false => non_finite(self.tensor.dtype(), bytes),
        };
        let difference = match self.counterpart {
            Some(counterpart) => counterpart.compare(elements, bytes, codes)?,
            None => Difference::default(),
        };
        Ok(TensorReading { unusable, difference })
    }
}
