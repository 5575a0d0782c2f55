//! What every recipe group costs in BF16 and in FP8: by ModelOpt's cost model and in bytes, from headers or from a manifest
//! alone.

use std::collections::{HashMap, HashSet};

use super::scheme::{Place, locate};
use super::{Layout, Plan, planned_tensors};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::manifest::{Group, Manifest};
use crate::words::words;

/// Why a group that only a manifest describes stays in BF16.
const HEAD: &str = "lm_head stays in BF16: loaders disagree on a quantised output head";
const NOT_LINEAR: &str = "not among the manifest's linear layers: no exporter packs a convolution to FP8";

words! {
    /// What the bytes of a [`CostModel`] were taken from.
    pub enum BytesFrom: "source of sizes" {
        /// The headers of the base checkpoint and the planned tensors: exact, and everything is counted.
        Checkpoint = "checkpoint",
        /// The manifest's costs, two bytes for each weight of 16 bits: only its groups are counted, without scales.
        Manifest = "manifest",
    }
}

/// One format of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// The sensitivity score.
    pub score: f64,
    /// ModelOpt's cost, in weights of 16 bits: parameters × effective bits / 16.
    pub weights: f64,
    /// Bytes of the weights and their scales.
    pub bytes: u64,
}

/// A recipe group in both formats.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupCost {
    /// As in the base checkpoint.
    pub unquantised: Cost,
    /// With every linear layer of the group in FP8; the same as `unquantised` for a group that stays as it is.
    pub fp8: Cost,
    /// The weights of all members.
    pub parameters: u64,
    /// The weights that FP8 is for: 0 for a group that stays as it is.
    pub fp8_parameters: u64,
    /// The linear layers that FP8 is for.
    pub fp8_layers: usize,
    /// Why a candidate stays in BF16 even when it is selected.
    pub kept: Option<&'static str>,
}

/// The costs of all groups of a manifest.
#[derive(Debug, Clone)]
pub struct CostModel {
    groups: Vec<GroupCost>,
    by_name: HashMap<String, usize>,
    total_weights: f64,
    base_bytes: u64,
    elements: Option<u64>,
}

/// What a selection amounts to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Linear layers in FP8.
    pub fp8_layers: usize,
    /// Weights in FP8.
    pub fp8_parameters: u64,
    /// Weights of all groups of the manifest.
    pub parameters: u64,
    /// Selected groups that stay in BF16.
    pub kept: usize,
    /// Sum of all tensor bytes.
    pub bytes: u64,
    /// What the bytes were taken from.
    pub bytes_from: BytesFrom,
    /// 16 × Σ cost / Σ cost unquantised over all groups of the manifest, as ModelOpt has it; `None` when a cost is no number.
    pub effective_bits: Option<f64>,
    /// Bits for each element of the checkpoint, scales and what is never quantised included; `None` without a checkpoint.
    pub bits_on_disk: Option<f64>,
    /// The summed score of the groups that go to FP8; `None` when one is not finite.
    pub score: Option<f64>,
}

impl CostModel {
    /// The costs on disk of the groups of `manifest` in `checkpoint`, laid out as `layout` says.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] when a candidate's member is no linear layer or has a dtype without an FP8 form.
    pub fn of_checkpoint(manifest: &Manifest, checkpoint: &Checkpoint, layout: &Layout) -> Result<Self> {
        let mut places = HashMap::new();
        let mut all = Plan { fp8: Default::default(), kept: Vec::new() };
        for group in manifest.groups().iter().filter(|g| g.is_candidate()) {
            for member in &group.members {
                let place = locate(checkpoint, member)?;
                if let Place::Linear(module) = place {
                    all.fp8.insert(module.to_string());
                }
                places.insert(member.as_str(), place);
            }
        }
        let mut fp8_bytes = HashMap::<String, u64>::new();
        for tensor in planned_tensors(checkpoint, &all, layout) {
            if let Some(module) = tensor.role.module() {
                *fp8_bytes.entry(module.to_string()).or_default() += tensor.spec.bytes();
            }
        }
        let weight = |member: &str| {
            let module = checkpoint.modules().on_disk(member)?;
            checkpoint.tensor(&format!("{module}.weight"))
        };
        let cost = |group: &Group| {
            let mut cost = GroupCost::of(group);
            let weights = || group.members.iter().filter_map(|member| weight(member));
            cost.unquantised.bytes = weights().map(|t| t.bytes().len() as u64).sum();
            cost.fp8.bytes = cost.unquantised.bytes;
            cost.parameters = weights().map(|t| t.elements() as u64).sum();
            (cost.fp8_layers, cost.fp8_parameters) = (0, 0);
            for member in &group.members {
                match (places.get(member.as_str()), weight(member)) {
                    (Some(Place::Linear(module)), Some(tensor)) => {
                        cost.fp8_layers += 1;
                        cost.fp8_parameters += tensor.elements() as u64;
                        cost.fp8.bytes += fp8_bytes[*module];
                        cost.fp8.bytes -= tensor.bytes().len() as u64;
                    }
                    (Some(Place::Kept(reason)), _) => cost.kept = Some(reason),
                    _ => {}
                }
            }
            cost.settled()
        };
        let mut costs = Self::new(manifest, cost);
        costs.base_bytes = checkpoint.tensors().map(|(_, t)| t.bytes().len() as u64).sum();
        costs.elements = Some(checkpoint.tensors().map(|(_, t)| t.elements() as u64).sum());
        Ok(costs)
    }

    /// The costs of the groups of `manifest` as it states them.
    pub fn of_manifest(manifest: &Manifest) -> Self {
        let layers: HashSet<&str> = manifest.layers().iter().map(String::as_str).collect();
        let cost = |group: &Group| {
            let mut cost = GroupCost::of(group);
            if group.members.iter().all(|m| m == "lm_head" || m.ends_with(".lm_head")) {
                cost.kept = Some(HEAD);
            } else if !layers.is_empty() && !group.members.iter().any(|m| layers.contains(m.as_str())) {
                cost.kept = Some(NOT_LINEAR);
            }
            if cost.kept.is_some() {
                (cost.fp8_layers, cost.fp8_parameters) = (0, 0);
            }
            cost.settled()
        };
        let mut costs = Self::new(manifest, cost);
        costs.base_bytes = costs.groups.iter().map(|g| g.unquantised.bytes).sum();
        costs
    }

    fn new(manifest: &Manifest, cost: impl Fn(&Group) -> GroupCost) -> Self {
        let groups: Vec<GroupCost> = manifest.groups().iter().map(cost).collect();
        CostModel {
            by_name: manifest.groups().iter().enumerate().map(|(at, g)| (g.name.clone(), at)).collect(),
            total_weights: groups.iter().map(|g| g.unquantised.weights).sum(),
            groups,
            base_bytes: 0,
            elements: None,
        }
    }

    /// What the bytes were taken from.
    pub fn bytes_from(&self) -> BytesFrom {
        if self.elements.is_some() { BytesFrom::Checkpoint } else { BytesFrom::Manifest }
    }

    /// The costs of the group called `name`.
    pub fn group(&self, name: &str) -> Option<&GroupCost> {
        self.by_name.get(name).map(|&at| &self.groups[at])
    }

    /// The summed ModelOpt cost of all groups unquantised, in weights of 16 bits.
    pub fn total_weights(&self) -> f64 {
        self.total_weights
    }

    /// Sum of all tensor bytes with nothing in FP8.
    pub fn base_bytes(&self) -> u64 {
        self.base_bytes
    }

    /// The effective bits of a summed ModelOpt cost.
    pub fn effective_bits(&self, weights: f64) -> f64 {
        16.0 * weights / self.total_weights
    }

    /// What the scheme that selects `groups` amounts to. Groups of another manifest are not counted.
    pub fn figures<'a>(&self, groups: impl IntoIterator<Item = &'a Group>) -> Figures {
        let mut selected = vec![false; self.groups.len()];
        for group in groups {
            if let Some(&at) = self.by_name.get(&group.name) {
                selected[at] = true;
            }
        }
        let mut figures = Figures {
            fp8_layers: 0,
            fp8_parameters: 0,
            parameters: self.groups.iter().map(|g| g.parameters).sum(),
            kept: 0,
            bytes: self.base_bytes,
            bytes_from: self.bytes_from(),
            effective_bits: None,
            bits_on_disk: None,
            score: None,
        };
        let (mut weights, mut score) = (0.0, 0.0);
        for (group, selected) in self.groups.iter().zip(selected) {
            weights += if selected { group.fp8.weights } else { group.unquantised.weights };
            if !selected {
                continue;
            }
            figures.kept += usize::from(group.kept.is_some());
            figures.fp8_layers += group.fp8_layers;
            figures.fp8_parameters += group.fp8_parameters;
            figures.bytes += group.fp8.bytes;
            figures.bytes -= group.unquantised.bytes;
            score += if group.fp8_layers > 0 { group.fp8.score } else { 0.0 };
        }
        figures.effective_bits = Some(self.effective_bits(weights)).filter(|bits| bits.is_finite());
        figures.bits_on_disk = self.elements.map(|elements| 8.0 * figures.bytes as f64 / elements as f64);
        figures.score = Some(score).filter(|score| score.is_finite());
        figures
    }
}

impl GroupCost {
    /// As the manifest states it.
    fn of(group: &Group) -> Self {
        let parameters = group.parameters();
        let none = group.formats.iter().position(|f| f.is_none()).and_then(|at| group.option(at));
        let unquantised = none.map_or(parameters.map_or(f64::NAN, |p| p as f64), |none| none.cost);
        let cost = |score: f64, weights: f64| Cost { score, weights, bytes: (2.0 * weights).round() as u64 };
        let unquantised = cost(none.map_or(0.0, |none| none.score), unquantised);
        let mut fp8 = group.candidate().map_or(unquantised, |c| cost(c.score, c.cost));
        if !group.score.is_finite() {
            fp8.score = group.score;
        }
        let is_candidate = group.is_candidate();
        GroupCost {
            unquantised,
            fp8,
            parameters: parameters.unwrap_or(0),
            fp8_parameters: if is_candidate { parameters.unwrap_or(0) } else { 0 },
            fp8_layers: if is_candidate { group.members.len() } else { 0 },
            kept: None,
        }
    }

    /// A group without any layer for FP8 costs the same either way.
    fn settled(mut self) -> Self {
        if self.fp8_layers == 0 {
            self.fp8 = self.unquantised;
        }
        self
    }
}
