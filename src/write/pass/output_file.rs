//! One file of a pass: what each of its blocks is made of, and how far it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use serde::{Deserialize, Serialize};

use super::super::content::{Content, OutputTensor};
use super::super::shard::{ShardFile, ShardLayout};
use super::super::weight_errors::WeightErrors;
use crate::error::Result;
use crate::format::QuantisationError;
use crate::record::tree_hash::{BLOCK, BlockHash, block_count};

/// What codes in a block lose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlockError {
    /// Index into the entries of the layout.
    pub entry: usize,
    /// Whether it is that of the whole tensor, and not of its part in the block: a device measures tensors as a whole.
    pub whole: bool,
    /// The error.
    pub error: QuantisationError,
}

/// A block of a file that is written.
#[derive(Debug, Clone)]
pub(crate) struct MadeBlock {
    /// Its number in the file.
    pub block: usize,
    /// The hash of its bytes.
    pub hash: BlockHash,
    /// What its codes lose.
    pub errors: Vec<BlockError>,
}

/// A file to be written, and the tensors that go into it.
pub(crate) struct OutputFile {
    path: PathBuf,
    layout: Arc<ShardLayout>,
    /// One for each entry of the layout.
    tensors: Vec<OutputTensor>,
    /// Numbers of the blocks that are to be made, in the order in which they are: those that hold weight scales last, since
    /// making them needs the amax of every weight of the file.
    order: Vec<usize>,
    /// Position in `order` of the first block that nobody has taken.
    pub(super) next: AtomicUsize,
    pub(super) written: AtomicUsize,
    pub(super) hashes: Vec<OnceLock<BlockHash>>,
    /// What quantising loses, by entry of the layout and block (nothing for the whole tensor, which then counts alone): merged
    /// in this order, whoever comes first.
    errors: Mutex<BTreeMap<(usize, Option<usize>), QuantisationError>>,
    /// Whether the file is there, with blocks of an earlier run.
    resumed: bool,
    /// Open from the first block on until the last.
    file: Mutex<Option<Arc<ShardFile>>>,
}

impl OutputFile {
    /// A file at `path`, which must not exist unless it is resumed, of these tensors. Nothing is created yet.
    ///
    /// # Errors
    /// Those of [`ShardLayout::new`].
    pub fn new(path: &Path, tensors: &[OutputTensor]) -> Result<Self> {
        let layout = ShardLayout::new(tensors.iter().map(|t| t.spec.clone()).collect())?;
        let mut tensors = tensors.to_vec();
        tensors.sort_by(|a, b| ShardLayout::order(&a.spec, &b.spec));
        let count = block_count(layout.length());
        let mut target = OutputFile {
            path: path.to_path_buf(),
            layout: Arc::new(layout),
            tensors,
            order: Vec::new(),
            next: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            hashes: vec![OnceLock::new(); count],
            errors: Mutex::default(),
            resumed: false,
            file: Mutex::new(None),
        };
        let holds_scales = |block: &usize| {
            let range = target.entries_of(*block);
            target.tensors[range].iter().any(|t| matches!(t.content, Content::WeightScale(_)))
        };
        let (last, first): (Vec<usize>, Vec<usize>) = (0..count).partition(holds_scales);
        target.order = [first, last].concat();
        Ok(target)
    }

    /// Its layout.
    pub fn layout(&self) -> &ShardLayout {
        &self.layout
    }

    /// The tensors, in file order.
    pub fn tensors(&self) -> &[OutputTensor] {
        &self.tensors
    }

    /// Numbers of the blocks that are to be made, in order.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The bytes of the file that block `index` is.
    pub(super) fn block(&self, index: usize) -> Range<u64> {
        let start = (index * BLOCK) as u64;
        start..self.layout.length().min(start + BLOCK as u64)
    }

    /// The entries of the layout that lie in block `index`, at least in part.
    pub(super) fn entries_of(&self, index: usize) -> Range<usize> {
        let (block, entries) = (self.block(index), self.layout.entries());
        let first = entries.partition_point(|(_, range)| range.end <= block.start);
        let last = entries.partition_point(|(_, range)| range.start < block.end);
        first..last.max(first)
    }

    /// The tensors that lie in block `index`: which, what part of their bytes is in it, and how many they are in all.
    pub fn parts_of(&self, index: usize) -> impl Iterator<Item = (usize, Range<u64>, u64)> + '_ {
        let block = self.block(index);
        let part = move |entry: usize| {
            let range = &self.layout.entries()[entry].1;
            let inside = range.start.max(block.start)..range.end.min(block.end);
            (entry, inside.start - range.start..inside.end - range.start, range.end - range.start)
        };
        self.entries_of(index).map(part).filter(|(_, part, _)| !part.is_empty())
    }

    /// Counts the blocks `made`, which the file at its path holds, as made. Gives their bytes.
    pub fn resume(&mut self, made: Vec<MadeBlock>) -> u64 {
        let mut bytes = 0;
        self.resumed |= !made.is_empty();
        // A file is complete when its last block is written: of one that lacks nothing, the last is written again.
        let whole = made.len() == self.order.len();
        let again = whole.then(|| self.order.last().copied()).flatten();
        for MadeBlock { block, hash, errors } in made.into_iter().filter(|made| Some(made.block) != again) {
            bytes += self.block(block).end - self.block(block).start;
            let _ = self.hashes[block].set(hash);
            for BlockError { entry, whole, error } in errors {
                self.add_error(entry, (!whole).then_some(block), error);
            }
        }
        let hashes = &self.hashes;
        self.order.retain(|block| hashes[*block].get().is_none());
        bytes
    }

    /// Takes in what the codes of `entry` in `block` lose, or in the whole tensor.
    pub(super) fn add_error(&self, entry: usize, block: Option<usize>, error: QuantisationError) {
        self.lock_errors().insert((entry, block), error);
    }

    /// Block `block`, which is written and has this hash.
    pub(super) fn made(&self, block: usize, hash: BlockHash) -> MadeBlock {
        let errors = self.lock_errors();
        let of = |entry: usize| [None, Some(block)].map(|at| (entry, at));
        let known = self.entries_of(block).flat_map(of).filter_map(|at| Some((at, *errors.get(&at)?)));
        let errors = known.map(|((entry, at), error)| BlockError { entry, whole: at.is_none(), error });
        MadeBlock { block, hash, errors: errors.collect() }
    }

    /// What was lost by each module in the file, sorted by name.
    pub(super) fn errors(&self) -> WeightErrors {
        let parts = self.lock_errors();
        let mut errors = WeightErrors::new();
        for ((entry, block), error) in parts.iter() {
            if block.is_some() && parts.contains_key(&(*entry, None)) {
                continue;
            }
            let name = &self.tensors[*entry].spec.name;
            let module = name.strip_suffix(".weight").unwrap_or(name).to_string();
            let sum = errors.entry(module).or_default();
            *sum = sum.merge(*error);
        }
        errors
    }

    fn lock_errors(&self) -> MutexGuard<'_, BTreeMap<(usize, Option<usize>), QuantisationError>> {
        self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The open file; the first call creates it, unless it is resumed.
    ///
    /// # Errors
    /// Those of [`ShardFile::create`] and [`ShardFile::reopen`].
    pub(super) fn open(&self) -> Result<Arc<ShardFile>> {
        let mut file = self.lock();
        match &*file {
            Some(open) => Ok(Arc::clone(open)),
            None => {
                let open = if self.resumed { ShardFile::reopen } else { ShardFile::create };
                let open = Arc::new(open(&self.path, Arc::clone(&self.layout))?);
                Ok(Arc::clone(file.insert(open)))
            }
        }
    }

    /// Takes the open file out when nothing is left to write.
    pub(super) fn close(&self) -> Option<Arc<ShardFile>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<ShardFile>>> {
        self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The number, among all blocks, of the first block of each target.
pub(super) fn first_numbers(targets: &[OutputFile]) -> Vec<usize> {
    let sum = |next: &mut usize, target: &OutputFile| {
        let first = *next;
        *next += target.order().len();
        Some(first)
    };
    targets.iter().scan(0, sum).collect()
}
