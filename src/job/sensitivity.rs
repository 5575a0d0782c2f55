//! A sensitivity manifest without a calibration run: what quantisation does to the weights alone.
//!
//! The score of a recipe group in a format is Σ (weight - code × scale)² over its members, the error that the layer's
//! outputs see when its inputs are white noise of variance 1 (times the number of inputs). It knows nothing of data or
//! gradients, so it is no AutoQuant score; the manifest says so: its method is `weight_error`.

use serde_json::{Value, json};

use super::scored::{NONE, ScoredGroup, sections};
use crate::device::Device;
use crate::format::{
    Encoding, Granularity, QuantisationError, Rounding, ScaleRule, Wanted, WeightGroup, amax,
};
use crate::model::Model;
use crate::model::{in_model_order, recipe_group};
use crate::{Error, Result};

/// The scheme's name in the manifest; no AutoQuant scheme begins so.
pub const SCHEME: &str = "weight_error_fp8";
/// How the manifest says it was scored.
pub const METHOD: &str = "weight_error";

/// A recipe group and what each format does to its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupError {
    /// On-disk names of the modules that share the decision, in model order.
    pub modules: Vec<String>,
    /// Weights of all members together.
    pub parameters: u64,
    /// The error of all members together, one for each format.
    pub errors: Vec<QuantisationError>,
}

/// How weights are quantised to be scored.
fn encoding(granularity: Granularity) -> Encoding {
    Encoding::e4m3(granularity, ScaleRule::F32, Rounding::Exact)
}

/// ModelOpt's name for FP8 with scales of `granularity`.
fn format_name(granularity: Granularity) -> &'static str {
    encoding(granularity).format.manifest_name(granularity).unwrap_or_default()
}

/// Quantises every linear layer of `checkpoint` in every format and measures what is lost. With one scale for a tensor,
/// the members of a recipe group share it.
///
/// # Errors
/// [`Error::Refused`] when the checkpoint is quantised already, [`Error::NotFound`] when it has no linear layer,
/// [`Error::Tensor`] for weights that are not finite, [`Error::Changed`] when a file was changed meanwhile, and what
/// [`Device::quantise`] gives.
pub fn weight_errors(model: &Model, device: &Device, formats: &[Granularity]) -> Result<Vec<GroupError>> {
    model.settle();
    model.unchanged(measured(model, device, formats))
}

fn measured(model: &Model, device: &Device, formats: &[Granularity]) -> Result<Vec<GroupError>> {
    model.require_unquantised()?;
    let mut groups: Vec<GroupError> = vec![];
    let linears = model.modules().linears().filter(|module| weight(model, module).is_some());
    let mut linears: Vec<&str> = linears.collect();
    linears.sort_by_cached_key(|module| in_model_order(module));
    for module in linears {
        let together = recipe_group(module);
        // Members need not be neighbours.
        let group = groups.iter_mut().find(|g| together.is_some() && recipe_group(&g.modules[0]) == together);
        match group {
            Some(group) => group.modules.push(module.to_string()),
            None => {
                groups.push(GroupError { modules: vec![module.to_string()], parameters: 0, errors: vec![] })
            }
        }
    }
    if groups.is_empty() {
        let directory = model.directory().display();
        return Err(Error::not_found(format!("`{directory}` has no linear layer that could be scored")));
    }
    for group in &mut groups {
        let weights = group.modules.iter().filter_map(|module| weight(model, module));
        group.parameters = weights.map(|weight| weight.elements() as u64).sum();
    }
    for &granularity in formats {
        let mut jobs = vec![];
        for (number, group) in groups.iter().enumerate() {
            let weights: Vec<_> =
                group.modules.iter().filter_map(|module| weight(model, module).cloned()).collect();
            let new = |weights| WeightGroup { weights, encoding: encoding(granularity), scales: None };
            match granularity {
                Granularity::Tensor => jobs.push((number, new(weights))),
                _ => jobs.extend(weights.into_iter().map(|weight| (number, new(vec![weight])))),
            }
        }
        let (numbers, jobs): (Vec<usize>, Vec<WeightGroup>) = jobs.into_iter().unzip();
        let done = device.quantise(&jobs, Wanted { codes: false, error: true })?;
        for group in &mut groups {
            group.errors.push(QuantisationError::default());
        }
        for (number, quantised) in numbers.into_iter().zip(done) {
            let group = &mut groups[number];
            if !quantised.is_finite() {
                group.modules.iter().try_for_each(|module| require_finite(model, module))?;
            }
            if let Some(sum) = group.errors.last_mut() {
                *sum = quantised.errors.into_iter().fold(*sum, QuantisationError::merge);
            }
        }
    }
    Ok(groups)
}

/// That every weight of `module` is finite.
fn require_finite(model: &Model, module: &str) -> Result<()> {
    let Some(weight) = weight(model, module) else { return Ok(()) };
    amax(weight, Granularity::Tensor)?.check(&format!("{module}.weight"))
}

fn weight<'a>(model: &'a Model, module: &str) -> Option<&'a crate::tensor::Tensor> {
    model.tensor(&format!("{module}.weight"))
}

/// The manifest of `groups` in the newest published schema, names as Transformers has them in memory. `importance` is the
/// largest score of a group, as in ModelOpt.
pub fn manifest(model: &Model, formats: &[Granularity], groups: &[GroupError]) -> Value {
    let names = model.modules();
    let scored = |group: &GroupError| {
        let full = group.parameters as f64;
        let spelt = formats.iter().map(|&format| format!("{}(effective-bits: 8.0)", format_name(format)));
        ScoredGroup {
            modules: group.modules.iter().map(|module| names.in_memory(module)).collect(),
            formats: spelt.chain([NONE.into()]).collect(),
            scores: group.errors.iter().map(|error| error.sum_squared_error).chain([0.0]).collect(),
            costs: formats.iter().map(|_| full / 2.0).chain([full]).collect(),
        }
    };
    let groups: Vec<ScoredGroup> = groups.iter().map(scored).collect();
    let total: f64 = groups.iter().map(ScoredGroup::importance).sum();
    let sections = sections(&groups);
    let formats: Vec<&str> = formats.iter().map(|&format| format_name(format)).collect();
    json!({
        "scheme": {
            "name": SCHEME,
            "auto_quantize_bits": 8.0,
            "auto_quantize_method": METHOD,
            "auto_quantize_score_size": 0,
            "coverage_mode": "full",
            "coverage_fraction": 1.0,
            "quant_formats": formats,
        },
        "model": {"id": model.name()},
        "dataset": {
            "size": "none",
            "max_calib_samples": 0,
            "num_calib_samples": 0,
            "num_calib_batches": 0,
            "note": "no model was run: a score is the squared error of the weights",
        },
        "quantization": {"base_format_name": formats.first(), "format_names": formats, "quant_format": "fp8"},
        "run_config": {"tool": "qlua weight_sensitivity"},
        "num_quantized_layers": sections.layers.len(),
        "layers": sections.layers,
        "autoquant_state": {"constraints": {"effective_bits": 8.0}, "score": total, "is_satisfied": true},
        "layer_sensitivity": sections.groups,
        "sensitivity_ranking": sections.ranking,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read_header;
    use crate::demo;
    use crate::manifest::{Correlation, Manifest};
    use crate::tensor::Dtype;

    const FORMATS: [Granularity; 3] = [Granularity::Tensor, Granularity::Channel, Granularity::Block];

    #[test]
    fn the_demo_is_scored_as_element_by_element() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::io("create", "a folder", error))?;
        let demo = demo::build(folder.path())?;
        let model = Model::open(&demo.model)?;
        let groups = weight_errors(&model, &Device::Cpu(None), &FORMATS)?;
        let attention = groups.iter().find(|group| group.modules[0] == "model.layers.1.self_attn.q_proj");
        let attention = attention.ok_or_else(|| Error::not_found("the group"))?;
        assert_eq!(attention.modules.len(), 3);
        // One scale for all three, by the definition of the format.
        let weights = attention.modules.iter().filter_map(|module| weight(&model, module));
        let values: Vec<f32> = weights
            .flat_map(|weight| weight.to_f64_iter().map(|value| value as f32).collect::<Vec<_>>())
            .collect();
        let scale = values.iter().fold(0f32, |largest, value| largest.max(value.abs())) / 448.0;
        let lost: f64 = values
            .iter()
            .map(|&value| {
                let back = float8::F8E4M3::from_f32(value / scale).to_f32() * scale;
                (f64::from(value) - f64::from(back)).powi(2)
            })
            .sum();
        assert_eq!(attention.parameters, values.len() as u64);
        assert!((attention.errors[0].sum_squared_error / lost - 1.0).abs() < 1e-6);
        for group in &groups {
            // A scale for each row never does worse by much, and usually better.
            assert!(group.errors[1].sum_squared_error < 1.1 * group.errors[0].sum_squared_error);
        }
        Ok(())
    }

    #[test]
    fn a_nan_is_blamed_on_the_module_that_holds_it() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::io("create", "a folder", error))?;
        let demo = demo::build(folder.path())?;
        let damaged = "model.layers.1.self_attn.v_proj.weight";
        for entry in std::fs::read_dir(&demo.model).map_err(|error| Error::io("read", &demo.model, error))? {
            let path = entry.map_err(|error| Error::io("read", &demo.model, error))?.path();
            if path.extension().is_none_or(|extension| extension != "safetensors") {
                continue;
            }
            let mut bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            let entries = read_header(&path, &bytes)?;
            if let Some(entry) = entries.iter().find(|entry| entry.name == damaged) {
                let last = entry.range.end - 2;
                bytes[last..last + 2].copy_from_slice(&half::bf16::NAN.to_le_bytes());
                std::fs::write(&path, bytes).map_err(|error| Error::io("write", &path, error))?;
            }
        }
        let model = Model::open(&demo.model)?;
        for format in FORMATS {
            let error = weight_errors(&model, &Device::Cpu(None), &[format]).err();
            let expected = format!("tensor `{damaged}` holds NaN values");
            assert_eq!(error.map(|error| error.to_string()), Some(expected), "{format}");
        }
        Ok(())
    }

    #[test]
    fn the_manifest_is_read_as_any_other_and_correlates_with_itself() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::io("create", "a folder", error))?;
        let demo = demo::build(folder.path())?;
        let model = Model::open(&demo.model)?;
        let groups = weight_errors(&model, &Device::Cpu(None), &FORMATS)?;
        let text = manifest(&model, &FORMATS, &groups).to_string();
        let ours = Manifest::parse("weights.json", text.clone())?;
        let theirs = Manifest::open(&demo.manifest)?;
        assert_eq!((ours.version(), ours.method()), (4, Some(METHOD)));
        // All groups of the published kind but the convolution and the tied head, which are no linear layers.
        let candidates = theirs.groups().iter().filter(|group| group.is_candidate()).count();
        assert_eq!(ours.groups().len(), candidates - 1);
        for group in ours.groups() {
            let twin = theirs.group(&group.name).ok_or_else(|| Error::not_found(group.name.clone()))?;
            assert_eq!(group.members, twin.members);
            assert_eq!(group.costs.last(), twin.costs.last());
        }
        let itself = Correlation::of(&ours, &ours)?;
        assert_eq!((itself.spearman, itself.groups), (Some(1.0), groups.len()));
        assert_eq!(Correlation::of(&ours, &theirs)?.groups, groups.len());
        assert_eq!(model.tensor("model.layers.0.mlp.up_proj.weight").map(|t| t.dtype()), Some(Dtype::BF16));
        Ok(())
    }
}
