//! What each dialect writes beside the weights: the quantisation entries of `config.json` and `hf_quant_config.json`.

mod compressed_tensors;
mod ignore;
mod modelopt;

use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::plan::{Activations, Dialect, Layout, Plan};

/// The configuration that makes loaders read a scheme as its plan says.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisationFiles {
    /// `quantization_config` of `config.json`, where the dialect has one.
    pub quantization_config: Option<Value>,
    /// The content of `hf_quant_config.json`, where the dialect has a truthful one.
    pub hf_quant_config: Option<Value>,
}

/// The configuration for `plan` in the dialect of `layout`.
///
/// `modelopt` writes no `quantization_config`: with `quant_method: modelopt` there, Transformers, which has no ModelOpt
/// reader, drops the scales and takes raw codes for weights. vLLM and SGLang read `hf_quant_config.json`, and so does TensorRT-LLM by its source.
///
/// # Errors
/// Those of [`require_expressible`].
pub fn quantisation_files(
    checkpoint: &Checkpoint,
    plan: &Plan,
    layout: &Layout,
) -> Result<QuantisationFiles> {
    require_expressible(checkpoint, plan, layout)?;
    let compressed = || compressed_tensors::quantization_config(checkpoint, plan, layout);
    let modelopt = || modelopt::hf_quant_config(checkpoint, plan, layout);
    Ok(match (layout.dialect, layout.activations) {
        (Dialect::Universal, _) => {
            QuantisationFiles { quantization_config: Some(compressed()), hf_quant_config: Some(modelopt()) }
        }
        (Dialect::CompressedTensors, Activations::Static | Activations::Dynamic) => {
            QuantisationFiles { quantization_config: Some(compressed()), hf_quant_config: None }
        }
        (Dialect::ModelOpt, _) => {
            QuantisationFiles { quantization_config: None, hf_quant_config: Some(modelopt()) }
        }
    })
}

/// Fails when the dialect of `layout` cannot say what `plan` means.
///
/// # Errors
/// [`crate::Error::Refused`] when a BF16 and an FP8 layer have names that engines cannot keep apart.
pub fn require_expressible(checkpoint: &Checkpoint, plan: &Plan, layout: &Layout) -> Result<()> {
    match layout.dialect {
        Dialect::Universal | Dialect::CompressedTensors => ignore::require_distinct(checkpoint, plan),
        Dialect::ModelOpt => Ok(()),
    }
}
