//! One group while a pass runs: its scales, measured by whoever needs them first with the help of whoever comes next, or
//! scales and codes that a device brought.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::super::content::ScaleGroup;
use super::super::source_hashes::SourceHashes;
use super::READ_AHEAD;
use crate::error::{Error, Result};
use crate::format::{
    Amax, AmaxAccumulator, BLOCK, Encoder, Granularity, QuantisationError, QuantisedGroup, Scales, amax_of,
};
use crate::interrupt;
use crate::tensor::Tensor;

/// Elements whose amax is taken at a time: they are still in the cache when the source is hashed.
const AMAX_CHUNK: usize = 512 * 1024;

/// What encoding a group needs.
pub(super) struct Ready {
    /// The scales that go to disk.
    pub scales: Scales,
    /// One encoder for each weight.
    pub encoders: Vec<Encoder>,
    device: Option<FromDevice>,
}

/// What a device made of a group.
struct FromDevice {
    /// The codes of each weight, for as long as somebody needs them.
    codes: Vec<Mutex<Option<Tensor>>>,
    /// What was lost of each weight, where that was asked for.
    errors: Vec<QuantisationError>,
}

impl Ready {
    /// The codes of weight `member` that a device made, and what they lose; nothing where the caller is to encode.
    pub fn codes(&self, member: usize) -> Option<(Tensor, Option<QuantisationError>)> {
        let device = self.device.as_ref()?;
        let codes = lock(device.codes.get(member)?).clone()?;
        Some((codes, device.errors.get(member).copied()))
    }
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
    /// How often the codes of each weight will still be asked for.
    code_uses: Vec<AtomicUsize>,
}

enum State {
    /// A device will bring it.
    Awaited,
    Measuring,
    Ready(Arc<Ready>),
    Failed,
    /// Nobody needs the scales any more.
    Released,
}

impl GroupState {
    /// The scales will be asked for `uses` times, for codes of each weight `code_uses` times; a device brings them if it is
    /// `awaited`.
    pub(super) fn new(group: Arc<ScaleGroup>, uses: usize, code_uses: Vec<usize>, awaited: bool) -> Self {
        let shape = match (group.encoding.granularity, group.weights[0].1.shape()) {
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
            state: Mutex::new(if awaited { State::Awaited } else { State::Measuring }),
            settled: Condvar::new(),
            uses: AtomicUsize::new(uses),
            code_uses: code_uses.into_iter().map(AtomicUsize::new).collect(),
        }
    }

    /// The group itself.
    pub(super) fn group(&self) -> &ScaleGroup {
        &self.group
    }

    /// Whether a device will bring it.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(*self.lock(), State::Awaited)
    }

    /// Takes what a device made, and says whether it can be used. When weights are not finite the CPU finds out which.
    pub(super) fn deliver(&self, quantised: QuantisedGroup) -> bool {
        if !quantised.is_finite() {
            self.leave_to_cpu();
            return false;
        }
        let codes = quantised.codes.into_iter().zip(&self.code_uses);
        let needed = codes.map(|(codes, uses)| (uses.load(Ordering::Relaxed) > 0).then_some(codes));
        let device = FromDevice { codes: needed.map(Mutex::new).collect(), errors: quantised.errors };
        match self.ready(quantised.scales, Some(device)) {
            Some(ready) => self.await_no_longer(State::Ready(Arc::new(ready))),
            None => {
                self.abandon();
                false
            }
        }
    }

    /// No device will bring it: the CPU has to do it.
    pub(super) fn leave_to_cpu(&self) {
        self.await_no_longer(State::Measuring);
    }

    /// No device will bring it, and the pass fails because of that.
    pub(super) fn abandon(&self) {
        self.await_no_longer(State::Failed);
    }

    fn await_no_longer(&self, next: State) -> bool {
        let mut state = self.lock();
        let awaited = matches!(*state, State::Awaited);
        if awaited {
            *state = next;
            self.settled.notify_all();
        }
        awaited
    }

    /// The scales. The caller waits for a device that will bring them. Without one, it measures chunks that nobody has taken
    /// yet, then waits for those that others are measuring; since measuring never waits for anything, neither does this for
    /// long. Nothing when the group cannot be quantised: the first caller to take it gets the reason from
    /// [`GroupState::take_failure`].
    pub(super) fn scales(&self, sources: Option<&SourceHashes>) -> Option<Arc<Ready>> {
        drop(self.wait_while(|state| matches!(state, State::Awaited)));
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
        match &*self.wait_while(|state| matches!(state, State::Measuring)) {
            State::Ready(ready) => Some(Arc::clone(ready)),
            State::Awaited | State::Measuring | State::Failed | State::Released => None,
        }
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.settled.wait_while(self.lock(), |state| condition(state));
        state.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Says that the codes of weight `member` were used once. Gives the bytes of codes that nobody needs any more.
    pub(super) fn release_codes(&self, member: usize) -> usize {
        if self.code_uses[member].fetch_sub(1, Ordering::AcqRel) > 1 {
            return 0;
        }
        let codes = match &*self.lock() {
            State::Ready(ready) => {
                ready.device.as_ref().and_then(|device| lock(device.codes.get(member)?).take())
            }
            _ => None,
        };
        codes.map_or(0, |codes| codes.bytes().len())
    }

    /// Says that the scales were used once; after the last time they are given up, so that memory does not grow with the
    /// number of groups.
    pub(super) fn release(&self) {
        if self.uses.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.lock() = State::Released;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Why the group cannot be quantised; nothing when somebody took the reason before.
    pub(super) fn take_failure(&self) -> Option<Error> {
        let mut failure = lock(&self.failure);
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
        let (first, values) = match (self.group.encoding.granularity, weight.shape()) {
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
        if lock(&self.failure).is_some() {
            return None;
        }
        let group = &self.group;
        let values = self.amax.iter().map(|bits| f32::from_bits(bits.load(Ordering::Relaxed))).collect();
        let amax = Amax { granularity: group.encoding.granularity, shape: self.shape.clone(), values };
        self.ready(Scales::from_amax(&amax, group.encoding.rule), None)
    }

    fn ready(&self, scales: Scales, device: Option<FromDevice>) -> Option<Ready> {
        let group = &self.group;
        let encoders = group.weights.iter().map(|(_, weight)| {
            let row = weight.shape().last().copied().unwrap_or(1);
            Encoder::new(weight.dtype(), group.encoding.rounding, &scales, row)
        });
        match encoders.collect::<Result<Vec<_>>>() {
            Ok(encoders) => Some(Ready { scales, encoders, device }),
            Err(error) => {
                self.fail(0, error);
                None
            }
        }
    }

    fn fail(&self, number: usize, error: Error) {
        let mut failure = lock(&self.failure);
        if failure.as_ref().is_none_or(|(first, _)| number < *first) {
            *failure = Some((number, error));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What is measured at a time. Where scales belong to rows or blocks, a chunk is made of whole rows of them, so that each
/// can be measured as a tensor of its own. An empty weight still needs one chunk, for its group to become ready.
fn chunks(group: &ScaleGroup) -> Vec<(usize, Range<usize>)> {
    let weights = group.weights.iter().enumerate();
    let of_weight = weights.flat_map(|(index, (_, weight))| {
        let unit = match (group.encoding.granularity, weight.shape()) {
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
