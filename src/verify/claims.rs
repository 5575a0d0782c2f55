//! What a directory says of itself: `config.json` and `hf_quant_config.json`.

use serde_json::Value;

use super::layers::Layers;
use super::{Code, Problem};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::HF_QUANT_CONFIG;
use crate::error::{Error, Result};
use crate::json;

/// The configurations of a directory, as far as they concern FP8.
pub(super) struct Claims {
    /// `quant_method` of `config.json`.
    method: Option<String>,
    /// `quantization_config` of `config.json`, when its method is `compressed-tensors`.
    pub compressed_tensors: Option<Value>,
    /// `hf_quant_config.json`.
    pub modelopt: Option<Value>,
    /// Top-level files whose name ends in `hf_quant_config.json`.
    hf_files: Vec<String>,
}

impl Claims {
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let directory = checkpoint.directory();
        let config = checkpoint.config().get("quantization_config").filter(|v| !v.is_null()).cloned();
        let method = config.as_ref().map(|c| c["quant_method"].as_str().unwrap_or("none").to_string());
        let entries = std::fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
        let mut hf_files: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(HF_QUANT_CONFIG))
            .collect();
        hf_files.sort();
        let modelopt = directory.join(HF_QUANT_CONFIG);
        Ok(Claims {
            compressed_tensors: config.filter(|_| method.as_deref() == Some("compressed-tensors")),
            method,
            modelopt: if modelopt.exists() { Some(json::read(&modelopt)?) } else { None },
            hf_files,
        })
    }

    /// Checks of the configurations against each other.
    pub fn check(&self, layers: &Layers) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.hf_files.len() > 1 {
            let message = format!("{} lie at the top level; loaders expect one", self.hf_files.join(" and "));
            problems.push(Problem::new(Code::Configuration, HF_QUANT_CONFIG, message));
        }
        if self.method.as_deref() == Some("modelopt") {
            problems.push(Problem::new(
                Code::ModeloptMethod,
                "config.json",
                "config.json says quant_method modelopt, which Transformers has no reader for: it drops the scales and \
                 takes raw codes for weights",
            ));
        }
        if self.method.is_none()
            && self.modelopt.is_none()
            && let Some(first) = layers.fp8().next()
        {
            let message = format!(
                "{} layers are FP8, such as `{}`, and no configuration says so: their codes are taken for weights",
                layers.fp8().count(),
                first.name
            );
            problems.push(Problem::new(Code::Unconfigured, "config.json", message));
        }
        if let (Some(compressed), Some(modelopt)) = (&self.compressed_tensors, &self.modelopt) {
            let dynamic = compressed["config_groups"]["group_0"]["input_activations"]["dynamic"] == true;
            if dynamic && modelopt["quantization"]["quant_algo"] == "FP8" {
                problems.push(Problem::new(
                    Code::Configuration,
                    HF_QUANT_CONFIG,
                    "hf_quant_config.json says FP8, which is static, and config.json says dynamic activations",
                ));
            }
        }
        problems
    }
}
