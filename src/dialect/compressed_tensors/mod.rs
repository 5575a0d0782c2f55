//! `compressed-tensors`: `quantization_config` in the format `float-quantized`.

mod check;
mod ignore;
mod reading;

use serde_json::{Value, json};

use super::claims::Claims;
use super::id::DialectId;
use super::interface::{ClaimPlace, Dialect, QuantisationFiles};
use super::problem::Problem;
use super::stored::StoredLayers;
use crate::error::Result;
use crate::format::{FormatId, Granularity, ScaleRule, ScaleShape};
use crate::model::Model;
use crate::plan::{Activations, Layout, Plan};

/// The name of the method in `quantization_config`.
pub(super) const METHOD: &str = "compressed-tensors";

/// The format of the library compressed-tensors, as vLLM, SGLang and Transformers read it from `config.json`.
pub struct CompressedTensorsDialect;

impl Dialect for CompressedTensorsDialect {
    fn id(&self) -> DialectId {
        DialectId::CompressedTensors
    }

    fn format(&self) -> FormatId {
        FormatId::Fp8
    }

    fn activations(&self) -> &'static [(Activations, Granularity)] {
        &[(Activations::Static, Granularity::Tensor), (Activations::Dynamic, Granularity::Channel)]
    }

    /// Transformers 5.20 fails on F32 scales beside BF16 weights, and other releases round them.
    fn scale_rule(&self) -> ScaleRule {
        ScaleRule::Bf16Up
    }

    fn scale_shape(&self) -> ScaleShape {
        ScaleShape::WithOnes
    }

    fn methods(&self) -> &'static [&'static str] {
        &[METHOD]
    }

    fn claim_places(&self) -> &'static [ClaimPlace] {
        &[ClaimPlace::Configuration]
    }

    fn files(&self, model: &Model, plan: &Plan, layout: &Layout) -> QuantisationFiles {
        let quantization_config = Some(quantization_config(model, plan, layout));
        QuantisationFiles { quantization_config, hf_quant_config: None }
    }

    fn require_expressible(&self, model: &Model, plan: &Plan) -> Result<()> {
        ignore::require_distinct(model, plan)
    }

    fn check(&self, claims: &Claims, stored: &StoredLayers) -> Vec<Problem> {
        claims.compressed_tensors().map_or_else(Vec::new, |config| check::check(config, stored))
    }
}

/// Every linear layer is a target except those in `ignore`.
fn quantization_config(model: &Model, plan: &Plan, layout: &Layout) -> Value {
    let arguments = |strategy: &str, dynamic: bool| json!({"num_bits": 8, "type": "float", "symmetric": true, "strategy": strategy, "dynamic": dynamic});
    let (weights, input_activations) = match layout.activations {
        Activations::Static => (arguments("tensor", false), arguments("tensor", false)),
        Activations::Dynamic => (arguments("channel", false), arguments("token", true)),
    };
    json!({
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "global_compression_ratio": null,
        "kv_cache_scheme": null,
        "ignore": ignore::entries(model, plan),
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "format": "float-quantized",
                "output_activations": null,
                "weights": weights,
                "input_activations": input_activations,
            }
        },
    })
}
