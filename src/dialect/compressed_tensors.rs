//! `quantization_config` in the compressed-tensors format `float-quantized`.

use serde_json::{Value, json};

use super::ignore;
use crate::model::Model;
use crate::plan::{Activations, Layout, Plan};

/// Every linear layer is a target except those in `ignore`.
pub(super) fn quantization_config(model: &Model, plan: &Plan, layout: &Layout) -> Value {
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
