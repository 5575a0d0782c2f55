//! Where static activation scales come from: an FP8 baseline's `input_scale` tensors, or recorded amax values.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format::ScaleRule;
use crate::manifest::RecordedAmax;
use crate::model::{Model, canonical, expert_group};
use crate::tensor::Dtype;
use crate::units::counted;

/// What tools call the scale of a layer's inputs: ModelOpt and compressed-tensors, AutoFP8, Ministral's, ComfyUI.
const LEAVES: [&str; 4] = [".input_scale", ".act_scale", ".activation_scale", ".scale_input"];
const AMAX_SUFFIX: &str = ".input_quantizer";
/// As ModelOpt calls that of a stack of experts: `….experts.gate_up_proj_input_quantizer`.
const STACK_SUFFIX: &str = "_input_quantizer";

/// The magnitudes between which the largest input of a layer lies. The largest that were ever seen are near 1e6 (Gemma 3); what
/// comes near the ends of BF16 (3.4e38) is no measurement, and its scale would make every code 0 or the largest.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;
/// The largest magnitude of an FP8 code.
const LARGEST_CODE: f64 = 448.0;

/// Activation scales by module, whatever the spelling that the module is asked for in.
#[derive(Debug, Clone)]
pub struct InputScales {
    origin: PathBuf,
    scales: HashMap<String, f32>,
    /// What was given for modules whose scale is no use, in words.
    unusable: HashMap<String, String>,
}

impl InputScales {
    /// Reads the `input_scale` tensors (one float each, under whatever name its tool has for them) of the FP8 baseline in
    /// `directory`.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`]; [`Error::Format`] when there is no such tensor or one is not a single positive
    /// finite number.
    pub fn from_baseline(directory: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(directory)?;
        let (mut scales, mut unusable) = (HashMap::new(), HashMap::new());
        for (name, tensor) in checkpoint.tensors() {
            let Some(module) = LEAVES.iter().find_map(|leaf| name.strip_suffix(leaf)) else { continue };
            let is_float = tensor.dtype().is_quantisable() || tensor.dtype() == Dtype::F64;
            if !is_float || tensor.elements() != 1 {
                let problem = format!(
                    "holds `{name}`, which is {} of shape {:?}, not one float",
                    tensor.dtype(),
                    tensor.shape()
                );
                return Err(Error::format(directory, problem));
            }
            let value = tensor.to_f64_iter().next().unwrap_or(f64::NAN) as f32;
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::format(
                    directory,
                    format!("holds `{name}` = {value}, which is no usable scale"),
                ));
            }
            let amax = f64::from(value) * LARGEST_CODE;
            if !PLAUSIBLE.contains(&amax) {
                unusable
                    .insert(canonical(module), format!("the scale {value:e}, so inputs of up to {amax:e}"));
            }
            if scales.insert(canonical(module), value).is_some_and(|other| other != value) {
                return Err(Error::format(directory, format!("has two input scales for `{module}`")));
            }
        }
        if scales.is_empty() {
            return Err(Error::format(
                directory,
                "holds no `input_scale` tensor, so it is no static FP8 baseline",
            )
            .with_hint("pass a static FP8 export, or --activations dynamic, which needs no calibration"));
        }
        Ok(InputScales { origin: directory.to_path_buf(), scales, unusable })
    }

    /// Takes the `<module>.input_quantizer` entries of `amax`; `origin` is named in errors. The scale is amax/448 in F32. An
    /// amax of 0, or one that no inputs reach, is remembered and refused by [`InputScales::require_usable`].
    ///
    /// # Errors
    /// [`Error::Format`] when there is no such entry or an amax is not a non-negative finite number.
    pub fn from_amax(origin: &Path, amax: &RecordedAmax) -> Result<Self> {
        let (mut scales, mut unusable) = (HashMap::new(), HashMap::new());
        for (key, amax) in amax.iter() {
            let Some(module) = key.strip_suffix(AMAX_SUFFIX).or_else(|| key.strip_suffix(STACK_SUFFIX))
            else {
                continue;
            };
            if !(amax.is_finite() && amax >= 0.0) {
                let problem =
                    format!("gives `{key}` the amax {amax}, which is no non-negative finite number");
                return Err(Error::format(origin, problem));
            }
            if !PLAUSIBLE.contains(&amax) {
                unusable.insert(canonical(module), format!("the amax {}", in_words(amax)));
            }
            scales.insert(canonical(module), ScaleRule::F32.scale(amax as f32));
        }
        if scales.is_empty() {
            return Err(Error::format(origin, format!("holds no `<module>{AMAX_SUFFIX}` amax")).with_hint(
                "a file of `{\"<module>.input_quantizer\": amax}`, or a manifest with an `amax` key",
            ));
        }
        Ok(InputScales { origin: origin.to_path_buf(), scales, unusable })
    }

    /// Gives every expert of `model` that has no scale of its own the one of the stack that holds it in memory: all experts
    /// of a mixture see the same inputs.
    pub fn expand(&mut self, model: &Model) {
        let modules = model.modules();
        for module in modules.linears() {
            let Some((parent, whole)) = expert_group(module) else { continue };
            if self.scales.contains_key(&canonical(module)) {
                continue;
            }
            let stack = match module.rsplit('.').next() {
                Some("gate_proj" | "up_proj" | "w1" | "w3") => "gate_up_proj",
                _ => "down_proj",
            };
            let on_disk = [format!("{parent}.{whole}")].into_iter();
            let mixtures = on_disk.chain(modules.mixtures_in_memory(module));
            let stack = mixtures
                .map(|mixture| canonical(&format!("{mixture}.{stack}")))
                .find(|name| self.scales.contains_key(name));
            let Some(stack) = stack else { continue };
            if let Some(problem) = self.unusable.get(&stack).cloned() {
                self.unusable.insert(canonical(module), problem);
            }
            if let Some(scale) = self.scales.get(&stack).copied() {
                self.scales.insert(canonical(module), scale);
            }
        }
    }

    /// The scale of a module in any spelling.
    pub fn get(&self, module: &str) -> Option<f32> {
        self.scales.get(&canonical(module)).copied()
    }

    /// Fails when the scale of one of `modules` is no use: 0, or far from what inputs reach, so that every code would be 0 or
    /// the largest one.
    ///
    /// # Errors
    /// [`Error::Format`] naming the first such module and how many there are.
    pub fn require_usable<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let found = |module: &'a str| self.unusable.get(&canonical(module)).map(|given| (module, given));
        let mut unusable = modules.into_iter().filter_map(found);
        let Some((module, given)) = unusable.next() else { return Ok(()) };
        let more = match unusable.count() {
            0 => String::new(),
            others => format!(", as are those of {} more", counted(others, "layer")),
        };
        let problem =
            format!("gives the inputs of `{module}` {given}, which is nothing that was measured{more}");
        Err(Error::format(&self.origin, problem)
            .with_hint("calibrate it again, leave these layers out, or choose --activations dynamic"))
    }

    /// The directory or file that they were read from.
    pub fn origin(&self) -> &Path {
        &self.origin
    }
}

/// A number that may be very large or very small.
fn in_words(value: f64) -> String {
    if value == 0.0 { "0".into() } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<InputScales> {
        let path = Path::new("amax.json");
        InputScales::from_amax(path, &RecordedAmax::parse(path, text.as_bytes())?)
    }

    #[test]
    fn amax_becomes_a_scale_by_modelopts_rule_in_any_spelling() {
        let scales = from(
            r#"{"amax": {"model.visual.blocks.0.attn.qkv.input_quantizer": 3.5, "layers.0.mlp.up_proj.input_quantizer": 448,
                "layers.0.mlp.up_proj.weight_quantizer": 1}}"#,
        )
        .unwrap();
        assert_eq!(scales.get("visual.blocks.0.attn.qkv"), Some(3.5 / 448.0));
        assert_eq!(scales.get("model.language_model.layers.0.mlp.up_proj"), Some(1.0));
        assert_eq!(scales.get("model.layers.1.mlp.up_proj"), None);
    }

    #[test]
    fn experts_take_the_scale_of_their_stack() {
        let directory = tempfile::tempdir().unwrap();
        let names =
            ["gate_proj", "up_proj", "down_proj"].map(|leaf| format!("model.layers.0.mlp.experts.1.{leaf}"));
        let weight = [0u8; 8];
        let view =
            || safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![2, 2], &weight).unwrap();
        let tensors: Vec<_> = names.iter().map(|name| (format!("{name}.weight"), view())).collect();
        safetensors::serialize_to_file(tensors, None, &directory.path().join("model.safetensors")).unwrap();
        std::fs::write(directory.path().join("config.json"), "{}").unwrap();
        let mut scales = from(
            r#"{"amax": {"model.layers.0.mlp.experts.gate_up_proj_input_quantizer": 448, "model.layers.0.mlp.experts.down_proj_input_quantizer": 896}}"#,
        )
        .unwrap();
        scales.expand(&Model::open(directory.path()).unwrap());
        assert_eq!(names.map(|name| scales.get(&name)), [Some(1.0), Some(1.0), Some(2.0)]);
    }

    #[test]
    fn what_no_inputs_reach_is_refused_for_the_layers_that_need_it() {
        for (amax, shown) in [("0", "the amax 0,"), ("1e38", "1e38"), ("1e300", "1e300"), ("1e-30", "1e-30")]
        {
            let scales = from(&format!(
                r#"{{"layers.0.a.input_quantizer": {amax}, "layers.1.a.input_quantizer": 5e5, "layers.2.a.input_quantizer": {amax}}}"#
            ))
            .unwrap();
            scales.require_usable(["layers.1.a"]).unwrap();
            let error = scales.require_usable(["layers.1.a", "model.layers.0.a", "layers.2.a"]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("`model.layers.0.a`") && text.contains(shown), "{text}");
            assert!(text.contains("as are those of 1 layer more"), "{text}");
        }
    }

    #[test]
    fn unusable_files_are_named() {
        let weights = from(r#"{"a.weight_quantizer": 1}"#).unwrap_err().to_string();
        assert!(weights.contains("holds no `<module>.input_quantizer` amax"), "{weights}");
        let nan = from(r#"{"a.input_quantizer": NaN}"#).unwrap_err().to_string();
        assert!(nan.contains("`a.input_quantizer`"), "{nan}");
    }
}
