//! ModelOpt's configuration, in `hf_quant_config.json` or in `config.json`, against what is on disk.

use std::collections::BTreeMap;

use serde_json::Value;

use super::METHOD;
use super::excludes::Excludes;
use crate::checkpoint::HF_QUANT_CONFIG;
use crate::dialect::claims::{CONFIG, Claims, ModelOptClaim};
use crate::dialect::problem::{Code, Problem};
use crate::dialect::stored::{Layer, StoredLayers};
use crate::format::{Granularity, ScaleShape};
use crate::units::counted;

/// What goes beyond a single claim: one file of its name, and none of it in `config.json`.
pub(super) fn check_files(claims: &Claims) -> Vec<Problem> {
    let mut problems = Vec::new();
    if claims.hf_files.len() > 1 {
        let message = format!("{} lie at the top level; loaders expect one", claims.hf_files.join(" and "));
        problems.push(Problem::new(Code::Configuration, HF_QUANT_CONFIG, message));
    }
    if claims.method() == Some(METHOD) {
        problems.push(Problem::new(
            Code::ModeloptMethod,
            CONFIG,
            "config.json says quant_method modelopt, which Transformers has no reader for: it drops the scales and takes \
             raw codes for weights",
        ));
    }
    problems
}

pub(super) fn check(claim: &ModelOptClaim, stored: &StoredLayers) -> Vec<Problem> {
    let ModelOptClaim { file, config } = claim;
    let mut problems = Vec::new();
    let mut configuration =
        |message: String| problems.push(Problem::new(Code::Configuration, *file, message));
    if config["producer"]["name"] != "modelopt" && config["quant_method"] != "modelopt" {
        configuration(
            "neither the producer nor quant_method is modelopt: vLLM does not recognise the file".into(),
        );
    }
    let quantization = &config["quantization"];
    match quantization["quant_algo"].as_str() {
        Some("FP8" | "FP8_PER_CHANNEL_PER_TOKEN") => {
            let dynamic = quantization["quant_algo"] == "FP8_PER_CHANNEL_PER_TOKEN";
            match Excludes::new(&quantization["exclude_modules"]) {
                Ok(excludes) => problems.extend(check_excludes(&excludes, dynamic, stored)),
                Err(error) => configuration(error.to_string()),
            }
        }
        Some("MIXED_PRECISION") => {
            problems.extend(check_mixed(file, &quantization["quantized_layers"], stored))
        }
        Some(other) => {
            let message = format!("quant_algo is {other}, and what is stored so is not checked");
            problems.push(Problem::new(Code::NotChecked, *file, message));
        }
        None => configuration("quant_algo is missing".into()),
    }
    problems
}

/// `FP8` means every linear layer except the excluded ones.
fn check_excludes(excludes: &Excludes, dynamic: bool, stored: &StoredLayers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let head = stored.head();
    if !excludes.everywhere(head) {
        let message = format!("{head} is not in exclude_modules: vLLM would read it as FP8");
        problems.push(Problem::new(Code::LmHead, head, message));
    }
    for layer in &stored.layers {
        if layer.is_fp8() {
            if let Some(entry) = excludes.anywhere(layer.name) {
                let message = format!("`{}` is FP8, and the excluded `{entry}` matches it", layer.name);
                problems.push(Problem::new(Code::WronglyExcluded, layer.name, message));
            }
            check_scales(layer, dynamic, &mut problems);
        } else if !layer.is_head() && !excludes.everywhere(layer.name) {
            let message = format!(
                "`{}` is {} and not in exclude_modules: loaders take it for FP8",
                layer.name,
                layer.weight.dtype()
            );
            problems.push(Problem::new(Code::NotExcluded, layer.name, message));
        }
    }
    problems
}

fn check_mixed(file: &str, quantized: &Value, stored: &StoredLayers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let algorithm = |layer: &serde_json::Map<String, Value>| {
        layer.get("quant_algo").and_then(Value::as_str).map(str::to_string)
    };
    let mut others = BTreeMap::<String, usize>::new();
    for entry in quantized.as_object().into_iter().flatten().filter_map(|(_, entry)| entry.as_object()) {
        if let Some(other) = algorithm(entry).filter(|algorithm| algorithm != "FP8") {
            *others.entry(other).or_default() += 1;
        }
    }
    for (other, count) in others {
        let message = format!("{} in {other} by quantized_layers, which is not checked", are(count));
        problems.push(Problem::new(Code::NotChecked, file, message));
    }
    for layer in &stored.layers {
        let entry = quantized.get(layer.name);
        let listed = entry.is_some();
        let said = entry.and_then(Value::as_object).and_then(algorithm);
        if said.is_some_and(|algorithm| algorithm != "FP8") {
            continue;
        }
        match (listed, layer.is_fp8()) {
            (true, false) => {
                let message =
                    format!("`{}` is listed as quantised and is {}", layer.name, layer.weight.dtype());
                problems.push(Problem::new(Code::NotExcluded, layer.name, message));
            }
            (false, true) => {
                let message = format!(
                    "`{}` is FP8 and not listed as quantised: its codes are taken for weights",
                    layer.name
                );
                problems.push(Problem::new(Code::WronglyExcluded, layer.name, message));
            }
            (true, true) => check_scales(layer, false, &mut problems),
            (false, false) => {}
        }
    }
    problems
}

/// `1 layer is`, `3 layers are`.
fn are(count: usize) -> String {
    format!("{} {}", counted(count, "layer"), if count == 1 { "is" } else { "are" })
}

fn check_scales(layer: &Layer, dynamic: bool, problems: &mut Vec<Problem>) {
    let granularity = if dynamic { Granularity::Channel } else { Granularity::Tensor };
    if let Some(scale) = layer.weight_scale {
        let [with_ones, without] = ScaleShape::ALL.map(|form| form.of(granularity, layer.weight.shape()));
        let (with_ones, without) = (with_ones.unwrap_or_default(), without.unwrap_or_default());
        if scale.shape() != with_ones && scale.shape() != without {
            let expected =
                if dynamic { format!("{without:?}") } else { format!("{without:?} or {with_ones:?}") };
            let message =
                format!("`{}.weight_scale` has shape {:?}; it must be {expected}", layer.name, scale.shape());
            problems.push(Problem::new(Code::ScaleShape, layer.name, message));
        }
    }
    match (dynamic, layer.input_scale) {
        (false, None) => {
            let message = format!(
                "`{}` has no input_scale, and FP8 is static: vLLM runs it with an arbitrary one",
                layer.name
            );
            problems.push(Problem::new(Code::MissingInputScale, layer.name, message));
        }
        (false, Some(scale)) if scale.elements() != 1 || scale.shape().len() > 1 => {
            let message =
                format!("`{}.input_scale` has shape {:?}; it must be [] or [1]", layer.name, scale.shape());
            problems.push(Problem::new(Code::ScaleShape, layer.name, message));
        }
        (true, Some(_)) => {
            let message = format!(
                "`{}` has an input_scale, which dynamic activations do not have; loaders reject it",
                layer.name
            );
            problems.push(Problem::new(Code::ExtraInputScale, layer.name, message));
        }
        _ => {}
    }
}
