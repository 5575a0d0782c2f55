//! `modelopt`: `hf_quant_config.json` as ModelOpt's export writes it.

mod check;
mod excludes;

use serde_json::{Value, json};

use super::claims::Claims;
use super::id::DialectId;
use super::interface::{ClaimPlace, Dialect, QuantisationFiles};
use super::problem::Problem;
use super::sglang::name_in_sglang;
use super::stored::StoredLayers;
use super::wholes::{asked_for_as_wholes, unquantised_mixtures, without_adapter};
use crate::error::Result;
use crate::format::{FormatId, Granularity, ScaleRule, ScaleShape};
use crate::model::{LM_HEAD, Model, bare_name};
use crate::plan::{Activations, Layout, Plan};

/// The name of the method in `quantization_config`.
pub(super) const METHOD: &str = "modelopt";

/// ModelOpt's own export. There is no `quantization_config`: with `quant_method: modelopt` there, Transformers, which has no
/// ModelOpt reader, drops the scales and takes raw codes for weights. vLLM and SGLang read `hf_quant_config.json`.
pub struct ModelOptDialect;

impl Dialect for ModelOptDialect {
    fn id(&self) -> DialectId {
        DialectId::ModelOpt
    }

    fn format(&self) -> FormatId {
        FormatId::Fp8
    }

    fn activations(&self) -> &'static [(Activations, Granularity)] {
        &[(Activations::Static, Granularity::Tensor), (Activations::Dynamic, Granularity::Channel)]
    }

    fn scale_rule(&self) -> ScaleRule {
        ScaleRule::F32
    }

    fn scale_shape(&self) -> ScaleShape {
        ScaleShape::WithoutOnes
    }

    fn methods(&self) -> &'static [&'static str] {
        &[METHOD]
    }

    fn claim_places(&self) -> &'static [ClaimPlace] {
        &[ClaimPlace::HfQuantConfig]
    }

    fn files(&self, model: &Model, plan: &Plan, layout: &Layout) -> QuantisationFiles {
        let hf_quant_config = Some(hf_quant_config(model, plan, layout));
        QuantisationFiles { quantization_config: None, hf_quant_config }
    }

    fn require_expressible(&self, model: &Model, plan: &Plan) -> Result<()> {
        excludes::require_distinct(&excluded(model, plan), plan)
    }

    fn check(&self, claims: &Claims, stored: &StoredLayers) -> Vec<Problem> {
        let mut problems = check::check_files(claims);
        problems.extend(claims.modelopt.iter().flat_map(|claim| check::check(claim, stored)));
        problems
    }
}

/// The ModelOpt release whose format this is. vLLM and SGLang recognise the file by the producer's name, so qlua stands beside it.
const FORMAT_VERSION: &str = "0.47.0";

/// BF16 beside FP8 is `FP8` with excluded modules, in on-disk spelling; `MIXED_PRECISION` would be for two quantised
/// formats, and readers handle it badly.
fn hf_quant_config(model: &Model, plan: &Plan, layout: &Layout) -> Value {
    let quant_algo = match layout.activations {
        Activations::Static => "FP8",
        Activations::Dynamic => "FP8_PER_CHANNEL_PER_TOKEN",
    };
    json!({
        "producer": {"name": "modelopt", "version": FORMAT_VERSION, "written_by": "qlua"},
        "quantization": {
            "quant_algo": quant_algo,
            "kv_cache_quant_algo": null,
            "exclude_modules": excluded(model, plan),
        },
    })
}

/// What stays as it is by its full name on disk, mixtures of experts also as a whole, as vLLM and SGLang look for them, then
/// `lm_head`: loaders must be told about the head even where it is tied and not stored.
fn excluded(model: &Model, plan: &Plan) -> Vec<String> {
    let listed = plan.listed(model).filter(|module| *module != LM_HEAD).flat_map(|module| {
        // Where an engine runs the model as Transformers does, layers are called as they are there.
        let in_memory = model.modules().names_in_memory(module).into_iter();
        let others = in_memory.filter(move |name| bare_name(name) != bare_name(module));
        [module.to_string()]
            .into_iter()
            .chain(others)
            .chain(name_in_sglang(model, module))
            .chain(without_adapter(module))
    });
    let mixtures = unquantised_mixtures(model, plan).into_iter().flat_map(|mixture| mixture.names);
    let wholes = asked_for_as_wholes(model, plan);
    let shared = model.modules().shared_tails().map(str::to_string);
    listed.chain(mixtures).chain(wholes).chain(shared).chain([LM_HEAD.to_string()]).collect()
}
