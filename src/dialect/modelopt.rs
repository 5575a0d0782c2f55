//! `hf_quant_config.json` as ModelOpt's export writes it.

use serde_json::{Value, json};

use crate::model::Model;
use crate::plan::{Activations, Layout, Plan};

/// The ModelOpt release whose format this is; loaders recognise the file by the producer's name.
const FORMAT_VERSION: &str = "0.47.0";

/// BF16 beside FP8 is `FP8` with excluded modules, in on-disk spelling; `MIXED_PRECISION` would be for two quantised
/// formats, and readers handle it badly.
pub(super) fn hf_quant_config(model: &Model, plan: &Plan, layout: &Layout) -> Value {
    let quant_algo = match layout.activations {
        Activations::Static => "FP8",
        Activations::Dynamic => "FP8_PER_CHANNEL_PER_TOKEN",
    };
    json!({
        "producer": {"name": "modelopt", "version": FORMAT_VERSION},
        "quantization": {
            "quant_algo": quant_algo,
            "kv_cache_quant_algo": null,
            "exclude_modules": excluded(model, plan),
        },
    })
}

/// The BF16 linear layers of `plan` by their full names on disk, then `lm_head`: loaders must be told about the head even
/// where it is tied and not stored.
fn excluded<'a>(model: &'a Model, plan: &'a Plan) -> Vec<&'a str> {
    plan.unquantised_linears(model).filter(|module| *module != "lm_head").chain(["lm_head"]).collect()
}
