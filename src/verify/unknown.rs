//! Ways of quantisation that the checks do not know: of these nothing is said that might be untrue.

use super::{Code, Problem};
use crate::checkpoint::HF_QUANT_CONFIG;
use crate::dialect::{CONFIG, Claims, DialectId, StoredLayers};

/// Methods that have no FP8 layers at all.
const OF_INTEGERS: [&str; 4] = ["gptq", "awq", "bitsandbytes", "hqq"];
/// The algorithms of ModelOpt that are checked.
const ALGORITHMS: [&str; 3] = ["FP8", "FP8_PER_CHANNEL_PER_TOKEN", "MIXED_PRECISION"];

/// That the layers are not checked, where they are quantised in a way that is not known.
pub(super) fn check(claims: &Claims, stored: &StoredLayers) -> Option<Problem> {
    let not_checked = |file: &str, what: String| {
        Some(Problem::new(Code::NotChecked, file, format!("{what}, and its layers are not checked")))
    };
    let Some(method) = claims.method() else {
        let algorithms = claims.modelopt.iter().map(|claim| &claim.config["quantization"]["quant_algo"]);
        let mut unknown = algorithms.filter_map(|a| a.as_str()).filter(|a| !ALGORITHMS.contains(a));
        return not_checked(HF_QUANT_CONFIG, format!("quant_algo is {}", unknown.next()?));
    };
    let is_known = DialectId::ALL.iter().any(|id| id.dialect().methods().contains(&method));
    let has_fp8 = stored.fp8().next().is_some();
    let is_wrong = has_fp8 && OF_INTEGERS.contains(&method);
    if !is_known && !is_wrong {
        return not_checked(CONFIG, format!("the quant_method is {method}"));
    }
    let config = claims.configuration("fp8").filter(|_| has_fp8)?;
    // AutoFP8 and others give each tensor one scale under the name of the method that has blocks.
    let mut scales = stored.fp8().map(|layer| layer.weight_scale);
    if config["weight_block_size"].is_null() && scales.all(|scale| scale.is_some_and(|s| s.elements() == 1)) {
        return not_checked(CONFIG, "the quant_method is fp8 with one scale per tensor".into());
    }
    let has_scale = |name: &str| stored.model.tensor(&format!("{name}.scale")).is_some();
    if stored.fp8().any(|layer| layer.weight_scale.is_none() && has_scale(layer.name)) {
        return not_checked(CONFIG, "the quant_method is fp8 with scales called `scale`".into());
    }
    None
}
