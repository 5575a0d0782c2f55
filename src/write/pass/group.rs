//! One scale group while a pass runs: measured by whoever needs it first with the help of whoever comes next, and what it
//! needs for its codes then, or codes that a device brought.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::super::content::ScaleGroup;
use super::super::source_hashes::SourceHashes;
use super::reading::read;
use crate::error::{Error, Result};
use crate::format::measure::{GroupAmax, GroupEncoder, Span};
use crate::format::require_finite;
use crate::format::{QuantisationError, QuantisedGroup, Scales, WeightGroup};
use crate::interrupt;
use crate::tensor::Tensor;

/// What the codes of a group need.
pub(super) struct Ready {
    /// Makes codes under the scales that go to disk.
    pub encoder: GroupEncoder,
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

    /// Drops the codes of weight `member` that a device made, and gives their bytes.
    fn drop_codes(&self, member: usize) -> usize {
        let codes = self.device.as_ref().and_then(|device| lock(device.codes.get(member)?).take());
        codes.map_or(0, |codes| codes.bytes().len())
    }
}

/// A scale group, how far it is measured, and what it is still needed for.
pub(super) struct PassGroup {
    /// On-disk names of the weights.
    names: Vec<String>,
    weights: WeightGroup,
    amax: GroupAmax,
    /// The first span that nobody has taken.
    next: AtomicUsize,
    finished: AtomicUsize,
    /// The failure of the first span, in order, that failed.
    failure: Mutex<Option<(usize, Error)>>,
    /// How often the scales will still be asked for.
    uses: AtomicUsize,
    /// How often the codes of each weight will still be asked for.
    code_uses: Vec<AtomicUsize>,
}

impl PassGroup {
    /// The scales will be asked for `uses` times, for codes of each weight `code_uses` times.
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`].
    pub fn new(group: &ScaleGroup, uses: usize, code_uses: Vec<usize>) -> Result<Self> {
        let weights = group.weight_group();
        Ok(PassGroup {
            names: group.weights.iter().map(|(name, _)| name.clone()).collect(),
            amax: GroupAmax::new(&weights)?,
            weights,
            next: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            failure: Mutex::new(None),
            uses: AtomicUsize::new(uses),
            code_uses: code_uses.into_iter().map(AtomicUsize::new).collect(),
        })
    }

    /// The weights.
    pub fn weights(&self) -> &WeightGroup {
        &self.weights
    }

    /// Measures spans that nobody has taken yet; this waits for nothing. Who measured the last one of all gets the outcome:
    /// nothing in it when the group cannot be quantised, for a reason that [`PassGroup::take_failure`] has.
    pub fn measure(&self, sources: Option<&SourceHashes>) -> Option<Option<Ready>> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let span = self.amax.spans().get(number)?;
            let measured = interrupt::check().and_then(|()| self.measure_span(span, sources));
            if let Err(error) = measured {
                self.fail(number, error);
            }
            if self.finished.fetch_add(1, Ordering::AcqRel) + 1 == self.amax.spans().len() {
                return Some(self.outcome());
            }
        }
    }

    fn measure_span(&self, span: &Span, sources: Option<&SourceHashes>) -> Result<()> {
        let weight = &self.weights.weights[span.member];
        read(weight, span.bytes(weight), sources);
        let largest = self.amax.measure(weight, span)?;
        require_finite(&self.names[span.member], largest, ", which have no FP8 form")
    }

    fn outcome(&self) -> Option<Ready> {
        if lock(&self.failure).is_some() {
            return None;
        }
        let scales = Scales::from_amax(&self.amax.finish(), self.weights.encoding.rule);
        match GroupEncoder::new(&self.weights, scales) {
            Ok(encoder) => Some(Ready { encoder, device: None }),
            Err(error) => {
                self.fail(0, error);
                None
            }
        }
    }

    /// What a device made, if it can be used. When weights are not finite the CPU finds out which.
    pub fn accept(&self, quantised: QuantisedGroup) -> Option<Ready> {
        if !quantised.is_finite() {
            return None;
        }
        let encoder = GroupEncoder::new(&self.weights, quantised.scales).ok()?;
        let codes = quantised.codes.into_iter().zip(&self.code_uses);
        let needed = codes.map(|(codes, uses)| (uses.load(Ordering::Relaxed) > 0).then_some(codes));
        let codes = needed.map(Mutex::new).collect();
        Some(Ready { encoder, device: Some(FromDevice { codes, errors: quantised.errors }) })
    }

    /// The codes of weight `member` were used once. Gives the bytes of codes that nobody needs any more.
    pub fn release_codes(&self, member: usize, ready: &Ready) -> usize {
        let last = self.code_uses[member].fetch_sub(1, Ordering::AcqRel) == 1;
        if last { ready.drop_codes(member) } else { 0 }
    }

    /// The scales were used once; says whether that was the last time.
    pub fn release(&self) -> bool {
        self.uses.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Why the group cannot be quantised; nothing when somebody took the reason before.
    pub fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take().map(|(_, error)| error)
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
