//! One pass over the source: chunk-sized jobs, one queue for each file, taken by several threads.
//!
//! A file system lets only one thread at a time write to a file, so every thread has a file of its own for as long as it
//! lasts and helps with the others then. A job that needs a scale has its group measured first (see [`GroupState`]), so a
//! group is encoded while its bytes are still in the page cache. Every job writes its own positions, so the bytes depend
//! neither on the number of threads nor on who comes first. Memory is one buffer per thread.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::content::{Content, OutputTensor, ScaleGroup};
use super::group_state::GroupState;
use super::progress::Progress;
use super::shard::ShardFile;
use crate::error::{Error, Result};
use crate::fp8::Decoder;
use crate::interrupt;
use crate::tensor::{Dtype, Tensor, cast_bytes};

/// Elements of one write: small enough that source and result of a chunk stay in the second-level cache.
const CHUNK: usize = 256 * 1024;

/// An output tensor with the shard file and the entry of its layout that it is written to.
pub(super) struct Placed<'a> {
    pub file: &'a ShardFile,
    pub entry: usize,
    pub tensor: &'a OutputTensor,
}

/// Some elements of an output tensor, by its index among the placed ones.
struct Job {
    placed: usize,
    elements: Range<usize>,
}

/// The jobs of one file in order, each with its number among all jobs.
struct Queue {
    jobs: Vec<(usize, Job)>,
    next: AtomicUsize,
}

/// Reads, converts and writes all of `placed` with `threads` threads.
///
/// # Errors
/// That of the first job in list order that failed: [`Error::Tensor`] for NaN or infinite weights, [`Error::Io`], or
/// [`Error::Interrupted`]. Files are then left incomplete.
pub(super) fn run(placed: &[Placed], threads: usize, progress: &dyn Progress) -> Result<()> {
    let mut groups = Groups::collect(placed);
    let queues = queues(placed, &mut groups);
    let pass = Pass {
        placed,
        groups: &groups,
        queues: &queues,
        failed_at: AtomicUsize::new(usize::MAX),
        failure: Mutex::new(None),
        progress,
    };
    std::thread::scope(|scope| {
        let pass = &pass;
        for home in 1..threads.min(queues.iter().map(|q| q.jobs.len()).sum()) {
            scope.spawn(move || pass.work(home));
        }
        pass.work(0);
    });
    match pass.lock_failure().take() {
        Some(error) => Err(error),
        None => write_scales(placed, &groups),
    }
}

/// The scale groups of a pass, found by identity.
struct Groups {
    states: Vec<GroupState>,
    /// For each state, the number of the first job that needs its scales.
    first_jobs: Vec<usize>,
    /// By address: groups are shared, not compared.
    index: HashMap<usize, usize>,
}

impl Groups {
    /// In the order in which the first codes of each are placed.
    fn collect(placed: &[Placed]) -> Self {
        let mut groups = Groups { states: Vec::new(), first_jobs: Vec::new(), index: HashMap::new() };
        for place in placed {
            if let Content::Codes(member) | Content::WeightScale(member) = &place.tensor.content {
                let next = groups.states.len();
                groups.index.entry(address(&member.group)).or_insert_with(|| {
                    groups.states.push(GroupState::new(member.group.clone()));
                    groups.first_jobs.push(usize::MAX);
                    next
                });
            }
        }
        groups
    }

    fn position(&self, group: &Arc<ScaleGroup>) -> usize {
        self.index[&address(group)]
    }

    fn state(&self, group: &Arc<ScaleGroup>) -> &GroupState {
        &self.states[self.position(group)]
    }
}

fn address(group: &Arc<ScaleGroup>) -> usize {
    Arc::as_ptr(group).addr()
}

fn queues(placed: &[Placed], groups: &mut Groups) -> Vec<Queue> {
    let mut queues: Vec<(*const ShardFile, Queue)> = Vec::new();
    let mut number = 0;
    for (index, place) in placed.iter().enumerate() {
        if matches!(place.tensor.content, Content::WeightScale(_)) {
            continue; // after the pass, when all scales are known
        }
        if queues.last().is_none_or(|(file, _)| !std::ptr::eq(*file, place.file)) {
            queues.push((place.file, Queue { jobs: Vec::new(), next: AtomicUsize::new(0) }));
        }
        let Some((_, queue)) = queues.last_mut() else { continue };
        if let Content::Codes(member) = &place.tensor.content {
            let position = groups.position(&member.group);
            groups.first_jobs[position] = groups.first_jobs[position].min(number);
        }
        let elements = place.tensor.spec.elements() as usize;
        for start in (0..elements).step_by(CHUNK) {
            let job = Job { placed: index, elements: start..elements.min(start + CHUNK) };
            queue.jobs.push((number, job));
            number += 1;
        }
    }
    queues.into_iter().map(|(_, queue)| queue).collect()
}

struct Pass<'a> {
    placed: &'a [Placed<'a>],
    groups: &'a Groups,
    queues: &'a [Queue],
    failed_at: AtomicUsize,
    failure: Mutex<Option<Error>>,
    progress: &'a dyn Progress,
}

impl Pass<'_> {
    /// Takes jobs from queue `home` and, when that is empty, from those after it.
    fn work(&self, home: usize) {
        let mut buffer = Vec::new();
        for offset in 0..self.queues.len() {
            let queue = &self.queues[(home + offset) % self.queues.len()];
            while let Some((number, job)) = queue.jobs.get(queue.next.fetch_add(1, Ordering::Relaxed)) {
                // Jobs before a failed one still run: the failure that is reported is always the first in order.
                if *number <= self.failed_at.load(Ordering::Acquire)
                    && let Err(error) = self.perform(job, &mut buffer)
                {
                    self.fail(*number, error);
                }
            }
        }
    }

    fn perform(&self, job: &Job, buffer: &mut Vec<u8>) -> Result<()> {
        interrupt::check()?;
        let place = &self.placed[job.placed];
        let size = place.tensor.spec.dtype.size();
        let Some(bytes) = self.produce(place.tensor, job.elements.clone(), buffer)? else { return Ok(()) };
        place.file.write_at(place.entry, (job.elements.start * size) as u64, bytes)?;
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }

    /// The bytes of some elements of an output tensor; nothing when another job has failed in the meantime.
    fn produce<'b>(
        &self,
        output: &'b OutputTensor,
        elements: Range<usize>,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>> {
        let target = output.spec.dtype;
        let source = |tensor: &'b Tensor| {
            let size = tensor.dtype().size();
            &tensor.bytes()[elements.start * size..elements.end * size]
        };
        buffer.resize(elements.len() * target.size(), 0);
        match &output.content {
            Content::Bytes(tensor) => return Ok(Some(source(tensor))),
            Content::Cast(tensor) => cast_bytes(tensor.dtype(), source(tensor), target, buffer),
            Content::Codes(member) => {
                let state = self.groups.state(&member.group);
                let Some(ready) = state.scales() else {
                    // Whichever job comes first, the failure counts as that of the group's first one.
                    if let Some(error) = state.take_failure() {
                        self.fail(self.groups.first_jobs[self.groups.position(&member.group)], error);
                    }
                    return Ok(None);
                };
                let weight = &member.group.weights[member.index].1;
                ready.encoders[member.index].encode(elements.start, source(weight), buffer);
            }
            Content::Dequantised { codes, scales } => {
                let row = codes.shape().last().copied().unwrap_or(1);
                Decoder::new(scales, target, row)?.decode(elements.start, source(codes), buffer);
            }
            Content::WeightScale(_) => return Ok(None),
        }
        Ok(Some(buffer))
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

fn write_scales(placed: &[Placed], groups: &Groups) -> Result<()> {
    for place in placed {
        let Content::WeightScale(member) = &place.tensor.content else { continue };
        let Some(ready) = groups.state(&member.group).scales() else { continue };
        let values = ready.scales.values.iter().copied();
        let bytes: Vec<u8> = match place.tensor.spec.dtype {
            Dtype::BF16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            _ => values.flat_map(f32::to_le_bytes).collect(),
        };
        place.file.write_at(place.entry, 0, &bytes)?;
    }
    Ok(())
}
