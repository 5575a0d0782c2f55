//! From a plan to output tensors: which weights share a scale, and what every tensor of a scheme is made of.

use std::collections::HashMap;
use std::sync::Arc;

use super::content::{Content, Member, OutputTensor, ScaleGroup};
use crate::error::{Error, Result};
use crate::format::Granularity;
use crate::model::Model;
use crate::model::fused_group;
use crate::plan::{
    Activations, InputScales, Layout, Plan, PlannedTensor, Role, ScaleSharing, planned_tensors,
};
use crate::tensor::{Dtype, Tensor};

/// Every tensor of the scheme that `plan` and `layout` describe, in the order of the base checkpoint.
///
/// # Errors
/// [`Error::Refused`] when the layout is static and a layer has no input scale.
pub fn scheme_outputs(
    model: &Model,
    plan: &Plan,
    layout: &Layout,
    input_scales: Option<&InputScales>,
) -> Result<Vec<OutputTensor>> {
    let members = scale_groups(model, plan, layout);
    let planned = planned_tensors(model, plan, layout)?;
    let input_scales = match layout.activations {
        Activations::Static => shared_input_scales(plan, layout, input_scales)?,
        Activations::Dynamic => HashMap::new(),
    };
    let source = |name: &str| {
        model.tensor(name).ok_or_else(|| Error::not_found(format!("the checkpoint holds no tensor `{name}`")))
    };
    let output = |PlannedTensor { spec, role }: PlannedTensor| {
        let content = match role {
            Role::Copy => Content::Bytes(source(&spec.name)?.clone()),
            Role::Codes { module } => Content::Codes(members[&module].clone()),
            Role::WeightScale { module } => Content::WeightScale(members[&module].clone()),
            Role::InputScale { module } => {
                let scale = input_scales[&module];
                let bytes = match spec.dtype {
                    Dtype::BF16 => half::bf16::from_f32(scale).to_le_bytes().to_vec(),
                    _ => scale.to_le_bytes().to_vec(),
                };
                let scale = Tensor::owned(spec.dtype, spec.shape.clone(), bytes);
                Content::InputScale { format: layout.encoding.format, scale }
            }
        };
        Ok(OutputTensor { spec, content })
    };
    planned.into_iter().map(output).collect()
}

/// The scale group of every FP8 module: with one scale per tensor and `group` sharing that of its fused group, otherwise
/// one of its own.
fn scale_groups(model: &Model, plan: &Plan, layout: &Layout) -> HashMap<String, Member> {
    let shares = layout.scale_sharing == ScaleSharing::Group && layout.granularity() == Granularity::Tensor;
    let mut keys = Vec::new();
    let mut by_key = HashMap::<String, Vec<(String, Tensor)>>::new();
    for module in model.modules().linears().filter(|m| plan.format(m).is_some()) {
        let name = format!("{module}.weight");
        let Some(weight) = model.tensor(&name) else { continue };
        let key = match fused_group(module).filter(|_| shares) {
            Some((prefix, fused)) => format!("{prefix}.{fused}"),
            None => module.to_string(),
        };
        let weights = by_key.entry(key.clone()).or_default();
        keys.push((module.to_string(), key, weights.len()));
        weights.push((name, weight.clone()));
    }
    let groups: HashMap<String, Arc<ScaleGroup>> = by_key
        .into_iter()
        .map(|(key, weights)| (key, Arc::new(ScaleGroup { weights, encoding: layout.encoding })))
        .collect();
    keys.into_iter()
        .map(|(module, key, index)| (module, Member { group: groups[&key].clone(), index }))
        .collect()
}

/// The input scale that is stored for each quantised module: with `group` sharing the largest of its fused group, as vLLM
/// takes it.
fn shared_input_scales(
    plan: &Plan,
    layout: &Layout,
    scales: Option<&InputScales>,
) -> Result<HashMap<String, f32>> {
    let mut own = Vec::with_capacity(plan.formats.len());
    let mut largest = HashMap::<(&str, &str), f32>::new();
    for module in plan.formats.keys() {
        let scale = scales.and_then(|s| s.get(module)).ok_or_else(|| {
            Error::refused(format!(
                "`{module}` has no input scale, and static activations need one for every layer"
            ))
        })?;
        let fused = fused_group(module).filter(|_| layout.scale_sharing == ScaleSharing::Group);
        if let Some(key) = fused {
            largest.entry(key).and_modify(|all| *all = all.max(scale)).or_insert(scale);
        }
        own.push((module, fused, scale));
    }
    let stored = own.into_iter().map(|(module, fused, scale)| {
        let scale = fused.and_then(|key| largest.get(&key).copied()).unwrap_or(scale);
        (module.to_string(), layout.scale_rule().round(scale))
    });
    Ok(stored.collect())
}
