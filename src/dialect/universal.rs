//! `universal`: one directory for every reader.

use super::claims::Claims;
use super::compressed_tensors::CompressedTensorsDialect;
use super::id::DialectId;
use super::interface::{ClaimPlace, Dialect, QuantisationFiles};
use super::modelopt::ModelOptDialect;
use super::problem::{Code, Problem};
use super::stored::StoredLayers;
use crate::error::Result;
use crate::format::{FormatId, Granularity, ScaleRule, ScaleShape};
use crate::model::Model;
use crate::plan::{Activations, Layout, Plan};

/// What compressed-tensors and ModelOpt say alike: `config.json` for vLLM, SGLang and Transformers, `hf_quant_config.json`
/// for readers of ModelOpt's exports.
pub struct UniversalDialect;

impl Dialect for UniversalDialect {
    fn id(&self) -> DialectId {
        DialectId::Universal
    }

    fn format(&self) -> FormatId {
        FormatId::Fp8
    }

    /// `FP8` in `hf_quant_config.json` is always static.
    fn activations(&self) -> &'static [(Activations, Granularity)] {
        &[(Activations::Static, Granularity::Tensor)]
    }

    fn scale_rule(&self) -> ScaleRule {
        CompressedTensorsDialect.scale_rule()
    }

    fn scale_shape(&self) -> ScaleShape {
        CompressedTensorsDialect.scale_shape()
    }

    fn methods(&self) -> &'static [&'static str] {
        CompressedTensorsDialect.methods()
    }

    fn claim_places(&self) -> &'static [ClaimPlace] {
        &[ClaimPlace::Configuration, ClaimPlace::HfQuantConfig]
    }

    fn files(&self, model: &Model, plan: &Plan, layout: &Layout) -> QuantisationFiles {
        QuantisationFiles {
            quantization_config: CompressedTensorsDialect.files(model, plan, layout).quantization_config,
            hf_quant_config: ModelOptDialect.files(model, plan, layout).hf_quant_config,
        }
    }

    fn require_expressible(&self, model: &Model, plan: &Plan) -> Result<()> {
        CompressedTensorsDialect.require_expressible(model, plan)?;
        ModelOptDialect.require_expressible(model, plan)
    }

    /// The two claims against each other; each has a check of its own.
    fn check(&self, claims: &Claims, _stored: &StoredLayers) -> Vec<Problem> {
        let is_dynamic = claims.compressed_tensors().is_some_and(|config| {
            let groups = config["config_groups"].as_object();
            groups.into_iter().flatten().any(|(_, group)| group["input_activations"]["dynamic"] == true)
        });
        let is_static =
            |claim: &&super::claims::ModelOptClaim| claim.config["quantization"]["quant_algo"] == "FP8";
        let contradicting = claims.modelopt.iter().filter(|claim| is_dynamic && is_static(claim));
        let problem = |claim: &super::claims::ModelOptClaim| {
            Problem::new(
                Code::Configuration,
                claim.file,
                "hf_quant_config.json says FP8, which is static, and config.json says dynamic activations",
            )
        };
        contradicting.map(problem).collect()
    }
}
