//! Where static activation scales come from: an FP8 baseline's `input_scale` tensors, or recorded amax values.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format::ScaleRule;
use crate::manifest::RecordedAmax;
use crate::model::canonical;
use crate::tensor::Dtype;

/// What tools call the scale of a layer's inputs: ModelOpt and compressed-tensors, AutoFP8, Ministral's, ComfyUI.
const LEAVES: [&str; 4] = [".input_scale", ".act_scale", ".activation_scale", ".scale_input"];
const AMAX_SUFFIX: &str = ".input_quantizer";

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
            let Some(module) = key.strip_suffix(AMAX_SUFFIX) else { continue };
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
    fn unusable_files_are_named() {
        let weights = from(r#"{"a.weight_quantizer": 1}"#).unwrap_err().to_string();
        assert!(weights.contains("holds no `<module>.input_quantizer` amax"), "{weights}");
        let nan = from(r#"{"a.input_quantizer": NaN}"#).unwrap_err().to_string();
        assert!(nan.contains("`a.input_quantizer`"), "{nan}");
    }
}
