//! One pass over the source: files are made block by block, by several threads, and hashed on the way.
//!
//! A file system lets only one thread at a time write to a file, so every thread has a file of its own for as long as it
//! lasts and helps with the others then. A block that needs a scale has its group measured first (see [`GroupState`]), so a
//! group is encoded while its bytes are still in the page cache. Every block has its own position, so the bytes depend
//! neither on the number of threads nor on who comes first. Memory is one block per thread.

mod block;
mod group;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use super::content::{Content, ScaleGroup};
use super::progress::Progress;
use super::shard::ShardFile;
use super::source_hashes::SourceHashes;
use super::tree_hash::{BlockHash, root};
use crate::error::{Error, Result};
use crate::fp8::QuantisationError;
use crate::interrupt;
use block::Makers;
use group::{GroupState, Ready};
pub(super) use target::Target;

/// Bytes of a source tensor that the disk is asked for before they are needed.
const READ_AHEAD: usize = 8 << 20;

/// What quantising loses, by on-disk name of the module.
pub(super) type WeightErrors = BTreeMap<String, QuantisationError>;

/// What a pass works with besides its files.
pub(super) struct PassOptions<'a> {
    /// Threads that read, convert and write; the bytes do not depend on it.
    pub threads: usize,
    /// Listens while it runs.
    pub progress: &'a dyn Progress,
    /// Hashes of the source shards, which the pass completes as far as it reads them.
    pub sources: Option<&'a SourceHashes<'a>>,
    /// Whether what codes lose is measured on the way.
    pub errors: bool,
    /// Told of every file that is complete and on the disk: its index, the BLAKE3 hash of its content, and what its codes
    /// lose. Called from one thread.
    pub finished: &'a (dyn Fn(usize, &str, WeightErrors) -> Result<()> + Sync),
}

/// Writes all `targets` and forces each to the disk as soon as it is complete.
///
/// # Errors
/// That of the first block in order that failed: [`Error::Tensor`] for NaN or infinite weights, [`Error::Io`], or
/// [`Error::Interrupted`]. Files are then left incomplete.
pub(super) fn run(targets: &[Target], options: &PassOptions) -> Result<()> {
    let groups = Groups::collect(targets);
    let (sender, events) = mpsc::channel();
    let pass = Pass {
        targets,
        first_numbers: first_numbers(targets),
        makers: Makers { groups: &groups, sources: options.sources, errors: options.errors },
        options,
        next_target: AtomicUsize::new(0),
        failed_at: AtomicUsize::new(usize::MAX),
        failure: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        let pass = &pass;
        scope.spawn(move || pass.attend_to_disk(&events));
        for _ in 1..options.threads.min(targets.iter().map(|t| t.order().len()).sum()) {
            let sender = sender.clone();
            scope.spawn(move || pass.work(&sender));
        }
        pass.work(&sender);
        drop(sender);
    });
    match pass.lock_failure().take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Why a block was not made.
pub(super) enum Stop {
    /// It failed.
    Failed(Error),
    /// Its group had failed before, at this block of all blocks, or for a reason that was told already.
    Group(Option<(usize, Error)>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// The scale groups of a pass, found by identity.
pub(super) struct Groups {
    states: Vec<GroupState>,
    /// For each state, the number of the first block that needs its scales.
    first_blocks: Vec<usize>,
    /// By address: groups are shared, not compared.
    index: HashMap<usize, usize>,
}

impl Groups {
    fn collect(targets: &[Target]) -> Self {
        let mut found: Vec<(Arc<ScaleGroup>, usize, usize)> = Vec::new();
        let mut index = HashMap::new();
        for (target, first_number) in targets.iter().zip(first_numbers(targets)) {
            for (position, block) in target.order().iter().enumerate() {
                for entry in target.entries_of(*block) {
                    let tensor = &target.tensors()[entry];
                    if let Content::Codes(member) | Content::WeightScale(member) = &tensor.content
                        && tensor.spec.bytes() > 0
                    {
                        let at = *index.entry(Arc::as_ptr(&member.group).addr()).or_insert(found.len());
                        if at == found.len() {
                            found.push((member.group.clone(), first_number + position, 0));
                        }
                        found[at].2 += 1;
                    }
                }
            }
        }
        let first_blocks = found.iter().map(|(_, first, _)| *first).collect();
        let states = found.into_iter().map(|(group, _, uses)| GroupState::new(group, uses)).collect();
        Groups { states, first_blocks, index }
    }

    /// The scales of `group`, measured by this call if need be.
    fn scales(&self, group: &Arc<ScaleGroup>, sources: Option<&SourceHashes>) -> Result<Arc<Ready>, Stop> {
        let at = self.index[&Arc::as_ptr(group).addr()];
        let state = &self.states[at];
        // Whichever block comes first, the failure counts as that of the group's first one.
        let failure = || Stop::Group(state.take_failure().map(|error| (self.first_blocks[at], error)));
        state.scales(sources).ok_or_else(failure)
    }

    /// One use of the scales of `group` is over.
    fn release(&self, group: &Arc<ScaleGroup>) {
        self.states[self.index[&Arc::as_ptr(group).addr()]].release();
    }
}

/// The number, among all blocks, of the first block of each target.
fn first_numbers(targets: &[Target]) -> Vec<usize> {
    let sum = |next: &mut usize, target: &Target| {
        let first = *next;
        *next += target.order().len();
        Some(first)
    };
    targets.iter().scan(0, sum).collect()
}

/// What the thread that talks to the disk is told.
enum Event {
    /// These bytes of a file were written: the disk may begin with them.
    Written(Arc<ShardFile>, Range<u64>),
    /// The last block of this target was written.
    Complete(usize, Arc<ShardFile>),
}

/// Blocks that the disk is told of at a time.
const FLUSHED_BLOCKS: usize = 32;

struct Pass<'a> {
    targets: &'a [Target],
    first_numbers: Vec<usize>,
    makers: Makers<'a>,
    options: &'a PassOptions<'a>,
    next_target: AtomicUsize,
    failed_at: AtomicUsize,
    failure: Mutex<Option<Error>>,
}

impl Pass<'_> {
    /// Takes files that nobody has begun, one after another, and helps with the others when there is none left.
    fn work(&self, disk: &mpsc::Sender<Event>) {
        let mut buffer = Vec::new();
        while let Some(index) = self.take_target() {
            self.work_on(index, &mut buffer, disk);
        }
        for index in 0..self.targets.len() {
            self.work_on(index, &mut buffer, disk);
        }
    }

    fn take_target(&self) -> Option<usize> {
        let index = self.next_target.fetch_add(1, Ordering::Relaxed);
        (index < self.targets.len()).then_some(index)
    }

    fn work_on(&self, index: usize, buffer: &mut Vec<u8>, disk: &mpsc::Sender<Event>) {
        let target = &self.targets[index];
        loop {
            let position = target.next.fetch_add(1, Ordering::Relaxed);
            let Some(&block) = target.order().get(position) else { return };
            let number = self.first_numbers[index] + position;
            // Blocks before a failed one are still made: the failure that is reported is always the first in order.
            if number > self.failed_at.load(Ordering::Acquire) {
                continue;
            }
            match self.write(target, block, buffer) {
                Ok(file) => {
                    let written = target.written.fetch_add(1, Ordering::AcqRel) + 1;
                    if (position + 1).is_multiple_of(FLUSHED_BLOCKS) {
                        let first = target.order()[position + 1 - FLUSHED_BLOCKS];
                        let range = target.block(first).start..target.block(block).end;
                        let _ = disk.send(Event::Written(file, range));
                    }
                    if written == target.order().len()
                        && let Some(file) = target.close()
                    {
                        let _ = disk.send(Event::Complete(index, file));
                    }
                }
                Err(Stop::Failed(error)) => self.fail(number, error),
                Err(Stop::Group(Some((first, error)))) => self.fail(first, error),
                Err(Stop::Group(None)) => {}
            }
        }
    }

    fn write(&self, target: &Target, block: usize, buffer: &mut Vec<u8>) -> Result<Arc<ShardFile>, Stop> {
        interrupt::check()?;
        let file = target.open()?;
        let bytes = self.makers.make(target, block, buffer)?;
        let hash = BlockHash::of(block, target.order().len(), bytes);
        file.write_at(target.block(block).start, bytes)?;
        let _ = target.hashes[block].set(hash);
        self.options.progress.advance(bytes.len() as u64);
        Ok(file)
    }

    /// Keeps the disk busy while files are still being made, and forces complete ones to it.
    fn attend_to_disk(&self, events: &mpsc::Receiver<Event>) {
        for event in events {
            match event {
                Event::Written(file, range) => file.start_flush(range),
                Event::Complete(index, file) => {
                    if let Err(error) = self.complete(index, &file) {
                        self.fail(self.first_numbers[index], error);
                    }
                }
            }
        }
    }

    fn complete(&self, index: usize, file: &ShardFile) -> Result<()> {
        let hashes = self.targets[index].hashes.iter().map(|hash| hash.get().copied());
        // All blocks are there, or the file would not be complete.
        let hashes: Vec<BlockHash> = hashes.flatten().collect();
        file.sync()?;
        (self.options.finished)(index, &root(&hashes), self.targets[index].errors())
    }

    fn fail(&self, number: usize, error: Error) {
        let mut failure = self.lock_failure();
        if number < self.failed_at.fetch_min(number, Ordering::AcqRel) {
            *failure = Some(error);
        }
    }

    fn lock_failure(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
