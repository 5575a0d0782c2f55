//! `quantization_config` with `quant_method: fp8` against what is on disk.

use serde_json::Value;

use super::list::{NotConvertedReading, beginning, is_plain};
use super::weight_block_size;
use crate::dialect::claims::CONFIG;
use crate::dialect::expression::{Expression, ExpressionBudget, Flaw};
use crate::dialect::problem::{Code, Problem};
use crate::dialect::stored::{Layer, StoredLayers};
use crate::model::{ModuleClass, fused_group};

/// The order in which loaders stack the parts of a fused layer; only the last may end within a block.
const LAST_PARTS: [&str; 2] = ["v_proj", "up_proj"];

pub(super) fn check(config: &Value, stored: &StoredLayers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut configuration =
        |message: String| problems.push(Problem::new(Code::Configuration, CONFIG, message));
    if let Some(other) = config["fmt"].as_str().filter(|fmt| *fmt != "e4m3") {
        configuration(format!("fmt is {other}, and loaders read the codes as e4m3"));
    }
    let block = weight_block_size(config);
    if block.is_none() {
        configuration(format!(
            "weight_block_size is {}, and loaders of fp8 need two positive sizes to read weight_scale_inv",
            config["weight_block_size"]
        ));
    }
    match config["activation_scheme"].as_str() {
        Some("dynamic") => {}
        Some("static") => configuration(
            "activation_scheme is static, and loaders read blocks of weights only with dynamic activations"
                .into(),
        ),
        other => configuration(format!("activation_scheme is {}, not dynamic", other.unwrap_or("missing"))),
    }
    let list = ["modules_to_not_convert", "ignored_layers"].map(|key| config[key].as_array());
    let list: Option<Vec<&str>> = list
        .into_iter()
        .flatten()
        .find(|list| !list.is_empty())
        .map(|list| list.iter().filter_map(Value::as_str).collect());
    if config["modules_to_not_convert"].as_array().is_none_or(Vec::is_empty)
        && config["ignored_layers"].as_array().is_some_and(|list| !list.is_empty())
    {
        configuration(
            "ignored_layers is no key of Transformers 4; modules_to_not_convert is read by all".into(),
        );
    }
    let mut is_understood = true;
    let (mut budget, mut others) = (ExpressionBudget::default(), ExpressionBudget::default());
    for entry in list.iter().flatten().filter(|entry| !is_plain(entry)) {
        if beginning(entry, &mut budget).is_ok() {
            continue;
        }
        if Expression::new(entry, &mut others).err() == Some(Flaw::Broken) {
            configuration(format!(
                "`{entry}` does not parse as a regular expression, which Transformers takes it for"
            ));
        } else {
            is_understood = false;
        }
    }
    if is_understood {
        problems.extend(check_lists(list.as_deref(), stored));
    } else {
        let message = "the list of exceptions has a regular expression that is not understood here: which layers it hits is not \
                       checked";
        problems.push(Problem::new(Code::NotChecked, CONFIG, message));
    }
    if let Some(block) = block {
        stored.fp8().for_each(|layer| check_layer(layer, block, stored, &mut problems));
    }
    problems
}

/// Layers that some engine takes for the other format; `list` is nothing where there is none, and Transformers leaves the
/// head alone of itself.
fn check_lists(list: Option<&[&str]>, stored: &StoredLayers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let names = stored.model.modules();
    let readings = NotConvertedReading::of(stored.model, list.unwrap_or_default());
    // What each engine but the first takes for the other format.
    let mut differing: Vec<Vec<&Layer>> = readings.iter().map(|_| Vec::new()).collect();
    let head = stored.head();
    let heads: Vec<String> = names.tied_heads().iter().cloned().chain([names.in_memory(head)]).collect();
    let in_transformers = || readings.iter().filter(|r| r.name.starts_with("Transformers"));
    let is_listed = |head: &&String| in_transformers().all(|reading| reading.ignores(head) == Some(true));
    if list.is_some()
        && let Some(head) = heads.iter().find(|head| !is_listed(head))
    {
        let message = format!("{head} is not in modules_to_not_convert: Transformers would read it as FP8");
        problems.push(Problem::new(Code::LmHead, head, message));
    }
    for layer in &stored.layers {
        let name = names.in_memory(layer.name);
        if layer.is_head() {
            if layer.is_fp8() {
                let message = format!("`{name}` is FP8, and vLLM and SGLang never read a head as that");
                problems.push(Problem::new(Code::LmHead, layer.name, message));
            }
            continue;
        }
        // Of a release without a list loaders know that its routers are as they are.
        if list.is_none() && names.class(layer.name) == Some(ModuleClass::Router) {
            continue;
        }
        let ignored: Vec<Option<bool>> = readings.iter().map(|reading| reading.ignores(&name)).collect();
        match (ignored[0].unwrap_or_default(), layer.is_fp8()) {
            (true, true) => {
                let message = format!(
                    "`{name}` is FP8, and an entry of modules_to_not_convert hits it: its codes are taken for weights"
                );
                problems.push(Problem::new(Code::WronglyExcluded, layer.name, message));
            }
            (false, false) => {
                let message = format!(
                    "`{name}` is {} and not in modules_to_not_convert: loaders take it for FP8",
                    layer.weight.dtype()
                );
                problems.push(Problem::new(Code::NotExcluded, layer.name, message));
            }
            _ => {
                let wrong = ignored.iter().map(|ignored| *ignored == Some(layer.is_fp8()));
                differing
                    .iter_mut()
                    .zip(wrong)
                    .filter(|(_, wrong)| *wrong)
                    .for_each(|(all, _)| all.push(layer));
            }
        }
    }
    problems
        .extend(readings.iter().zip(&differing).filter_map(|(reading, layers)| misread_by(reading, layers)));
    problems
}

/// One finding for all layers that an engine takes for the other format.
fn misread_by(reading: &NotConvertedReading, layers: &[&Layer]) -> Option<Problem> {
    let layer = layers.first()?;
    let (is, taken, why) = match layer.is_fp8() {
        true => ("FP8", "BF16", "an entry of modules_to_not_convert hits"),
        false => ("BF16", "FP8", "no entry of modules_to_not_convert hits"),
    };
    let more = match layers.len() {
        1 => String::new(),
        n => format!(", the first of {n} such layers"),
    };
    let message = format!(
        "{} takes `{}`, which is {is}, for {taken}{more}: {why} the name that it looks for; list whole names in memory, those \
         on disk beside them, and the parts of fused layers, as qlua writes them",
        reading.name, layer.name
    );
    Some(Problem::new(Code::EngineSpelling, layer.name, message))
}

/// The scales of one FP8 layer.
fn check_layer(layer: &Layer, block: [usize; 2], stored: &StoredLayers, problems: &mut Vec<Problem>) {
    let name = layer.name;
    let &[rows, columns] = layer.weight.shape() else { return };
    let expected = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
    match stored.model.tensor(&format!("{name}.weight_scale_inv")) {
        Some(scale) if scale.shape() != expected => {
            let message = format!(
                "`{name}.weight_scale_inv` has shape {:?}; blocks of {block:?} need {expected:?}",
                scale.shape()
            );
            problems.push(Problem::new(Code::ScaleShape, name, message));
        }
        None if layer.weight_scale.is_some() => {
            let message = format!(
                "`{name}` has its scales under weight_scale, and loaders of fp8 blocks look for weight_scale_inv"
            );
            problems.push(Problem::new(Code::WeightScale, name, message));
        }
        _ => {}
    }
    if layer.input_scale.is_some() {
        let message =
            format!("`{name}` has an input_scale, which dynamic activations do not have; loaders reject it");
        problems.push(Problem::new(Code::ExtraInputScale, name, message));
    }
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if fused_group(name).is_some() && !LAST_PARTS.contains(&leaf) && !rows.is_multiple_of(block[0]) {
        let message = format!(
            "`{name}` has {rows} rows, no multiple of the {} of a block: vLLM fuses it with its neighbours and refuses it",
            block[0]
        );
        problems.push(Problem::new(Code::ScaleShape, name, message));
    }
}
