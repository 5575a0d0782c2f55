//! What a directory says of itself: `config.json` and `hf_quant_config.json`.

use serde_json::{Value, json};

use super::layers::Layers;
use super::{Code, Problem};
use crate::checkpoint::HF_QUANT_CONFIG;
use crate::error::{Error, Result};
use crate::json;
use crate::model::Model;

const CONFIG: &str = "config.json";
/// Methods that describe FP8 weights; Transformers' own `fp8` is known to be one, its lists are not checked.
const FP8_METHODS: [&str; 3] = ["compressed-tensors", "modelopt", "fp8"];

/// ModelOpt's configuration and the file that it is in.
pub(super) struct ModelOptClaim {
    pub file: &'static str,
    /// In the layout of `hf_quant_config.json`.
    pub config: Value,
}

/// The configurations of a directory, as far as they concern FP8.
pub(super) struct Claims {
    /// `quant_method` of `config.json`.
    method: Option<String>,
    /// `quantization_config` of `config.json`, when its method is `compressed-tensors`.
    pub compressed_tensors: Option<Value>,
    /// `hf_quant_config.json`, and `config.json` where it says the same in other words.
    pub modelopt: Vec<ModelOptClaim>,
    /// Top-level files whose name ends in `hf_quant_config.json`.
    hf_files: Vec<String>,
}

impl Claims {
    pub fn read(model: &Model) -> Result<Self> {
        let directory = model.directory();
        let config = model.config().get("quantization_config").filter(|v| !v.is_null()).cloned();
        let method = config.as_ref().map(|c| c["quant_method"].as_str().unwrap_or("none").to_string());
        let entries = std::fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
        let mut hf_files: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(HF_QUANT_CONFIG))
            .collect();
        hf_files.sort();
        let mut modelopt = Vec::new();
        let path = directory.join(HF_QUANT_CONFIG);
        if path.exists() {
            modelopt.push(ModelOptClaim { file: HF_QUANT_CONFIG, config: json::read(&path)? });
        }
        let embedded = config.as_ref().filter(|_| method.as_deref() == Some("modelopt")).map(as_file);
        if let Some(config) = embedded
            && modelopt.iter().all(|claim| claim.config["quantization"] != config["quantization"])
        {
            modelopt.push(ModelOptClaim { file: CONFIG, config });
        }
        Ok(Claims {
            compressed_tensors: config.filter(|_| method.as_deref() == Some("compressed-tensors")),
            method,
            modelopt,
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
                CONFIG,
                "config.json says quant_method modelopt, which Transformers has no reader for: it drops the scales and \
                 takes raw codes for weights",
            ));
        }
        if let Some(first) = layers.fp8().next() {
            problems.extend(self.check_coverage(layers.fp8().count(), first.name));
        }
        let dynamic = |config: &Value| {
            let groups = config["config_groups"].as_object();
            groups.into_iter().flatten().any(|(_, group)| group["input_activations"]["dynamic"] == true)
        };
        for claim in &self.modelopt {
            if self.compressed_tensors.as_ref().is_some_and(dynamic)
                && claim.config["quantization"]["quant_algo"] == "FP8"
            {
                problems.push(Problem::new(
                    Code::Configuration,
                    claim.file,
                    "hf_quant_config.json says FP8, which is static, and config.json says dynamic activations",
                ));
            }
        }
        problems
    }

    /// Whether anything says that there are FP8 layers, when there are `count`, of which `first` is one.
    fn check_coverage(&self, count: usize, first: &str) -> Option<Problem> {
        let layers = match count {
            1 => format!("`{first}` is FP8"),
            _ => format!("{count} layers are FP8, such as `{first}`"),
        };
        match self.method.as_deref() {
            None if self.modelopt.is_empty() => Some(Problem::new(
                Code::Unconfigured,
                CONFIG,
                format!("{layers}, and no configuration says so: their codes are taken for weights"),
            )),
            Some(method) if !FP8_METHODS.contains(&method) => Some(Problem::new(
                Code::Configuration,
                CONFIG,
                format!("{layers}, and the quant_method {method} of config.json knows no such layers"),
            )),
            _ => None,
        }
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
