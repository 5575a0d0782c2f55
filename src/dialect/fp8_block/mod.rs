//! `fp8-block`: `quant_method: fp8` with blocks of weights, as the official FP8 releases of Qwen3 and DeepSeek have it.

mod check;
mod list;

use serde_json::{Value, json};

use super::claims::Claims;
use super::id::DialectId;
use super::interface::{ClaimPlace, Dialect, QuantisationFiles};
use super::problem::Problem;
use super::stored::StoredLayers;
use crate::error::Result;
use crate::format::{BLOCK, FormatId, Granularity, ScaleRule, ScaleShape};
use crate::model::Model;
use crate::plan::{Activations, Layout, Plan};

/// The name of the method in `quantization_config`.
const METHOD: &str = "fp8";

/// What Transformers, vLLM and SGLang read from `config.json` alone.
pub struct Fp8BlockDialect;

impl Dialect for Fp8BlockDialect {
    fn id(&self) -> DialectId {
        DialectId::Fp8Block
    }

    fn format(&self) -> FormatId {
        FormatId::Fp8Block
    }

    /// vLLM and SGLang reject blocks of weights beside static activations.
    fn activations(&self) -> &'static [(Activations, Granularity)] {
        &[(Activations::Dynamic, Granularity::Block)]
    }

    fn scale_rule(&self) -> ScaleRule {
        ScaleRule::F32
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

    fn files(&self, model: &Model, plan: &Plan, _layout: &Layout) -> QuantisationFiles {
        QuantisationFiles {
            quantization_config: Some(quantization_config(model, plan)),
            hf_quant_config: None,
        }
    }

    fn require_expressible(&self, model: &Model, plan: &Plan) -> Result<()> {
        list::require_distinct(model, plan)
    }

    fn check(&self, claims: &Claims, stored: &StoredLayers) -> Vec<Problem> {
        claims.configuration(METHOD).map_or_else(Vec::new, |config| check::check(config, stored))
    }
}

/// Rows and columns of the blocks that scales of the name `weight_scale_inv` are for, by `quantization_config`; nothing where
/// it does not say so in two positive sizes.
pub fn weight_block_size(config: &Value) -> Option<[usize; 2]> {
    let sizes = config["weight_block_size"].as_array()?.iter();
    let sizes: Option<Vec<usize>> = sizes.map(|size| usize::try_from(size.as_u64()?).ok()).collect();
    <[usize; 2]>::try_from(sizes?).ok().filter(|sizes| !sizes.contains(&0))
}

/// Every linear layer is FP8 except those that are listed.
fn quantization_config(model: &Model, plan: &Plan) -> Value {
    json!({
        "quant_method": METHOD,
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
        "modules_to_not_convert": list::entries(model, plan),
    })
}
