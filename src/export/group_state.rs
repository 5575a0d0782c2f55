//! The scales of one group while a pass runs: first unknown, then measured chunk by chunk, then ready for encoding.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::content::ScaleGroup;
use crate::error::{Error, Result};
use crate::fp8::{Amax, AmaxAccumulator, BLOCK, Encoder, Granularity, Scales, amax_of};

/// Elements whose amax one job takes.
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
    /// Bits of non-negative F32 values, ordered as the values are: the maximum does not depend on who comes first.
    amax: Vec<AtomicU32>,
    shape: Vec<usize>,
    pending: AtomicUsize,
    abandoned: AtomicBool,
    ready: OnceLock<Option<Ready>>,
}

impl GroupState {
    pub(super) fn new(group: Arc<ScaleGroup>) -> Self {
        let shape = match (group.granularity, group.weights[0].1.shape()) {
            (Granularity::Channel, &[out, _]) => vec![out, 1],
            (Granularity::Block, &[out, input]) => vec![out.div_ceil(BLOCK), input.div_ceil(BLOCK)],
            _ => vec![],
        };
        let amax = (0..shape.iter().product()).map(|_| AtomicU32::new(0)).collect();
        let state = GroupState {
            group,
            amax,
            shape,
            pending: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
            ready: OnceLock::new(),
        };
        state.pending.store(state.amax_chunks().count(), Ordering::Relaxed);
        state
    }

    /// The chunks to be measured, each a range of elements of one weight. Where scales belong to rows or blocks, a chunk
    /// is made of whole rows of them, so that each can be measured as a tensor of its own.
    pub(super) fn amax_chunks(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.group.weights.iter().enumerate().flat_map(|(index, (_, weight))| {
            let unit = match (self.group.granularity, weight.shape()) {
                (Granularity::Channel, &[_, input]) => input,
                (Granularity::Block, &[_, input]) => input * BLOCK,
                _ => 1,
            }
            .max(1);
            let step = (AMAX_CHUNK / unit).max(1) * unit;
            let elements = weight.elements();
            // An empty weight still needs one chunk, for the group to become ready.
            (0..elements.max(1)).step_by(step).map(move |start| (index, start..elements.min(start + step)))
        })
    }

    /// Measures one of [`GroupState::amax_chunks`].
    ///
    /// # Errors
    /// [`Error::Tensor`] when it holds NaN or infinite values; the chunk then still counts as pending.
    pub(super) fn measure(&self, member: usize, elements: Range<usize>) -> Result<()> {
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
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settle()?;
        }
        Ok(())
    }

    /// Counts a chunk as done that will not be measured, because something failed.
    pub(super) fn abandon_chunk(&self) {
        self.abandoned.store(true, Ordering::Release);
        if self.pending.load(Ordering::Acquire) == 0 || self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.ready.set(None);
        }
    }

    /// Waits until the scales are known; nothing when the pass has failed.
    pub(super) fn wait(&self) -> Option<&Ready> {
        self.ready.wait().as_ref()
    }

    fn settle(&self) -> Result<()> {
        if self.abandoned.load(Ordering::Acquire) {
            let _ = self.ready.set(None);
            return Ok(());
        }
        let group = &self.group;
        let values = self.amax.iter().map(|bits| f32::from_bits(bits.load(Ordering::Relaxed))).collect();
        let amax = Amax { granularity: group.granularity, shape: self.shape.clone(), values };
        let scales = Scales::from_amax(&amax, group.rule);
        let encoders = group.weights.iter().map(|(_, weight)| {
            let row = weight.shape().last().copied().unwrap_or(1);
            Encoder::new(weight.dtype(), group.rounding, &scales, row)
        });
        let encoders = encoders.collect::<Result<Vec<_>>>()?;
        let _ = self.ready.set(Some(Ready { scales, encoders }));
        Ok(())
    }
}
