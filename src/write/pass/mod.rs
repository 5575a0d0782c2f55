//! One pass over the source: files are made block by block, by several threads, and hashed on the way.
//!
//! A file system lets only one thread at a time write to a file, so every thread has a file of its own for as long as it
//! lasts and helps with the others then. A block that needs a scale has its group measured first (see [`group`]), so a
//! group is encoded while its bytes are still in the page cache. Every block has its own position, so the bytes depend
//! neither on the number of threads nor on who comes first. Memory is one block per thread.
//!
//! Where there is an accelerator, it quantises the groups a little ahead of the blocks that need them (see [`stages`] and [`group_queue`]), and
//! memory is also the codes that were made ahead.

mod block;
mod block_failure;
mod group;
mod group_queue;
mod groups;
mod output_file;
mod reading;
mod stages;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use super::progress::Progress;
use super::shard::ShardFile;
use super::source_hashes::SourceHashes;
use super::weight_errors::WeightErrors;
use crate::device::accelerator::Accelerator;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::record::tree_hash::{BlockHash, root};
use block::Makers;
use block_failure::{BlockFailure, FailureOrder};
use groups::{DeviceLimits, Groups, OnDrop};
use output_file::first_numbers;
pub(crate) use output_file::{BlockError, MadeBlock, OutputFile};
pub(crate) use reading::is_checked;

/// Bytes of codes that an accelerator makes ahead, and more for each file in work, which has a group of its own.
const WINDOW: usize = 512 << 20;
const WINDOW_PER_FILE: usize = 64 << 20;
/// Bytes of weights of the largest group that an accelerator gets.
const LARGEST: usize = 1 << 30;

/// What a pass works with besides its files.
pub(crate) struct PassOptions<'a> {
    /// Threads that read, convert and write; the bytes do not depend on it.
    pub threads: usize,
    /// Listens while it runs.
    pub progress: &'a dyn Progress,
    /// Hashes of the source shards, which the pass completes as far as it reads them.
    pub sources: Option<&'a SourceHashes<'a>>,
    /// Whether what codes lose is measured on the way.
    pub errors: bool,
    /// What quantises in place of the threads.
    pub accelerator: Option<&'a dyn Accelerator>,
    /// Told of every block of a file of several that is written: the index of the file, and the block. Called from many threads.
    pub made: &'a (dyn Fn(usize, &MadeBlock) -> Result<()> + Sync),
    /// Told of every file that is complete and on the disk: its index, the BLAKE3 hash of its content, and what its codes
    /// lose. Called from one thread.
    pub finished: &'a (dyn Fn(usize, &str, WeightErrors) -> Result<()> + Sync),
}

/// Writes all `targets` and forces each to the disk as soon as it is complete.
///
/// # Errors
/// That of the first block in order that failed: [`Error::Tensor`] for NaN or infinite weights, [`Error::Io`],
/// [`Error::Device`], or [`Error::Interrupted`]. Files are then left incomplete. [`Error::Argument`] before anything is
/// written for a group that cannot be quantised as it is to be.
pub(crate) fn run(targets: &[OutputFile], options: &PassOptions) -> Result<()> {
    let window = WINDOW + options.threads.min(targets.len()) * WINDOW_PER_FILE;
    run_within(DeviceLimits { window, largest: LARGEST }, targets, options)
}

/// [`run`] with other limits for the accelerator.
fn run_within(limits: DeviceLimits, targets: &[OutputFile], options: &PassOptions) -> Result<()> {
    let groups = Groups::collect(targets, options.threads, options.accelerator.map(|_| limits))?;
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
        if let Some(accelerator) = options.accelerator {
            scope.spawn(move || pass.quantise(accelerator));
        }
        // However the makers end, the accelerator must not wait for them.
        let _end = OnDrop(|| pass.makers.groups.end());
        std::thread::scope(|makers| {
            for _ in 1..options.threads.min(targets.iter().map(|t| t.order().len()).sum()) {
                let sender = sender.clone();
                makers.spawn(move || pass.work(&sender));
            }
            pass.work(&sender);
        });
        drop(sender);
    });
    match pass.lock_failure().take() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// What the thread that talks to the disk is told.
enum Event {
    /// These bytes of a file were written: the disk may begin with them.
    Flush(Arc<ShardFile>, Range<u64>),
    /// The last block of this target was written.
    Complete(usize, Arc<ShardFile>),
}

/// Blocks that the disk is told of at a time.
const FLUSHED_BLOCKS: usize = 32;

struct Pass<'a> {
    targets: &'a [OutputFile],
    first_numbers: Vec<usize>,
    makers: Makers<'a>,
    options: &'a PassOptions<'a>,
    next_target: AtomicUsize,
    failed_at: AtomicUsize,
    failure: Mutex<Option<(FailureOrder, Error)>>,
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

    /// Quantises ahead of the makers.
    fn quantise(&self, accelerator: &dyn Accelerator) {
        match self.makers.groups.quantise(accelerator, self.options.sources, self.options.errors) {
            Ok(None) => {}
            Ok(Some(reason)) => {
                self.options.progress.note(&format!("the rest is quantised on the CPU: {reason}"));
            }
            Err((first, error)) => self.fail(first, error),
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
            match self.write(index, block, buffer) {
                Ok(file) => {
                    let written = target.written.fetch_add(1, Ordering::AcqRel) + 1;
                    if (position + 1).is_multiple_of(FLUSHED_BLOCKS) {
                        let first = target.order()[position + 1 - FLUSHED_BLOCKS];
                        let range = target.block(first).start..target.block(block).end;
                        let _ = disk.send(Event::Flush(file, range));
                    }
                    if written == target.order().len()
                        && let Some(file) = target.close()
                    {
                        let _ = disk.send(Event::Complete(index, file));
                    }
                }
                Err(BlockFailure::Failed(error)) => self.fail((number, 0), error),
                Err(BlockFailure::Group(Some((first, error)))) => self.fail(first, error),
                Err(BlockFailure::Group(None)) => {}
            }
        }
    }

    fn write(
        &self,
        index: usize,
        block: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<Arc<ShardFile>, BlockFailure> {
        interrupt::check()?;
        let target = &self.targets[index];
        let file = target.open()?;
        let bytes = self.makers.make(target, block, buffer)?;
        let hash = BlockHash::of(block, target.hashes.len(), bytes);
        file.write_at(target.block(block).start, bytes)?;
        let _ = target.hashes[block].set(hash);
        if target.hashes.len() > 1 {
            (self.options.made)(index, &target.made(block, hash))?;
        }
        self.options.progress.advance(bytes.len() as u64);
        Ok(file)
    }

    /// Keeps the disk busy while files are still being made, and forces complete ones to it.
    fn attend_to_disk(&self, events: &mpsc::Receiver<Event>) {
        for event in events {
            match event {
                Event::Flush(file, range) => file.start_flush(range),
                Event::Complete(index, file) => {
                    if let Err(error) = self.complete(index, &file) {
                        self.fail((self.first_numbers[index], 0), error);
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

    fn fail(&self, order: FailureOrder, error: Error) {
        let mut failure = self.lock_failure();
        self.failed_at.fetch_min(order.0, Ordering::AcqRel);
        if failure.as_ref().is_none_or(|(first, _)| order < *first) {
            *failure = Some((order, error));
        }
    }

    fn lock_failure(&self) -> MutexGuard<'_, Option<(FailureOrder, Error)>> {
        self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests;
