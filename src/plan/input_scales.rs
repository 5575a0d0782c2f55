//! Where static activation scales come from: an FP8 baseline's `input_scale` tensors, or recorded amax values.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format::ScaleRule;
use crate::manifest::RecordedAmax;
use crate::model::{Model, canonical, expert_group};
use crate::tensor::Dtype;

/// What tools call the scale of a layer's inputs: ModelOpt and compressed-tensors, AutoFP8, Ministral's, ComfyUI.
const LEAVES: [&str; 4] = [".input_scale", ".act_scale", ".activation_scale", ".scale_input"];
const AMAX_SUFFIX: &str = ".input_quantizer";
/// As ModelOpt calls that of a stack of experts: `….experts.gate_up_proj_input_quantizer`.
const STACK_SUFFIX: &str = "_input_quantizer";

/// Activation scales by module, whatever the spelling that the module is asked for in.
#[derive(Debug, Clone)]
pub struct InputScales {
    origin: PathBuf,
    scales: HashMap<String, f32>,
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
        let mut scales = HashMap::new();
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
        Ok(InputScales { origin: directory.to_path_buf(), scales })
    }

    /// Takes the `<module>.input_quantizer` entries of `amax`; `origin` is named in errors. The scale is amax/448 in F32,
    /// and 1 for an amax of 0 (ModelOpt's rule).
    ///
    /// # Errors
    /// [`Error::Format`] when there is no such entry or an amax is not a non-negative finite number.
    pub fn from_amax(origin: &Path, amax: &RecordedAmax) -> Result<Self> {
        let mut scales = HashMap::new();
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
            scales.insert(canonical(module), ScaleRule::F32.scale(amax as f32));
        }
        if scales.is_empty() {
            return Err(Error::format(origin, format!("holds no `<module>{AMAX_SUFFIX}` amax")).with_hint(
                "a file of `{\"<module>.input_quantizer\": amax}`, or a manifest with an `amax` key",
            ));
        }
        Ok(InputScales { origin: origin.to_path_buf(), scales })
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
            let mut mixtures = on_disk.chain(modules.mixtures_in_memory(module));
            let scale =
                mixtures.find_map(|mixture| self.scales.get(&canonical(&format!("{mixture}.{stack}"))));
            if let Some(scale) = scale.copied() {
                self.scales.insert(canonical(module), scale);
            }
        }
    }

    /// The scale of a module in any spelling.
    pub fn get(&self, module: &str) -> Option<f32> {
        self.scales.get(&canonical(module)).copied()
    }

    /// The directory or file that they were read from.
    pub fn origin(&self) -> &Path {
        &self.origin
    }
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
            r#"{"amax": {"model.visual.blocks.0.attn.qkv.input_quantizer": 3.5, "layers.0.mlp.up_proj.input_quantizer": 0,
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
    fn unusable_files_are_named() {
        let weights = from(r#"{"a.weight_quantizer": 1}"#).unwrap_err().to_string();
        assert!(weights.contains("holds no `<module>.input_quantizer` amax"), "{weights}");
        let nan = from(r#"{"a.input_quantizer": NaN}"#).unwrap_err().to_string();
        assert!(nan.contains("`a.input_quantizer`"), "{nan}");
    }
}
