//! Modules that loaders look for as wholes: mixtures of experts, of which they build all experts of a layer as one, and
//! what some of their classes fuse under a name of its own.

use std::collections::HashSet;

use crate::model::{Model, ModuleClass, expert_group, fused_group};
use crate::plan::Plan;

/// What engines call all experts of a mixture.
const EXPERTS: &str = "experts";

/// A mixture of which no expert is quantised.
pub(super) struct UnquantisedMixture {
    /// `model.layers.0.mlp.experts`; on disk, and in memory where that differs.
    pub names: Vec<String>,
    /// Whether its experts are stacked on disk.
    pub is_stacked: bool,
}

/// The mixtures that `plan` leaves as they are, in file order.
pub(super) fn unquantised_mixtures(model: &Model, plan: &Plan) -> Vec<UnquantisedMixture> {
    let modules = model.modules();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut mixtures: Vec<UnquantisedMixture> = Vec::new();
    for module in plan.listed(model) {
        let is_stacked = modules.class(module) == Some(ModuleClass::Experts);
        let (parent, leaf) = match expert_group(module) {
            Some(group) if !is_stacked => group,
            _ if is_stacked => {
                match module.rsplit_once('.').and_then(|(mixture, _)| mixture.rsplit_once('.')) {
                    Some(split) => split,
                    None => continue,
                }
            }
            _ => continue,
        };
        if seen.insert(parent) {
            let mut names = vec![format!("{parent}.{leaf}")];
            for name in modules.mixtures_in_memory(module) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            // Engines have the experts below what holds the router, whatever lies there on disk.
            let below = format!("{parent}.{leaf}.{EXPERTS}");
            if is_stacked && !leaf.contains("expert") && !parent.contains(EXPERTS) && !names.contains(&below)
            {
                names.push(below);
            }
            mixtures.push(UnquantisedMixture { names, is_stacked });
        }
    }
    mixtures
}

/// The names of fused layers that stay as they are and that vLLM asks for by the name of the whole, in file order: its class
/// says so, or does not say what the whole is made of.
pub(super) fn asked_for_as_wholes(model: &Model, plan: &Plan) -> Vec<String> {
    let known = model.modules().architecture().filter(|architecture| architecture.in_vllm());
    let Some(architecture) = known else { return Vec::new() };
    let parts: HashSet<&str> =
        architecture.packed().flat_map(|(_, parts)| parts).map(|part| last(part)).collect();
    let wholes: HashSet<&str> = architecture
        .packed()
        .filter(|(whole, parts)| parts.iter().any(|part| part == whole))
        .map(|(whole, _)| whole)
        .collect();
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for module in plan.listed(model) {
        let Some((parent, whole)) = fused_group(module) else { continue };
        let is_asked = wholes.contains(whole) || !parts.contains(last(module));
        if is_asked && seen.insert((parent, whole)) {
            names.push(format!("{parent}.{whole}"));
        }
    }
    names
}

/// The name without what an adapter puts around the layer, where the checkpoint has one: vLLM takes the layer of
/// Phi-4-multimodal that lies within its adapters for the layer itself.
pub(super) fn without_adapter(module: &str) -> Option<String> {
    module.strip_suffix(".base_layer").map(str::to_string)
}

/// The last part of a name.
fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
