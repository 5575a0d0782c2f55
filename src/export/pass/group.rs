//! The scales of one group while a pass runs: measured by whoever needs them first, with the help of whoever comes next.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::super::content::ScaleGroup;
use super::super::source_hashes::SourceHashes;
use super::READ_AHEAD;
use crate::error::{Error, Result};
use crate::fp8::{Amax, AmaxAccumulator, BLOCK, Encoder, Granularity, Scales, amax_of};
use crate::interrupt;

/// Elements whose amax is taken at a time: they are still in the cache when the source is hashed.
const AMAX_CHUNK: usize = 512 * 1024;

/// What encoding a group needs.
pub(super) struct Ready {
    /// The scales that go to disk.
    pub scales: Scales,
    /// One encoder for each weight.
    pub encoders: Vec<Encoder>,
}

/// A scale group and what is known of it so far.
pub(super) struct GroupState {
    group: Arc<ScaleGroup>,
    /// Some elements of one weight each, in order.
    chunks: Vec<(usize, Range<usize>)>,
    /// The first chunk that nobody has taken.
    next: AtomicUsize,
    finished: AtomicUsize,
    /// Bits of non-negative F32 values, ordered as the values are: the maximum does not depend on who comes first.
    amax: Vec<AtomicU32>,
    shape: Vec<usize>,
    /// The failure of the first chunk, in order, that failed.
    failure: Mutex<Option<(usize, Error)>>,
    state: Mutex<State>,
    settled: Condvar,
    /// How often the scales will still be asked for.
    uses: AtomicUsize,
}

enum State {
    Measuring,
    Ready(Arc<Ready>),
    Failed,
    /// Nobody needs the scales any more.
    Released,
}

impl GroupState {
    /// The scales will be asked for `uses` times.
    pub(super) fn new(group: Arc<ScaleGroup>, uses: usize) -> Self {
        let shape = match (group.granularity, group.weights[0].1.shape()) {
            (Granularity::Channel, &[out, _]) => vec![out, 1],
            (Granularity::Block, &[out, input]) => vec![out.div_ceil(BLOCK), input.div_ceil(BLOCK)],
            _ => vec![],
        };
        GroupState {
            chunks: chunks(&group),
            next: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            amax: (0..shape.iter().product()).map(|_| AtomicU32::new(0)).collect(),
            shape,
            group,
            failure: Mutex::new(None),
            state: Mutex::new(State::Measuring),
            settled: Condvar::new(),
            uses: AtomicUsize::new(uses),
        }
    }

    /// The scales. The caller measures chunks that nobody has taken yet, then waits for those that others are measuring;
    /// since measuring never waits for anything, neither does this for long. Nothing when the group cannot be quantised:
    /// the first caller to take it gets the reason from [`GroupState::take_failure`].
    pub(super) fn scales(&self, sources: Option<&SourceHashes>) -> Option<Arc<Ready>> {
        while matches!(*self.lock(), State::Measuring) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((member, elements)) = self.chunks.get(number) else { break };
            let measured = interrupt::check().and_then(|()| self.measure(*member, elements.clone(), sources));
            if let Err(error) = measured {
                self.fail(number, error);
            }
            if self.finished.fetch_add(1, Ordering::AcqRel) + 1 == self.chunks.len() {
                *self.lock() = self.settle().map_or(State::Failed, |ready| State::Ready(Arc::new(ready)));
                self.settled.notify_all();
            }
        }
        let state = self.settled.wait_while(self.lock(), |state| matches!(state, State::Measuring));
        match &*state.unwrap_or_else(|poisoned| poisoned.into_inner()) {
            State::Ready(ready) => Some(Arc::clone(ready)),
            State::Measuring | State::Failed | State::Released => None,
        }
    }

    /// Says that the scales were used once; after the last time they are given up, so that memory does not grow with the
    /// number of groups.
    pub(super) fn release(&self) {
        if self.uses.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.lock() = State::Released;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Why the group cannot be quantised; nothing when somebody took the reason before.
    pub(super) fn take_failure(&self) -> Option<Error> {
        let mut failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        failure.take().map(|(_, error)| error)
    }

    fn measure(&self, member: usize, elements: Range<usize>, sources: Option<&SourceHashes>) -> Result<()> {
        let (name, weight) = &self.group.weights[member];
        let size = weight.dtype().size();
        let ahead = elements.start * size + READ_AHEAD..elements.end * size + READ_AHEAD;
        weight.will_need(ahead);
        let bytes = &weight.bytes()[elements.start * size..elements.end * size];
        if let Some(sources) = sources {
            sources.cover(bytes);
        }
        let (first, values) = match (self.group.granularity, weight.shape()) {
            (Granularity::Tensor, _) => (0, vec![amax_of(weight.dtype(), bytes)]),
            (granularity, &[_, input]) if input > 0 => {
                let rows = elements.len() / input;
                let mut part = AmaxAccumulator::new(weight.dtype(), &[rows, input], granularity)?;
                part.push(0, bytes);
                let first = match granularity {
                    Granularity::Block => elements.start / input / BLOCK * input.div_ceil(BLOCK),
                    _ => elements.start / input,
                };
                (first, part.finish().values)
            }
            _ => (0, vec![]),
        };
        for (slot, value) in self.amax[first..].iter().zip(values) {
            if !value.is_finite() {
                let what = if value.is_nan() { "NaN" } else { "infinite" };
                return Err(Error::tensor(name, format!("holds {what} values, which have no FP8 form"))
                    .with_hint("the checkpoint is damaged, or was saved from a run that had diverged"));
            }
            slot.fetch_max(value.to_bits(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn settle(&self) -> Option<Ready> {
        if self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some() {
            return None;
        }
        let group = &self.group;
        let values = self.amax.iter().map(|bits| f32::from_bits(bits.load(Ordering::Relaxed))).collect();
        let amax = Amax { granularity: group.granularity, shape: self.shape.clone(), values };
        let scales = Scales::from_amax(&amax, group.rule);
        let encoders = group.weights.iter().map(|(_, weight)| {
            let row = weight.shape().last().copied().unwrap_or(1);
            Encoder::new(weight.dtype(), group.rounding, &scales, row)
        });
        match encoders.collect::<Result<Vec<_>>>() {
            Ok(encoders) => Some(Ready { scales, encoders }),
            Err(error) => {
                self.fail(0, error);
                None
            }
        }
    }

    fn fail(&self, number: usize, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if failure.as_ref().is_none_or(|(first, _)| number < *first) {
            *failure = Some((number, error));
        }
    }
}

/// What is measured at a time. Where scales belong to rows or blocks, a chunk is made of whole rows of them, so that each
/// can be measured as a tensor of its own. An empty weight still needs one chunk, for its group to become ready.
fn chunks(group: &ScaleGroup) -> Vec<(usize, Range<usize>)> {
    let weights = group.weights.iter().enumerate();
    let of_weight = weights.flat_map(|(index, (_, weight))| {
        let unit = match (group.granularity, weight.shape()) {
            (Granularity::Channel, &[_, input]) => input,
            (Granularity::Block, &[_, input]) => input * BLOCK,
            _ => 1,
        };
        let step = (AMAX_CHUNK / unit.max(1)).max(1) * unit.max(1);
        let elements = weight.elements();
        (0..elements.max(1)).step_by(step).map(move |start| (index, start..elements.min(start + step)))
    });
    of_weight.collect()
}
