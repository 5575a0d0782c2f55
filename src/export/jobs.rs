//! One pass over the source: chunk-sized jobs in a fixed order, taken by several threads.
//!
//! Every thread takes the next job of one list. The amax jobs of a scale group stand before the jobs that encode it, with
//! the amax jobs of the next group between them: a thread that has to wait for a scale waits only for chunks that other
//! threads are already reading, and a group is encoded while its bytes are still in the page cache. Every job writes its
//! own positions, so the bytes do not depend on the number of threads. Memory is one buffer per thread.

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

enum Job {
    Amax { group: usize, member: usize, elements: Range<usize> },
    Write { placed: usize, elements: Range<usize> },
}

/// Reads, converts and writes all of `placed` with `threads` threads.
///
/// # Errors
/// That of the first job in list order that failed: [`Error::Tensor`] for NaN or infinite weights, [`Error::Io`], or
/// [`Error::Interrupted`]. Files are then left incomplete.
pub(super) fn run(placed: &[Placed], threads: usize, progress: &dyn Progress) -> Result<()> {
    let groups = Groups::collect(placed);
    let jobs = list_jobs(placed, &groups);
    let pass = Pass {
        placed,
        groups: &groups,
        jobs: &jobs,
        next: AtomicUsize::new(0),
        failed_at: AtomicUsize::new(usize::MAX),
        failure: Mutex::new(None),
        progress,
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(jobs.len()) {
            scope.spawn(|| pass.work());
        }
        pass.work();
    });
    match pass.lock_failure().take() {
        Some(error) => Err(error),
        None => write_scales(placed, &groups),
    }
}

/// The scale groups of a pass, found by identity.
struct Groups {
    states: Vec<GroupState>,
    /// By address: groups are shared, not compared.
    index: HashMap<usize, usize>,
}

impl Groups {
    /// In the order in which the first codes of each are placed.
    fn collect(placed: &[Placed]) -> Self {
        let mut groups = Groups { states: Vec::new(), index: HashMap::new() };
        for place in placed {
            if let Content::Codes(member) | Content::WeightScale(member) = &place.tensor.content {
                let next = groups.states.len();
                groups.index.entry(address(&member.group)).or_insert_with(|| {
                    groups.states.push(GroupState::new(member.group.clone()));
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

fn list_jobs(placed: &[Placed], groups: &Groups) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut measured = 0;
    for (index, place) in placed.iter().enumerate() {
        let spec = &place.tensor.spec;
        match &place.tensor.content {
            Content::WeightScale(_) => continue,
            Content::Codes(member) => {
                // One group ahead of the encoding, see the head of this file.
                let ahead = (groups.position(&member.group) + 2).min(groups.states.len());
                while measured < ahead {
                    let state = &groups.states[measured];
                    jobs.extend(state.amax_chunks().map(|(member, elements)| Job::Amax {
                        group: measured,
                        member,
                        elements,
                    }));
                    measured += 1;
                }
            }
            _ => {}
        }
        let elements = spec.elements() as usize;
        for start in (0..elements).step_by(CHUNK) {
            jobs.push(Job::Write { placed: index, elements: start..elements.min(start + CHUNK) });
        }
    }
    jobs
}

struct Pass<'a> {
    placed: &'a [Placed<'a>],
    groups: &'a Groups,
    jobs: &'a [Job],
    next: AtomicUsize,
    failed_at: AtomicUsize,
    failure: Mutex<Option<Error>>,
    progress: &'a dyn Progress,
}

impl Pass<'_> {
    fn work(&self) {
        let mut buffer = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(number) else { return };
            if number > self.failed_at.load(Ordering::Acquire) {
                // Nothing is written any more, but threads that wait for a scale must not wait for ever.
                if let Job::Amax { group, .. } = job {
                    self.groups.states[*group].abandon_chunk();
                }
            } else if let Err(error) = self.perform(job, &mut buffer) {
                self.fail(number, error);
            }
        }
    }

    fn perform(&self, job: &Job, buffer: &mut Vec<u8>) -> Result<()> {
        match job {
            Job::Amax { group, member, elements } => {
                let state = &self.groups.states[*group];
                let measured = interrupt::check().and_then(|()| state.measure(*member, elements.clone()));
                if measured.is_err() {
                    state.abandon_chunk();
                }
                measured
            }
            Job::Write { placed, elements } => {
                interrupt::check()?;
                let place = &self.placed[*placed];
                let size = place.tensor.spec.dtype.size();
                let bytes = self.produce(place.tensor, elements.clone(), buffer)?;
                let Some(bytes) = bytes else { return Ok(()) };
                place.file.write_at(place.entry, (elements.start * size) as u64, bytes)?;
                self.progress.advance(bytes.len() as u64);
                Ok(())
            }
        }
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
                let Some(ready) = self.groups.state(&member.group).wait() else { return Ok(None) };
                let weight = &member.group.weights[member.index].1;
                ready.encoders[member.index].encode(elements.start, source(weight), buffer);
            }
            Content::Dequantised { codes, scales } => {
                let row = codes.shape().last().copied().unwrap_or(1);
                Decoder::new(scales, target, row)?.decode(elements.start, source(codes), buffer);
            }
            Content::WeightScale(_) => return Ok(None), // after the pass, when all scales are known
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
        let Some(ready) = groups.state(&member.group).wait() else { continue };
        let values = ready.scales.values.iter().copied();
        let bytes: Vec<u8> = match place.tensor.spec.dtype {
            Dtype::BF16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            _ => values.flat_map(f32::to_le_bytes).collect(),
        };
        place.file.write_at(place.entry, 0, &bytes)?;
    }
    Ok(())
}
