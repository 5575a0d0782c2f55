//! What holds for quantised layers whatever the configuration claims.

use std::collections::BTreeMap;

use crate::dialect::{Code, Problem, StoredLayers, is_calibration_state};
use crate::format::FormatId;
use crate::model::{expert_group, fused_group};
use crate::tensor::{Dtype, Tensor};

/// Leaves that an FP8 module may have beside its scales; the last two belong to an FP8 key-value cache.
const LEAVES: [&str; 4] = ["weight", "bias", "k_scale", "v_scale"];
/// How many names a message lists.
const LISTED: usize = 5;

/// Whether `leaf` is the name of scales in some format.
fn is_scale(leaf: &str) -> bool {
    leaf == "input_scale" || FormatId::ALL.iter().any(|id| id.format().scale_leaf() == leaf)
}

/// Checks that hold for every format: scales are there, usable, and belong to something; fused groups are whole.
pub(super) fn check(stored: &StoredLayers) -> Vec<Problem> {
    let mut problems = Vec::new();
    for layer in stored.fp8() {
        if layer.weight_scale.is_none() {
            let message = format!(
                "`{}` is FP8 without a weight_scale: its codes would be taken for weights",
                layer.name
            );
            problems.push(Problem::new(Code::WeightScale, layer.name, message));
        }
        if layer.is_head() && stored.model.ties_word_embeddings() {
            let message = "lm_head is stored in FP8 although config.json ties it to the embedding: loaders ignore \
                               one of the two";
            problems.push(Problem::new(Code::LmHead, layer.name, message));
        }
    }
    for (name, tensor) in stored.model.tensors() {
        if is_of_another_format(stored, name) {
            continue;
        }
        if holds_stray_codes(stored, name, tensor) {
            let message = format!(
                "`{name}` is {}, and no configuration covers it, as it is no E4M3 linear layer: its codes are taken \
                     for values",
                tensor.dtype()
            );
            problems.push(Problem::new(Code::Unconfigured, name, message));
        }
        let Some((module, leaf)) = name.rsplit_once('.') else { continue };
        let owner = stored.model.tensor(&format!("{module}.weight"));
        let owner_is_fp8 = owner.is_some_and(|w| w.dtype() == Dtype::F8E4M3);
        if is_scale(leaf) {
            if !owner_is_fp8 {
                let message = format!("`{name}` is a scale of something that is not FP8; loaders reject it");
                problems.push(Problem::new(Code::WeightScale, name, message));
            }
            if tensor.dtype() == Dtype::F8E8M0 {
                let message =
                    format!("`{name}` is F8_E8M0, and which loaders read such scales is not checked");
                problems.push(Problem::new(Code::NotChecked, module, message));
            } else if !tensor.dtype().is_quantisable() {
                let message =
                    format!("`{name}` is {}; loaders read scales in BF16, F16 or F32", tensor.dtype());
                problems.push(Problem::new(Code::ScaleShape, module, message));
            } else if let Some(value) = tensor.to_f64_iter().find(|v| !((*v as f32).is_finite() && *v > 0.0))
            {
                let message = format!("`{name}` holds {value}, which is no usable scale");
                problems.push(Problem::new(Code::ScaleValue, name, message));
            }
        } else if owner_is_fp8 && !LEAVES.contains(&leaf) || is_calibration_state(name) {
            let message = format!("`{name}` is an extra tensor of a quantiser; loaders reject it");
            problems.push(Problem::new(Code::ExtraTensor, name, message));
        }
    }
    let stacked = stored.model.tensors().filter(|(_, t)| t.dtype() == Dtype::F8E4M3 && t.shape().len() == 3);
    let stacked: Vec<&str> = stacked.map(|(name, _)| name).collect();
    if let Some(first) = stacked.first() {
        let message = format!("stacked FP8 codes, such as `{first}`, are not checked");
        problems.push(Problem::new(Code::NotChecked, *first, message));
    }
    problems.extend(check_fused_groups(stored));
    problems
}

/// Whether `name` belongs to a layer whose weight is packed, of which nothing is known here.
fn is_of_another_format(stored: &StoredLayers, name: &str) -> bool {
    let Some((module, _)) = name.rsplit_once('.') else { return false };
    let is_packed =
        |weight: &Tensor| matches!(weight.dtype(), Dtype::U8 | Dtype::I8 | Dtype::I32 | Dtype::F4);
    let tensor = |leaf: &str| stored.model.tensor(&format!("{module}.{leaf}"));
    tensor("weight").is_some_and(is_packed) || tensor("weight_packed").is_some()
}

/// Whether `tensor` holds FP8 codes that no loader has a scale for: anything but the E4M3 weight of a linear layer.
/// Stacked experts, `[expert, out, in]`, are left alone where a scale stands beside them.
fn holds_stray_codes(stored: &StoredLayers, name: &str, tensor: &Tensor) -> bool {
    let is_linear = || {
        let module = name.strip_suffix(".weight");
        module.is_some_and(|module| stored.model.modules().is_built_as_linear(module))
    };
    let has_scale =
        || ["_scale", "_scale_inv"].iter().any(|s| stored.model.tensor(&format!("{name}{s}")).is_some());
    match tensor.dtype() {
        Dtype::F8E5M2 => true,
        Dtype::F8E4M3 => !(is_linear() || tensor.shape().len() == 3 && has_scale()),
        _ => false,
    }
}

fn check_fused_groups(stored: &StoredLayers) -> Vec<Problem> {
    let mut groups = BTreeMap::<(&str, &str), (Vec<&str>, Vec<&str>)>::new();
    for layer in &stored.layers {
        for key in fused_group(layer.name).into_iter().chain(expert_group(layer.name)) {
            let (fp8, bf16) = groups.entry(key).or_default();
            if layer.is_fp8() { fp8 } else { bf16 }.push(layer.name);
        }
    }
    let split = groups.into_iter().filter(|(_, (fp8, bf16))| !fp8.is_empty() && !bf16.is_empty());
    split
            .map(|((prefix, fused), (fp8, bf16))| {
                let message = format!(
                    "`{prefix}.{fused}` is split: {} FP8, {} not; vLLM fuses them and rejects or garbles the mixture",
                    first_few(&fp8),
                    first_few(&bf16)
                );
                Problem::new(Code::SplitGroup, format!("{prefix}.{fused}"), message)
            })
            .collect()
}

fn first_few(names: &[&str]) -> String {
    let first = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{first}, …") } else { first }
}
