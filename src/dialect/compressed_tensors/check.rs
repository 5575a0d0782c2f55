//! `quantization_config` of compressed-tensors against what is on disk.

use serde_json::Value;

use super::reading::{IgnoreReading, Matcher};
use crate::dialect::problem::{Code, Problem};
use crate::dialect::stored::{Layer, StoredLayers};
use crate::format::{Granularity, ScaleShape};
use crate::tensor::Dtype;

/// Formats under which loaders read E4M3 codes as they are; vLLM fails without any.
const FORMATS: [&str; 3] = ["float-quantized", "naive-quantized", "int-quantized"];

/// One entry of `config_groups`.
struct ConfigGroup {
    name: String,
    targets: Matcher,
    /// Whether it says that weights are FP8.
    fp8: bool,
    strategy: String,
    /// Nothing when only weights are quantised.
    dynamic: Option<bool>,
}

pub(super) fn check(config: &Value, stored: &StoredLayers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut configuration =
        |message: String| problems.push(Problem::new(Code::Configuration, "config.json", message));
    if config["quantization_status"] != "compressed" {
        configuration(format!(
            "quantization_status is {}, and loaders accept only compressed",
            config["quantization_status"]
        ));
    }
    let ignored = words(&config["ignore"]);
    let ignore = Matcher::new(ignored.iter().copied());
    let groups: Vec<ConfigGroup> = config["config_groups"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, g)| read_group(name, g, &config["format"]))
        .collect();
    if groups.is_empty() {
        configuration("config_groups is empty: nothing would be read as FP8".into());
    }
    for broken in ignore.broken.iter().chain(groups.iter().flat_map(|g| &g.targets.broken)) {
        configuration(format!("`{broken}` does not parse as a regular expression"));
    }

    let names = stored.model.modules();
    let head = names.in_memory(stored.head());
    let targets_head = groups.iter().any(|g| g.targets.matches("Linear") || g.targets.matches(&head));
    if targets_head && !ignore.matches(&head) {
        let message = format!("{head} is not in `ignore`: vLLM would read it as FP8");
        problems.push(Problem::new(Code::LmHead, stored.head(), message));
    }
    for entry in &ignore.names {
        let in_memory = names.on_disk(entry).map(|on_disk| names.in_memory(on_disk));
        if let Some(expected) = in_memory.filter(|expected| expected != entry) {
            let message = format!(
                "`ignore` names `{entry}`; Transformers knows it as `{expected}` and ignores the entry"
            );
            problems.push(Problem::new(Code::Spelling, entry, message));
        }
    }
    let in_f32 = stored.model.tensors().any(|(name, t)| name.ends_with(".weight") && t.dtype() == Dtype::F32);
    let mut engines: Vec<(IgnoreReading, Vec<(&Layer, String)>)> =
        IgnoreReading::of(stored.model, ignored.iter().copied())
            .into_iter()
            .map(|reading| (reading, Vec::new()))
            .collect();
    // Groups that were reported already.
    let mut misread: Vec<&str> = Vec::new();
    for layer in &stored.layers {
        let name = names.in_memory(layer.name);
        let group = groups.iter().find(|g| g.targets.matches(&name) || g.targets.matches("Linear"));
        let is_ignored = ignore.matches(&name);
        if group.is_some_and(|g| g.targets.matches("Linear"))
            && !layer.is_head()
            && is_ignored != layer.is_fp8()
        {
            for (reading, differing) in &mut engines {
                differing.extend(
                    reading
                        .asks_for(&name)
                        .filter(|asked| reading.ignores(asked) != is_ignored)
                        .map(|asked| (layer, asked)),
                );
            }
        }
        let group = group.filter(|_| !is_ignored);
        match (group, layer.is_fp8()) {
            (Some(group), true) if !group.fp8 => {
                if !misread.contains(&&*group.name) {
                    let message = format!(
                        "`{name}` is FP8, and `{}` of config_groups has another format or type for it",
                        group.name
                    );
                    problems.push(Problem::new(Code::Configuration, "config.json", message));
                    misread.push(&group.name);
                }
            }
            (Some(group), true) => check_layer(layer, group, in_f32, &mut problems),
            (Some(_), false) if layer.is_head() => {}
            (Some(_), false) => {
                let message = format!(
                    "`{name}` is {} and not in `ignore`: loaders take it for FP8",
                    layer.weight.dtype()
                );
                problems.push(Problem::new(Code::NotExcluded, layer.name, message));
            }
            (None, true) => {
                let message =
                    format!("`{name}` is FP8 and ignored or no target: its codes are taken for weights");
                problems.push(Problem::new(Code::WronglyExcluded, layer.name, message));
            }
            (None, false) => {}
        }
    }
    problems.extend(engines.iter().filter_map(|(reading, differing)| misread_by(reading, differing)));
    problems
}

/// The entries of a list.
fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// One finding for all layers that an engine takes for the other format, with the names under which it looks for them.
fn misread_by(reading: &IgnoreReading, differing: &[(&Layer, String)]) -> Option<Problem> {
    let (layer, asked) = differing.first()?;
    let engine = reading.engine.name();
    let (is, taken, why) = match layer.is_fp8() {
        true => ("FP8", "BF16", "an entry of `ignore` hits"),
        false => ("BF16", "FP8", "no entry of `ignore` hits"),
    };
    let more = match differing.len() {
        1 => String::new(),
        n => format!(", the first of {n} such layers"),
    };
    let message = format!(
        "{engine} takes `{}`, which is {is}, for {taken}{more}: it looks for `{asked}`, which {why}; list regular expressions \
         that begin with `re:((model|language_model)\\.)*` and name the fused layer beside its parts, as qlua writes them",
        layer.name
    );
    Some(Problem::new(Code::EngineSpelling, layer.name, message))
}

/// Reads an entry of `config_groups`; its own format goes before that of the whole configuration.
fn read_group(name: &str, group: &Value, format: &Value) -> ConfigGroup {
    let activations = &group["input_activations"];
    let format = group["format"].as_str().or(format.as_str());
    ConfigGroup {
        name: name.into(),
        targets: Matcher::new(words(&group["targets"]).into_iter()),
        fp8: group["weights"]["type"] == "float"
            && group["weights"]["num_bits"] == 8
            && format.is_some_and(|format| FORMATS.contains(&format)),
        strategy: group["weights"]["strategy"].as_str().unwrap_or("tensor").into(),
        dynamic: (!activations.is_null()).then(|| activations["dynamic"].as_bool().unwrap_or(false)),
    }
}

/// `in_f32` says that the rest of the model is F32, and so may its scales be.
fn check_layer(layer: &Layer, group: &ConfigGroup, in_f32: bool, problems: &mut Vec<Problem>) {
    let granularity = group.strategy.parse::<Granularity>().ok();
    let expected = granularity.and_then(|g| ScaleShape::WithOnes.of(g, layer.weight.shape()).ok());
    if let (Some(expected), Some(scale)) = (expected, layer.weight_scale)
        && scale.shape() != expected
    {
        let message = format!(
            "`{}.weight_scale` has shape {:?}; the strategy {} needs {expected:?}",
            layer.name,
            scale.shape(),
            group.strategy
        );
        problems.push(Problem::new(Code::ScaleShape, layer.name, message));
    }
    for (leaf, scale) in [("weight_scale", layer.weight_scale), ("input_scale", layer.input_scale)] {
        if scale.is_some_and(|scale| scale.dtype() == Dtype::F32) && !in_f32 {
            let message = format!(
                "`{}.{leaf}` is F32; Transformers 5.20 fails on it, other releases round it",
                layer.name
            );
            problems.push(Problem::new(Code::ScaleShape, layer.name, message));
        }
    }
    match (group.dynamic, layer.input_scale) {
        (Some(false), None) => {
            let message = format!(
                "`{}` is static without an input_scale: loaders run it with an arbitrary one",
                layer.name
            );
            problems.push(Problem::new(Code::MissingInputScale, layer.name, message));
        }
        (Some(false), Some(scale)) if scale.shape() != [1] => {
            let message =
                format!("`{}.input_scale` has shape {:?}; it must be [1]", layer.name, scale.shape());
            problems.push(Problem::new(Code::ScaleShape, layer.name, message));
        }
        (Some(true) | None, Some(_)) => {
            let message = format!(
                "`{}` has an input_scale, which dynamic activations do not have; loaders reject it",
                layer.name
            );
            problems.push(Problem::new(Code::ExtraInputScale, layer.name, message));
        }
        _ => {}
    }
}
