//! `quantization_config` of compressed-tensors against what is on disk.

use serde_json::Value;

use super::reading::{IgnoreReading, Matcher};
use crate::dialect::claims::CONFIG;
use crate::dialect::foreign::block_structure;
use crate::dialect::problem::{Code, Problem};
use crate::dialect::stored::{Layer, StoredLayers};
use crate::format::{BLOCK_SIZE, Granularity, ScaleShape};
use crate::model::LM_HEAD;
use crate::tensor::Dtype;

/// Formats under which loaders read E4M3 codes as they are; vLLM fails without any.
const FORMATS: [&str; 3] = ["float-quantized", "naive-quantized", "int-quantized"];

/// One entry of `config_groups`.
struct ConfigGroup {
    name: String,
    targets: Matcher,
    format: String,
    /// Whether it says that weights are FP8.
    fp8: bool,
    strategy: String,
    /// Rows and columns of its blocks.
    block: [usize; 2],
    /// Nothing when only weights are quantised.
    dynamic: Option<bool>,
}

/// Classes of modules that are targets and have nothing to do with linear layers.
const OTHER_CLASSES: [&str; 5] = ["Embedding", "Conv1d", "Conv2d", "Conv3d", "LayerNorm"];

pub(super) fn check(config: &Value, stored: &StoredLayers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut configuration =
        |message: String| problems.push(Problem::new(Code::Configuration, CONFIG, message));
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
    if let Some(target) = groups.iter().find_map(|g| g.unknown_class()) {
        let message = format!(
            "config_groups has the class `{target}` for a target: which layers that means, and whether they are stored so, is \
             not checked"
        );
        problems.push(Problem::new(Code::NotChecked, CONFIG, message));
        return problems;
    }
    let certain = problems.len();
    check_lists(config, stored, &ignore, &groups, &mut problems);
    if !ignore.is_understood() || !groups.iter().all(|g| g.targets.is_understood()) {
        problems.truncate(certain);
        let message = "`ignore` or a target of config_groups has a regular expression that is not understood here: which \
                       layers it hits is not checked";
        problems.push(Problem::new(Code::NotChecked, CONFIG, message));
    }
    problems
}

/// Every layer against what the lists say of it.
fn check_lists(
    config: &Value,
    stored: &StoredLayers,
    ignore: &Matcher,
    groups: &[ConfigGroup],
    problems: &mut Vec<Problem>,
) {
    let ignored = words(&config["ignore"]);
    let names = stored.model.modules();
    let mut heads = names.names_in_memory(stored.head());
    heads.extend_from_slice(names.tied_heads());
    let targeted = |head: &String| {
        groups.iter().any(|g| g.fp8 && (g.targets.matches("Linear") || g.targets.matches(head)))
    };
    if let Some(head) = heads.iter().find(|head| targeted(head) && !ignore.matches(head)) {
        let message = format!("{head} is not in `ignore`: loaders would read it as FP8");
        problems.push(Problem::new(Code::LmHead, stored.head(), message));
    }
    for entry in &ignore.names {
        // Every list names the head so, whatever it is called.
        let on_disk = names.on_disk(entry).filter(|_| entry != LM_HEAD);
        let expected = on_disk.map(|on_disk| names.names_in_memory(on_disk)).unwrap_or_default();
        if !expected.is_empty() && !expected.contains(entry) {
            let message = format!(
                "`ignore` names `{entry}`; Transformers knows it as `{}` and ignores the entry",
                expected.join("` or `")
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
        // Lines of Transformers may have names of their own: what holds has to hold in all of them.
        let in_memory = names.names_in_memory(layer.name);
        let name = in_memory[0].clone();
        let group = groups.iter().find(|g| g.targets.matches(&name) || g.targets.matches("Linear"));
        let is_ignored = match layer.is_fp8() {
            true => in_memory.iter().any(|name| ignore.matches(name)),
            false => in_memory.iter().all(|name| ignore.matches(name)),
        };
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
                    problems.push(Problem::new(Code::Configuration, CONFIG, message));
                    misread.push(&group.name);
                }
            }
            (Some(group), true) => check_layer(layer, group, in_f32, problems),
            (Some(_), false) if layer.is_head() => {}
            // What else a group packs is not known here.
            (Some(group), false) if !group.fp8 => {}
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
    for group in groups.iter().filter(|group| !group.fp8 && !misread.contains(&&*group.name)) {
        let message =
            format!("`{}` of config_groups is {}, and its layers are not checked", group.name, group.format);
        problems.push(Problem::new(Code::NotChecked, CONFIG, message));
    }
}

impl ConfigGroup {
    /// A target that is the name of a class of whose modules nothing is known here.
    fn unknown_class(&self) -> Option<&str> {
        let is_class = |name: &&String| {
            name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('.') && *name != "Linear"
        };
        let classes = self.targets.names.iter().filter(is_class);
        classes.map(String::as_str).find(|class| !OTHER_CLASSES.contains(class))
    }
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
        format: format.unwrap_or("of no format").into(),
        fp8: group["weights"]["type"] == "float"
            && group["weights"]["num_bits"] == 8
            && format.is_some_and(|format| FORMATS.contains(&format)),
        strategy: group["weights"]["strategy"].as_str().unwrap_or("tensor").into(),
        block: block_structure(&group["weights"]).unwrap_or(BLOCK_SIZE),
        dynamic: (!activations.is_null()).then(|| activations["dynamic"].as_bool().unwrap_or(false)),
    }
}

/// `in_f32` says that the rest of the model is F32, and so may its scales be.
fn check_layer(layer: &Layer, group: &ConfigGroup, in_f32: bool, problems: &mut Vec<Problem>) {
    let granularity = group.strategy.parse::<Granularity>().ok();
    let expected = granularity.and_then(|granularity| match granularity {
        Granularity::Block => granularity.shape_of_scales(layer.weight.shape(), group.block).ok(),
        _ => ScaleShape::WithOnes.of(granularity, layer.weight.shape()).ok(),
    });
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
