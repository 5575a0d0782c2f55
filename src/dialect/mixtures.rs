//! Mixtures of experts that stay as they are: loaders build all experts of a layer as one module, and look for it under one
//! name.

use std::collections::HashSet;

use crate::model::{Model, expert_group};
use crate::plan::Plan;

/// The mixtures of which `plan` quantises no expert, by their names on disk (`model.layers.0.mlp.experts`), in file order:
/// those whose experts are stacked, and those that have them one by one.
pub(super) fn unquantised_mixtures(model: &Model, plan: &Plan) -> Vec<String> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut mixtures: Vec<String> = Vec::new();
    for stacked in model.modules().stacked_mixtures() {
        if seen.insert(stacked) {
            mixtures.push(stacked.to_string());
        }
    }
    let mut parents: HashSet<&str> = HashSet::new();
    for (parent, experts) in plan.listed(model).filter_map(expert_group) {
        if parents.insert(parent) {
            mixtures.push(format!("{parent}.{experts}"));
        }
    }
    mixtures
}
