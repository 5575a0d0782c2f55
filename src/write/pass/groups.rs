//! The scale groups of a pass: found by identity, with what they are needed for, and quantised by a device where there is
//! one.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::content::{Content, Member, ScaleGroup};
use super::super::source_hashes::SourceHashes;
use super::feed::{Feed, Size};
use super::group::{GroupState, Ready};
use super::target::Target;
use super::{Order, Stop, first_numbers};
use crate::device::accelerator::{Accelerator, Work, quantise_all};
use crate::error::{Error, Result};
use crate::format::{QuantisedGroup, Wanted, WeightGroup};

/// Bytes of a weight that the system is asked for at a time; it reads no more than a few megabytes ahead for one request.
const REQUEST: usize = 1 << 20;

/// How far a device may get ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of codes that are made ahead.
    pub window: usize,
    /// Bytes of weights beyond which a group is the CPU's, which quantises it in small parts: a device would need room for
    /// all of it at once.
    pub largest: usize,
}

/// The scale groups of a pass.
pub(super) struct Groups {
    /// In the order of their first use.
    states: Vec<GroupState>,
    /// For each state, the number of the first block that needs its scales.
    first_blocks: Vec<usize>,
    /// By address: groups are shared, not compared.
    index: HashMap<usize, usize>,
    /// Where a device quantises.
    feed: Option<Feed>,
}

/// What is known of a group while they are collected.
struct Found {
    group: Arc<ScaleGroup>,
    first_block: usize,
    /// When it is expected to be needed.
    first_need: usize,
    uses: usize,
    code_uses: Vec<usize>,
}

impl Groups {
    /// All groups of `targets`. With `limits`, a device quantises them for `threads` makers.
    pub fn collect(targets: &[Target], threads: usize, limits: Option<Limits>) -> Self {
        let mut found: Vec<Found> = Vec::new();
        let mut index = HashMap::new();
        let starts = expected_starts(targets, threads);
        for ((target, first_number), start) in targets.iter().zip(first_numbers(targets)).zip(starts) {
            for (position, block) in target.order().iter().enumerate() {
                for entry in target.entries_of(*block) {
                    let tensor = &target.tensors()[entry];
                    if let Content::Codes(member) | Content::WeightScale(member) = &tensor.content
                        && tensor.spec.bytes() > 0
                    {
                        let at = *index.entry(Arc::as_ptr(&member.group).addr()).or_insert(found.len());
                        if at == found.len() {
                            found.push(Found {
                                group: member.group.clone(),
                                first_block: first_number + position,
                                first_need: usize::MAX,
                                uses: 0,
                                code_uses: vec![0; member.group.weights.len()],
                            });
                        }
                        let found = &mut found[at];
                        found.uses += 1;
                        found.first_need = found.first_need.min(start + position);
                        if matches!(tensor.content, Content::Codes(_)) {
                            found.code_uses[member.index] += 1;
                        }
                    }
                }
            }
        }
        let first_blocks = found.iter().map(|found| found.first_block).collect();
        let feed = limits.map(|limits| feed(&found, limits));
        let on_device = |at: usize| feed.as_ref().is_some_and(|feed| feed.is_waiting(at));
        let states = found.into_iter().enumerate();
        let states = states
            .map(|(at, found)| GroupState::new(found.group, found.uses, found.code_uses, on_device(at)))
            .collect();
        Groups { states, first_blocks, index, feed }
    }

    /// The scales of `group`, measured by this call if need be.
    pub fn scales(
        &self,
        group: &Arc<ScaleGroup>,
        sources: Option<&SourceHashes>,
    ) -> Result<Arc<Ready>, Stop> {
        let at = self.at(group);
        let state = &self.states[at];
        if let Some(feed) = &self.feed
            && state.is_awaited()
            && !feed.demand(at)
        {
            state.leave_to_cpu();
        }
        // Whichever block comes first, the failure counts as that of the group's first one.
        let failure = || Stop::Group(state.take_failure().map(|error| (self.order(at), error)));
        state.scales(sources).ok_or_else(failure)
    }

    /// One use of the scales of `group` is over.
    pub fn release(&self, group: &Arc<ScaleGroup>) {
        self.states[self.at(group)].release();
    }

    /// One use of the codes of `member` is over, and of the scales.
    pub fn release_codes(&self, member: &Member) {
        let freed = self.states[self.at(&member.group)].release_codes(member.index);
        if let Some(feed) = &self.feed
            && freed > 0
        {
            feed.freed(freed);
        }
        self.release(&member.group);
    }

    /// Quantises on `accelerator` until all groups are there or [`Groups::end`] is called. Gives the reason when memory ran
    /// out and the rest was left to the CPU.
    ///
    /// # Errors
    /// A failure of the device, with what cannot be made because of it first of all. Makers that wait for groups wait no
    /// longer.
    pub fn quantise(
        &self,
        accelerator: &dyn Accelerator,
        sources: Option<&SourceHashes>,
        errors: bool,
    ) -> Result<Option<Error>, (Order, Error)> {
        let Some(feed) = &self.feed else { return Ok(None) };
        // Even a panic must not leave anybody waiting.
        let _abandon = OnDrop(|| feed.give_up().into_iter().for_each(|at| self.states[at].abandon()));
        let work = Feeding { groups: self, feed, sources };
        match quantise_all(accelerator, &work, Wanted { codes: true, error: errors }) {
            Ok(reason) => {
                if reason.is_some() {
                    feed.give_up().into_iter().for_each(|at| self.states[at].leave_to_cpu());
                }
                Ok(reason)
            }
            Err(error) => {
                let lost = feed.give_up();
                lost.iter().for_each(|&at| self.states[at].abandon());
                // Where nothing is lost, nobody needs to know.
                match lost.into_iter().map(|at| self.order(at)).min() {
                    Some(first) => Err((first, error)),
                    None => Ok(None),
                }
            }
        }
    }

    /// Nobody needs any group any more.
    pub fn end(&self) {
        if let Some(feed) = &self.feed {
            feed.end();
        }
    }

    /// Where a failure of the group counts.
    fn order(&self, at: usize) -> Order {
        (self.first_blocks[at], at + 1)
    }

    fn at(&self, group: &Arc<ScaleGroup>) -> usize {
        self.index[&Arc::as_ptr(group).addr()]
    }
}

/// The blocks that are expected to be made before each target is begun, if `threads` makers are equally fast.
fn expected_starts(targets: &[Target], threads: usize) -> Vec<usize> {
    let mut made = vec![0; threads.max(1)];
    targets
        .iter()
        .map(|target| {
            let first_free = made.iter_mut().min_by_key(|blocks| **blocks);
            first_free.map_or(0, |blocks| {
                let start = *blocks;
                *blocks += target.order().len();
                start
            })
        })
        .collect()
}

/// The order in which a device quantises `found`, without those that are the CPU's.
fn feed(found: &[Found], limits: Limits) -> Feed {
    let size = |found: &Found| {
        let weights = found.group.weights.iter().map(|(_, weight)| weight);
        let codes = weights.clone().zip(&found.code_uses);
        Size {
            source: weights.map(|weight| weight.bytes().len()).sum(),
            codes: codes.filter(|(_, uses)| **uses > 0).map(|(weight, _)| weight.elements()).sum(),
        }
    };
    let sizes: Vec<Size> = found.iter().map(size).collect();
    let for_device = |at: &usize| {
        let Size { source, codes } = sizes[*at];
        codes > 0 && source <= limits.largest && weight_group(&found[*at].group).scale_shape().is_ok()
    };
    let mut order: Vec<usize> = (0..found.len()).filter(for_device).collect();
    order.sort_by_key(|&at| (found[at].first_need, at));
    Feed::new(sizes, order, limits.window)
}

fn weight_group(group: &ScaleGroup) -> WeightGroup {
    WeightGroup {
        weights: group.weights.iter().map(|(_, weight)| weight.clone()).collect(),
        encoding: group.encoding,
        scales: None,
    }
}

/// The groups as work for a device.
struct Feeding<'a> {
    groups: &'a Groups,
    feed: &'a Feed,
    sources: Option<&'a SourceHashes<'a>>,
}

impl Work for Feeding<'_> {
    fn next(&self, bytes: usize) -> Option<Vec<usize>> {
        let batch = self.feed.next(bytes)?;
        let ahead = self.feed.ahead(bytes);
        for weight in batch.iter().chain(&ahead).flat_map(|&at| &self.groups.states[at].group().weights) {
            let length = weight.1.bytes().len();
            (0..length).step_by(REQUEST).for_each(|at| weight.1.will_need(at..at + REQUEST));
        }
        Some(batch)
    }

    fn group(&self, number: usize) -> WeightGroup {
        weight_group(self.groups.states[number].group())
    }

    fn touch(&self, bytes: &[u8]) {
        if let Some(sources) = self.sources {
            sources.cover(bytes);
        }
    }

    fn finish(&self, number: usize, quantised: QuantisedGroup) {
        let usable = self.groups.states[number].deliver(quantised);
        self.feed.delivered(number, usable);
    }

    fn halt(&self) {
        self.feed.halt();
    }

    fn again(&self) {
        self.feed.again();
    }
}

/// Does something when it goes out of scope, whatever the reason.
pub(super) struct OnDrop<F: Fn()>(pub F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
