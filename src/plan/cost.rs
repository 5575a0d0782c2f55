//! What every recipe group costs in BF16 and in FP8: by ModelOpt's cost model and in bytes, from headers or from a manifest
//! alone.

use std::collections::HashMap;
use std::ops::Deref;

use super::{Layout, Located, LocatedGroup, module_tensors};
use crate::error::Result;
use crate::manifest::{Group, Manifest};
use crate::model::Model;
use crate::tensor::Tensor;
use crate::words::words;

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

/// A recipe group as it is and quantised.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupCost {
    /// As in the base checkpoint.
    pub unquantised: Cost,
    /// With every quantisable module of the group in the format that is written; the same as `unquantised` for a group
    /// that stays as it is.
    pub quantised: Cost,
    /// The weights of all members.
    pub parameters: u64,
    /// The weights that can be quantised: 0 for a group that stays as it is.
    pub quantisable_parameters: u64,
    /// The modules that can be quantised.
    pub quantisable_layers: usize,
    /// Why a candidate stays as it is even when it is selected.
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
    /// Modules that are quantised.
    pub quantised_layers: usize,
    /// Weights that are quantised.
    pub quantised_parameters: u64,
    /// Weights of all groups of the manifest.
    pub parameters: u64,
    /// Selected groups that stay as they are, or a part of which does.
    pub kept: usize,
    /// Sum of all tensor bytes.
    pub bytes: u64,
    /// What the bytes were taken from.
    pub bytes_from: BytesFrom,
    /// 16 × Σ cost / Σ cost unquantised over all groups of the manifest, as ModelOpt has it; `None` when a cost is no number.
    pub effective_bits: Option<f64>,
    /// Bits for each element of the checkpoint, scales and what is never quantised included; `None` without a checkpoint.
    pub bits_on_disk: Option<f64>,
    /// The summed score of the quantised groups; `None` when one is not finite.
    pub score: Option<f64>,
}

impl CostModel {
    /// The costs on disk of the groups of `manifest`, which are `located` in `model`, laid out as `layout` says.
    ///
    /// # Errors
    /// As [`crate::format::Format::tensors`]; never for what was located for the format of `layout`.
    pub fn of_model(manifest: &Manifest, located: &Located, model: &Model, layout: &Layout) -> Result<Self> {
        fn weights<'a, N: Deref<Target = str>>(
            model: &'a Model,
            modules: &'a [N],
        ) -> Vec<(&'a str, &'a Tensor)> {
            modules.iter().filter_map(|module| Some((&**module, model.weight(module)?))).collect()
        }
        let cost = |(group, found): (&Group, &LocatedGroup)| -> Result<GroupCost> {
            let mut cost = GroupCost::of(group, found);
            let (stored, quantisable) = (weights(model, &found.stored), weights(model, &found.quantisable));
            let bytes = stored.iter().map(|(_, weight)| weight.bytes().len() as u64).sum();
            (cost.unquantised.bytes, cost.quantised.bytes) = (bytes, bytes);
            if group.parameters().is_none() {
                cost.parameters = stored.iter().map(|(_, weight)| weight.elements() as u64).sum();
            }
            cost.quantisable_parameters =
                quantisable.iter().map(|(_, weight)| weight.elements() as u64).sum();
            for (module, weight) in &quantisable {
                let tensors = module_tensors(module, weight, layout)?;
                cost.quantised.bytes += tensors.iter().map(|tensor| tensor.spec.bytes()).sum::<u64>();
                cost.quantised.bytes -= weight.bytes().len() as u64;
            }
            Ok(cost.settled())
        };
        let groups = manifest.groups().iter().zip(located.groups());
        let mut costs = Self::with(manifest, groups.map(cost).collect::<Result<_>>()?);
        costs.base_bytes = model.tensors().map(|(_, t)| t.bytes().len() as u64).sum();
        costs.elements = Some(model.tensors().map(|(_, t)| t.elements() as u64).sum());
        Ok(costs)
    }

    /// The costs of the groups of `manifest` as it states them; `located` in it.
    pub fn of_manifest(manifest: &Manifest, located: &Located) -> Self {
        let groups = manifest.groups().iter().zip(located.groups());
        let mut costs = Self::with(
            manifest,
            groups.map(|(group, found)| GroupCost::of(group, found).settled()).collect(),
        );
        costs.base_bytes = costs.groups.iter().map(|g| g.unquantised.bytes).sum();
        costs
    }

    fn with(manifest: &Manifest, groups: Vec<GroupCost>) -> Self {
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

    /// Sum of all tensor bytes with nothing quantised.
    pub fn base_bytes(&self) -> u64 {
        self.base_bytes
    }

    /// The effective bits of a summed ModelOpt cost.
    pub fn effective_bits(&self, weights: f64) -> f64 {
        effective_bits(weights, self.total_weights)
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
            quantised_layers: 0,
            quantised_parameters: 0,
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
            weights += if selected { group.quantised.weights } else { group.unquantised.weights };
            if !selected {
                continue;
            }
            figures.kept += usize::from(group.kept.is_some());
            figures.quantised_layers += group.quantisable_layers;
            figures.quantised_parameters += group.quantisable_parameters;
            figures.bytes += group.quantised.bytes;
            figures.bytes -= group.unquantised.bytes;
            score += if group.quantisable_layers > 0 { group.quantised.score } else { 0.0 };
        }
        figures.effective_bits = Some(self.effective_bits(weights)).filter(|bits| bits.is_finite());
        figures.bits_on_disk = self.elements.map(|elements| 8.0 * figures.bytes as f64 / elements as f64);
        figures.score = Some(score).filter(|score| score.is_finite());
        figures
    }
}

impl GroupCost {
    /// As the manifest states it, for the modules that were found.
    fn of(group: &Group, found: &LocatedGroup) -> Self {
        let parameters = group.parameters();
        let none = group.formats.iter().position(|f| f.is_none()).and_then(|at| group.option(at));
        let unquantised = none.map_or(parameters.map_or(f64::NAN, |p| p as f64), |none| none.cost);
        let cost = |score: f64, weights: f64| Cost { score, weights, bytes: (2.0 * weights).round() as u64 };
        let unquantised = cost(none.map_or(0.0, |none| none.score), unquantised);
        let mut quantised = group.candidate().map_or(unquantised, |c| cost(c.score, c.cost));
        if !group.score.is_finite() {
            quantised.score = group.score;
        }
        let layers = found.quantisable.len();
        GroupCost {
            unquantised,
            quantised,
            parameters: parameters.unwrap_or(0),
            quantisable_parameters: if layers > 0 { parameters.unwrap_or(0) } else { 0 },
            quantisable_layers: layers,
            kept: found.kept,
        }
    }

    /// A group without anything to quantise costs the same either way.
    fn settled(mut self) -> Self {
        if self.quantisable_layers == 0 {
            self.quantised = self.unquantised;
        }
        self
    }
}
/// Bits of a weight that is not quantised, which costs of ModelOpt are counted in.
const UNQUANTISED_BITS: f64 = 16.0;

/// The effective bits of layers that cost `cost`, of `weights` in all.
pub fn effective_bits(cost: f64, weights: f64) -> f64 {
    UNQUANTISED_BITS * cost / weights
}

/// What `weights` of so many `bits` cost, in weights of 16 bits.
pub fn cost_of_bits(bits: f64, weights: f64) -> f64 {
    weights * bits / UNQUANTISED_BITS
}
