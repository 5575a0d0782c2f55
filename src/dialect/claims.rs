//! What a directory says of itself: `config.json` and `hf_quant_config.json`.

use serde_json::{Value, json};

use crate::checkpoint::{HF_QUANT_CONFIG, quantisation};
use crate::error::{Error, Result};
use crate::input::InputKind;
use crate::json;
use crate::model::Model;

/// The file that loaders read first.
pub(crate) const CONFIG: &str = "config.json";

/// ModelOpt's configuration and the file that it is in.
pub struct ModelOptClaim {
    /// The file.
    pub file: &'static str,
    /// In the layout of `hf_quant_config.json`.
    pub config: Value,
}

/// The configurations of a directory, as far as they concern FP8.
pub struct Claims {
    /// `quant_method` of `config.json`.
    method: Option<String>,
    /// `quantization_config` of `config.json`, from whichever place says something.
    configuration: Option<Value>,
    /// `hf_quant_config.json`, and `config.json` where it says the same in other words.
    pub modelopt: Vec<ModelOptClaim>,
    /// Top-level files whose name ends in `hf_quant_config.json`.
    pub hf_files: Vec<String>,
}

impl Claims {
    /// Reads them from the directory of `model`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] when `hf_quant_config.json` does not parse.
    pub fn read(model: &Model) -> Result<Self> {
        let directory = model.directory();
        let config = model.quantization_config().cloned();
        let method = config.as_ref().map(|c| quantisation::method(c).unwrap_or("unknown").to_string());
        let entries = std::fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
        let mut hf_files: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(HF_QUANT_CONFIG))
            .collect();
        hf_files.sort();
        let mut modelopt = Vec::new();
        if let Some(text) = model.read_beside(HF_QUANT_CONFIG, InputKind::Configuration)? {
            let config = json::parse(&directory.join(HF_QUANT_CONFIG), &text)?;
            modelopt.push(ModelOptClaim { file: HF_QUANT_CONFIG, config });
        }
        let embedded = config.as_ref().filter(|_| method.as_deref() == Some("modelopt")).map(as_file);
        if let Some(config) = embedded
            && modelopt.iter().all(|claim| claim.config["quantization"] != config["quantization"])
        {
            modelopt.push(ModelOptClaim { file: CONFIG, config });
        }
        Ok(Claims { configuration: config, method, modelopt, hf_files })
    }

    /// `quant_method` of `config.json`.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// `quantization_config` of `config.json`, when its method is `method`.
    pub fn configuration(&self, method: &str) -> Option<&Value> {
        self.configuration.as_ref().filter(|_| self.method() == Some(method))
    }

    /// `quantization_config` of `config.json`, when its method is `compressed-tensors`.
    pub fn compressed_tensors(&self) -> Option<&Value> {
        self.configuration("compressed-tensors")
    }

    /// Whether nothing is said of quantisation at all.
    pub fn are_none(&self) -> bool {
        self.method.is_none() && self.modelopt.is_empty()
    }
}

/// ModelOpt's `quantization_config` of `config.json` in the layout of `hf_quant_config.json`.
fn as_file(config: &Value) -> Value {
    let mut quantization = json!({
        "quant_algo": config["quant_algo"],
        "kv_cache_quant_algo": config["kv_cache_quant_algo"],
        "exclude_modules": config.get("ignore").unwrap_or(&config["exclude_modules"]),
    });
    if let Some(layers) = config.get("quantized_layers") {
        quantization["quantized_layers"] = layers.clone();
    }
    json!({"producer": config["producer"], "quant_method": "modelopt", "quantization": quantization})
}
