//! Many groups through a device that takes a batch at a time: reading, copying and computing overlap, in bounded memory,
//! and with less at a time where the device's memory does not suffice.
//!
//! The device is behind a trait, so that all of this is tested without a GPU.

use std::sync::mpsc::sync_channel;

use crate::format::{QuantisedGroup, Wanted, WeightGroup};
use crate::{Error, Result, interrupt};

/// Bytes of weights in a batch, unless one group is larger.
const BATCH_BYTES: usize = 128 << 20;
/// Batches that are under way at the same time on each device.
const LANES: usize = 3;

/// One or more devices that share the work.
pub(crate) trait Accelerator: Sync {
    /// How many devices there are.
    fn devices(&self) -> usize;
    /// A lane of its own through the device of this number.
    fn lane(&self, device: usize) -> Result<Box<dyn BatchLane>>;
    /// Whether the CPU must not take over when memory runs out.
    fn is_required(&self) -> bool;
}

/// Takes one batch at a time through a device.
pub(crate) trait BatchLane: Send {
    /// Starts a batch. `touch` sees all bytes of the weights, in parts and from many threads, right before they are copied.
    fn submit(
        &mut self,
        groups: Vec<WeightGroup>,
        wanted: Wanted,
        touch: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<()>;
    /// Waits for the batch; the results own their memory, so the lane is free again.
    fn wait(&mut self) -> Result<Vec<QuantisedGroup>>;
}

/// Groups to be quantised, each known by a number, and where the results go. Called from two threads at a time: one that
/// asks for groups and one that hands in results.
pub(crate) trait Work: Sync {
    /// The next groups, together at most `bytes` unless one is larger; may wait for them. Nothing when all were given out.
    fn next(&self, bytes: usize) -> Option<Vec<usize>>;
    /// The group of this number.
    fn group(&self, number: usize) -> WeightGroup;
    /// Sees the bytes of the groups while they are in the cache, in parts and from many threads.
    fn touch(&self, _bytes: &[u8]) {}
    /// Takes a result.
    fn finish(&self, number: usize, quantised: QuantisedGroup);
    /// Lets [`next`](Work::next) wait no longer, but give nothing, until [`again`](Work::again).
    fn halt(&self) {}
    /// What was given out and has no result yet will be asked for again.
    fn again(&self);
}

/// How much a device gets at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Load {
    /// Bytes of a batch; 0 stands for single groups.
    batch_bytes: usize,
    /// Batches that are under way on each device.
    lanes: usize,
}

impl Load {
    /// What to try when this was too much: smaller batches down to single groups, then fewer lanes. The rule is here alone.
    fn less(self) -> Option<Load> {
        match self {
            Load { batch_bytes: 0, lanes: 0 | 1 } => None,
            Load { batch_bytes: 0, lanes } => Some(Load { lanes: lanes - 1, ..self }),
            Load { batch_bytes, .. } if batch_bytes <= 8 << 20 => Some(Load { batch_bytes: 0, ..self }),
            Load { batch_bytes, .. } => Some(Load { batch_bytes: batch_bytes / 4, ..self }),
        }
    }
}

/// Takes all of `work` through the lanes of `accelerator`; batches of about equal bytes go to whichever lane is free, so
/// several devices share the work. When memory runs out, goes on with less at a time.
///
/// Gives the reason when memory ran out even for one group at a time and the CPU may do the rest: what has no result yet.
///
/// # Errors
/// That reason, when it may not; every other failure of a lane; [`Error::Interrupted`].
pub(crate) fn quantise_all(
    accelerator: &dyn Accelerator,
    work: &dyn Work,
    wanted: Wanted,
) -> Result<Option<Error>> {
    let mut load = Load { batch_bytes: BATCH_BYTES, lanes: LANES };
    loop {
        match quantise_with(accelerator, load, work, wanted) {
            Ok(()) => return Ok(None),
            Err(error @ Error::Device { bytes: Some(_), .. }) => match load.less() {
                Some(less) => {
                    work.again();
                    load = less;
                }
                None if accelerator.is_required() => return Err(error),
                None => return Ok(Some(error)),
            },
            Err(error) => return Err(error),
        }
    }
}

/// A lane that is opened when it is first used.
struct Unopened {
    device: usize,
    lane: Option<Box<dyn BatchLane>>,
}

fn quantise_with(accelerator: &dyn Accelerator, load: Load, work: &dyn Work, wanted: Wanted) -> Result<()> {
    let devices = accelerator.devices();
    let lanes = (0..devices * load.lanes).map(|n| Unopened { device: n % devices, lane: None }).collect();
    let batches = std::iter::from_fn(|| work.next(load.batch_bytes));
    let submit = |to: &mut Unopened, numbers: &Vec<usize>| {
        let lane = match &mut to.lane {
            Some(lane) => lane,
            None => to.lane.insert(accelerator.lane(to.device)?),
        };
        let groups = numbers.iter().map(|&number| work.group(number)).collect();
        lane.submit(groups, wanted, &|bytes| work.touch(bytes))
    };
    let take = |from: &mut Unopened, numbers: Vec<usize>| {
        let Some(lane) = &mut from.lane else { return Ok(()) };
        // The other thread may be waiting for more work, which nobody will take.
        let groups = lane.wait().inspect_err(|_| work.halt())?;
        numbers.into_iter().zip(groups).for_each(|(number, group)| work.finish(number, group));
        Ok(())
    };
    through_lanes(lanes, batches, submit, take)
}

/// Takes `batches` through `lanes`: a second thread gives each to whichever lane is free with `submit`, while this one
/// calls `take` for them in the same order.
///
/// # Errors
/// The first of `submit` and `take`, and [`Error::Interrupted`]; what was on its way then is dropped.
pub(super) fn through_lanes<L: Send, B: Send>(
    lanes: Vec<L>,
    batches: impl IntoIterator<Item = B, IntoIter: Send>,
    submit: impl Fn(&mut L, &B) -> Result<()> + Send,
    mut take: impl FnMut(&mut L, B) -> Result<()>,
) -> Result<()> {
    let (give_back, free) = sync_channel(lanes.len());
    let (submitted, busy) = sync_channel::<Result<(L, B)>>(lanes.len() + 1);
    for lane in lanes {
        // There is room for all lanes, and `free` is alive.
        let _ = give_back.send(lane);
    }
    let mut batches = batches.into_iter();
    // Moved, so that leaving early drops both ends: the other thread must not wait for lanes that never come back.
    std::thread::scope(move |scope| {
        scope.spawn(move || {
            while let Ok(mut lane) = free.recv() {
                let Some(batch) = batches.next() else { return };
                let result = interrupt::check().and_then(|()| submit(&mut lane, &batch));
                let failed = result.is_err();
                if submitted.send(result.map(|()| (lane, batch))).is_err() || failed {
                    return;
                }
            }
        });
        for next in busy {
            let (mut lane, batch) = next?;
            take(&mut lane, batch)?;
            // The other side may have no batch left.
            let _ = give_back.send(lane);
        }
        Ok(())
    })
}

/// The groups of a list, in order, and their results.
pub(super) struct InOrder<'a> {
    groups: &'a [WeightGroup],
    state: std::sync::Mutex<(usize, Vec<Option<QuantisedGroup>>)>,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(groups: &'a [WeightGroup]) -> Self {
        InOrder { groups, state: std::sync::Mutex::new((0, vec![None; groups.len()])) }
    }

    /// One for each group; nothing where none was handed in.
    pub(super) fn into_results(self) -> Vec<Option<QuantisedGroup>> {
        self.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).1
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (usize, Vec<Option<QuantisedGroup>>)> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Work for InOrder<'_> {
    fn next(&self, bytes: usize) -> Option<Vec<usize>> {
        let mut state = self.lock();
        let (first, mut filled) = (state.0, 0usize);
        while let Some(group) = self.groups.get(state.0)
            && (state.0 == first || filled + group.bytes() <= bytes)
        {
            filled += group.bytes();
            state.0 += 1;
        }
        (state.0 > first).then(|| (first..state.0).collect())
    }

    fn group(&self, number: usize) -> WeightGroup {
        self.groups[number].clone()
    }

    fn finish(&self, number: usize, quantised: QuantisedGroup) {
        self.lock().1[number] = Some(quantised);
    }

    fn again(&self) {
        let mut state = self.lock();
        // Results come in order.
        state.0 = state.1.iter().take_while(|result| result.is_some()).count();
    }
}

#[cfg(test)]
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;
