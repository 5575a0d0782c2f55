//! One file of a pass: what each of its blocks is made of, and how far it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::super::content::{Content, OutputTensor};
use super::super::shard::{ShardFile, ShardLayout};
use super::super::weight_errors::WeightErrors;
use crate::error::Result;
use crate::format::QuantisationError;
use crate::record::tree_hash::{BLOCK, BlockHash, block_count};

/// A file to be written, and the tensors that go into it.
pub(crate) struct OutputFile {
    path: PathBuf,
    layout: Arc<ShardLayout>,
    /// One for each entry of the layout.
    tensors: Vec<OutputTensor>,
    /// Block numbers in the order in which they are made: those that hold weight scales last, since making them needs the
    /// amax of every weight of the file.
    order: Vec<usize>,
    /// Position in `order` of the first block that nobody has taken.
    pub(super) next: AtomicUsize,
    pub(super) written: AtomicUsize,
    pub(super) hashes: Vec<OnceLock<BlockHash>>,
    /// What quantising loses, by entry of the layout and block: merged in this order, whoever comes first.
    errors: Mutex<BTreeMap<(usize, usize), QuantisationError>>,
    /// Open from the first block on until the last.
    file: Mutex<Option<Arc<ShardFile>>>,
}

impl OutputFile {
    /// A file at `path`, which must not exist, of these tensors. Nothing is created yet.
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

    /// Block numbers in the order in which they are made.
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

    /// Takes in what the codes of `entry` in `block` lose.
    pub(super) fn add_error(&self, entry: usize, block: usize, error: QuantisationError) {
        let mut errors = self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        errors.insert((entry, block), error);
    }

    /// What was lost by each module in the file, sorted by name.
    pub(super) fn errors(&self) -> WeightErrors {
        let parts = self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut errors = WeightErrors::new();
        for ((entry, _), error) in parts.iter() {
            let name = &self.tensors[*entry].spec.name;
            let module = name.strip_suffix(".weight").unwrap_or(name).to_string();
            let sum = errors.entry(module).or_default();
            *sum = sum.merge(*error);
        }
        errors
    }

    /// The open file; the first call creates it.
    ///
    /// # Errors
    /// Those of [`ShardFile::create`].
    pub(super) fn open(&self) -> Result<Arc<ShardFile>> {
        let mut file = self.lock();
        match &*file {
            Some(open) => Ok(Arc::clone(open)),
            None => {
                let open = Arc::new(ShardFile::create(&self.path, Arc::clone(&self.layout))?);
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
