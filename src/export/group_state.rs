//! The scales of one group while a pass runs: measured by whoever needs them first, with the help of whoever comes next.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::content::ScaleGroup;
use crate::error::{Error, Result};
use crate::fp8::{Amax, AmaxAccumulator, BLOCK, Encoder, Granularity, Scales, amax_of};
use crate::interrupt;

/// Elements whose amax is taken at a time.
const AMAX_CHUNK: usize = 2 * 1024 * 1024;

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
    ready: OnceLock<Option<Ready>>,
}

impl GroupState {
    pub(super) fn new(group: Arc<ScaleGroup>) -> Self {
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
            ready: OnceLock::new(),
        }
    }

    /// The scales. The caller measures chunks that nobody has taken yet, then waits for those that others are measuring;
    /// since measuring never waits for anything, neither does this for long. Nothing when the group cannot be quantised:
    /// the first caller to take it gets the reason from [`GroupState::take_failure`].
    pub(super) fn scales(&self) -> Option<&Ready> {
        while self.ready.get().is_none() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((member, elements)) = self.chunks.get(number) else { break };
            if let Err(error) = interrupt::check().and_then(|()| self.measure(*member, elements.clone())) {
                self.fail(number, error);
            }
            if self.finished.fetch_add(1, Ordering::AcqRel) + 1 == self.chunks.len() {
                let _ = self.ready.set(self.settle());
            }
        }
        self.ready.wait().as_ref()
    }

    /// Why the group cannot be quantised; nothing when somebody took the reason before.
    pub(super) fn take_failure(&self) -> Option<Error> {
        let mut failure = self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        failure.take().map(|(_, error)| error)
    }

    fn measure(&self, member: usize, elements: Range<usize>) -> Result<()> {
        let (name, weight) = &self.group.weights[member];
        let size = weight.dtype().size();
        let bytes = &weight.bytes()[elements.start * size..elements.end * size];
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
