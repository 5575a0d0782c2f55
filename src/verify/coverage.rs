//! What the records of a scheme say is quantised against what is.

use std::collections::{BTreeSet, HashSet};

use super::{Code, Problem};
use crate::checkpoint::{HF_QUANT_CONFIG, RECORDS};
use crate::dialect::{CONFIG, ClaimPlace, Claims, DialectId, StoredLayers};
use crate::manifest::Coverage;
use crate::model::{Model, expert_group, fused_group};
use crate::record::{FileInDirectory, ProvenanceRecord};

/// How the name of a coverage manifest ends.
const COVERAGE: &str = "_coverage_from_baseline.json";
/// What stands behind the name of a group in its key.
const KEY: &str = ".quant_recipe";
/// How many names a message lists.
const LISTED: usize = 3;

/// The coverage manifest against the weights.
pub(super) fn check(model: &Model, stored: &StoredLayers, files: &[FileInDirectory]) -> Vec<Problem> {
    let folder = format!("{RECORDS}/");
    let is_one = |found: &&FileInDirectory| {
        found.name.strip_prefix(&folder).is_some_and(|name| !name.contains('/') && name.ends_with(COVERAGE))
    };
    files.iter().filter(is_one).flat_map(|found| check_file(model, stored, found)).collect()
}

fn check_file(model: &Model, stored: &StoredLayers, found: &FileInDirectory) -> Vec<Problem> {
    let problem = |message: String| Problem::new(Code::Coverage, &found.name, message);
    let coverage = match Coverage::open(model.directory().join(&found.path)) {
        Ok(coverage) => coverage,
        Err(error) => return vec![problem(format!("the coverage manifest cannot be read: {error}"))],
    };
    let mut problems = Vec::new();
    let counts = [
        ("num_layers_selected", coverage.num_layers_selected, coverage.selected_layers.len()),
        ("num_layers_dropped", coverage.num_layers_dropped, coverage.dropped_layers.len()),
    ];
    for (key, stated, listed) in counts.into_iter().filter(|(_, stated, listed)| stated != listed) {
        problems.push(problem(format!("`{}` says {key} {stated} and lists {listed}", found.name)));
    }
    let fp8: HashSet<&str> = stored.fp8().map(|layer| layer.name).collect();
    let kept: HashSet<&str> = coverage.kept_in_bf16.iter().map(|kept| kept.layer.as_str()).collect();
    let modules = |keys: &[String]| -> BTreeSet<String> {
        let named = keys.iter().filter(|key| !kept.contains(key.as_str()));
        let names = named.flat_map(|key| {
            let name = key.strip_suffix(KEY).unwrap_or(key);
            let experts = model.modules().experts(name);
            match model.modules().on_disk(name) {
                _ if !experts.is_empty() => experts.into_iter().map(str::to_string).collect(),
                Some(on_disk) => vec![on_disk.to_string()],
                None => Vec::new(),
            }
        });
        names.collect()
    };
    let selected = modules(&coverage.selected_layers);
    let mut dropped = modules(&coverage.dropped_layers);
    dropped.extend(modules(&coverage.unscored_layers));
    let mut wrong = |names: Vec<&String>, what: &str| {
        if names.is_empty() {
            return;
        }
        let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > LISTED { ", …" } else { "" };
        let message = format!("by the coverage manifest {}{more} {what}", listed.join(", "));
        problems.push(problem(message));
    };
    wrong(
        selected.iter().filter(|name| !fp8.contains(name.as_str())).collect(),
        "is selected, and is not FP8",
    );
    wrong(dropped.iter().filter(|name| fp8.contains(name.as_str())).collect(), "is not selected, and is FP8");
    // Parts of what loaders fuse follow their group; everything else has a name of its own.
    let groups: HashSet<(&str, &str)> =
        selected.iter().chain(&dropped).flat_map(|name| groups_of(name)).collect();
    let is_named = |name: &&str| {
        selected.contains(*name)
            || dropped.contains(*name)
            || groups_of(name).any(|group| groups.contains(&group))
    };
    let strange: Vec<String> =
        fp8.iter().filter(|name| !is_named(name)).map(|name| name.to_string()).collect();
    let mut strange: Vec<&String> = strange.iter().collect();
    strange.sort();
    wrong(strange, "is in no group, and is FP8");
    problems
}

fn groups_of(name: &str) -> impl Iterator<Item = (&str, &str)> {
    fused_group(name).into_iter().chain(expert_group(name))
}

/// That what the dialect of `record` writes is there, which loaders need to take codes for codes.
pub(super) fn check_claims(record: &ProvenanceRecord, claims: &Claims) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Ok(dialect) = record.layout.dialect.parse::<DialectId>() else { return problems };
    let mut lost = |what: &str, file: &str, readers: &str| {
        let message = format!("the scheme is {dialect} and has no {what}: {readers}");
        problems.push(Problem::new(Code::Configuration, file, message));
    };
    for place in dialect.dialect().claim_places() {
        match place {
            ClaimPlace::Configuration if claims.method().is_none() => {
                let readers = "vLLM, SGLang and Transformers look for it there";
                lost("quantization_config in config.json", CONFIG, readers);
            }
            ClaimPlace::HfQuantConfig if !claims.hf_files.iter().any(|name| name == HF_QUANT_CONFIG) => {
                lost(HF_QUANT_CONFIG, HF_QUANT_CONFIG, "readers of ModelOpt's exports look for it");
            }
            ClaimPlace::Configuration | ClaimPlace::HfQuantConfig => {}
        }
    }
    problems
}

/// Whether scales are stored as compressed-tensors has them although nothing but ModelOpt's file says anything.
pub(super) fn check_half_claim(claims: &Claims, stored: &StoredLayers) -> Option<Problem> {
    let only_file = claims.method().is_none() && !claims.modelopt.is_empty();
    let is_other =
        |scale: &crate::tensor::Tensor| scale.dtype() == crate::tensor::Dtype::BF16 && scale.shape() == [1];
    let layer = stored.fp8().find(|layer| only_file && layer.weight_scale.is_some_and(is_other))?;
    let message = format!(
        "`{}` has a scale in BF16 of shape [1], as go with a quantization_config, and config.json has none: Transformers takes \
         codes for weights",
        layer.name
    );
    Some(Problem::new(Code::Configuration, CONFIG, message))
}
