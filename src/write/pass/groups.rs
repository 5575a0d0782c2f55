//! The scale groups of a pass: found by identity, with what they are needed for, and quantised by a device where there is
//! one.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::content::{Content, Member, ScaleGroup};
use super::super::source_hashes::SourceHashes;
use super::block_failure::{BlockFailure, FailureOrder};
use super::group::{PassGroup, Ready};
use super::group_queue::{GroupSize, Lost};
use super::output_file::{OutputFile, first_numbers};
use super::stages::Stages;
use crate::device::accelerator::{Accelerator, Work, quantise_all};
use crate::error::{Error, Result};
use crate::format::{QuantisedGroup, Wanted, WeightGroup};

/// Bytes of a weight that the system is asked for at a time; it reads no more than a few megabytes ahead for one request.
const REQUEST: usize = 1 << 20;

/// How far a device may get ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceLimits {
    /// Bytes of codes that are made ahead.
    pub window: usize,
    /// Bytes of weights beyond which a group is the CPU's, which quantises it in small parts: a device would need room for
    /// all of it at once.
    pub largest: usize,
}

/// The scale groups of a pass.
pub(super) struct Groups {
    /// In the order of their first use.
    groups: Vec<PassGroup>,
    /// How far each is.
    stages: Stages<Ready>,
    /// For each group, the number of the first block that needs its scales.
    first_blocks: Vec<usize>,
    /// By address: groups are shared, not compared.
    index: HashMap<usize, usize>,
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
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`].
    pub fn collect(targets: &[OutputFile], threads: usize, limits: Option<DeviceLimits>) -> Result<Self> {
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
        let sizes: Vec<GroupSize> = found.iter().map(Found::size).collect();
        let order = limits.map_or(vec![], |limits| order_of_need(&found, &sizes, limits));
        let stages = Stages::new(sizes, order, limits.map_or(0, |limits| limits.window));
        let groups = found.into_iter().map(|f| PassGroup::new(&f.group, f.uses, f.code_uses));
        Ok(Groups { groups: groups.collect::<Result<_>>()?, stages, first_blocks, index })
    }

    /// What the codes of `group` need, measured by this call if need be.
    pub fn ready(
        &self,
        group: &Arc<ScaleGroup>,
        sources: Option<&SourceHashes>,
    ) -> Result<Arc<Ready>, BlockFailure> {
        let at = self.at(group);
        if self.stages.claim(at)
            && let Some(outcome) = self.groups[at].measure(sources)
        {
            self.stages.settle(at, outcome);
        }
        // Whichever block comes first, the failure counts as that of the group's first one.
        let failure =
            || BlockFailure::Group(self.groups[at].take_failure().map(|error| (self.order(at), error)));
        self.stages.get(at).ok_or_else(failure)
    }

    /// One use of the scales of `group` is over.
    pub fn release(&self, group: &Arc<ScaleGroup>) {
        let at = self.at(group);
        if self.groups[at].release() {
            self.stages.release(at);
        }
    }

    /// One use of the codes of `member` is over, and of the scales.
    pub fn release_codes(&self, member: &Member, ready: &Ready) {
        let freed = self.groups[self.at(&member.group)].release_codes(member.index, ready);
        self.stages.freed(freed);
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
    ) -> Result<Option<Error>, (FailureOrder, Error)> {
        // Even a panic must not leave anybody waiting.
        let _abandon = OnDrop(|| drop(self.stages.give_up(Lost::Failed)));
        let work = Feeding { groups: self, sources };
        match quantise_all(accelerator, &work, Wanted { codes: true, error: errors }) {
            Ok(reason) => {
                if reason.is_some() {
                    self.stages.give_up(Lost::ToCpu);
                }
                Ok(reason)
            }
            // Where nothing is lost, nobody needs to know.
            Err(error) => {
                match self.stages.give_up(Lost::Failed).into_iter().map(|at| self.order(at)).min() {
                    Some(first) => Err((first, error)),
                    None => Ok(None),
                }
            }
        }
    }

    /// Nobody needs any group any more.
    pub fn end(&self) {
        self.stages.end();
    }

    /// Where a failure of the group counts.
    fn order(&self, at: usize) -> FailureOrder {
        (self.first_blocks[at], at + 1)
    }

    fn at(&self, group: &Arc<ScaleGroup>) -> usize {
        self.index[&Arc::as_ptr(group).addr()]
    }
}

/// The blocks that are expected to be made before each target is begun, if `threads` makers are equally fast.
fn expected_starts(targets: &[OutputFile], threads: usize) -> Vec<usize> {
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

impl Found {
    fn size(&self) -> GroupSize {
        let weights = self.group.weights.iter().map(|(_, weight)| weight);
        let codes = weights.clone().zip(&self.code_uses);
        GroupSize {
            source: weights.map(|weight| weight.bytes().len()).sum(),
            codes: codes.filter(|(_, uses)| **uses > 0).map(|(weight, _)| weight.elements()).sum(),
        }
    }
}

/// The order in which a device quantises `found`, without those that are the CPU's.
fn order_of_need(found: &[Found], sizes: &[GroupSize], limits: DeviceLimits) -> Vec<usize> {
    let for_device = |at: &usize| sizes[*at].codes > 0 && sizes[*at].source <= limits.largest;
    let mut order: Vec<usize> = (0..found.len()).filter(for_device).collect();
    order.sort_by_key(|&at| (found[at].first_need, at));
    order
}

/// The groups as work for a device.
struct Feeding<'a> {
    groups: &'a Groups,
    sources: Option<&'a SourceHashes<'a>>,
}

impl Work for Feeding<'_> {
    fn next(&self, bytes: usize) -> Option<Vec<usize>> {
        let batch = self.groups.stages.next(bytes)?;
        let ahead = self.groups.stages.ahead(bytes);
        let weights = batch.iter().chain(&ahead).flat_map(|&at| &self.groups.groups[at].weights().weights);
        for weight in weights {
            (0..weight.bytes().len()).step_by(REQUEST).for_each(|at| weight.will_need(at..at + REQUEST));
        }
        Some(batch)
    }

    fn group(&self, number: usize) -> WeightGroup {
        self.groups.groups[number].weights().clone()
    }

    fn touch(&self, bytes: &[u8]) {
        if let Some(sources) = self.sources {
            sources.cover(bytes);
        }
    }

    fn finish(&self, number: usize, quantised: QuantisedGroup) {
        self.groups.stages.deliver(number, self.groups.groups[number].accept(quantised));
    }

    fn halt(&self) {
        self.groups.stages.halt();
    }

    fn again(&self) {
        self.groups.stages.again();
    }
}

/// Does something when it goes out of scope, whatever the reason.
pub(super) struct OnDrop<F: Fn()>(pub F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
