//! `hf_quant_config.json` of ModelOpt against what is on disk.

use serde_json::Value;

use super::layers::{Layer, Layers};
use super::{Code, Problem};
use crate::checkpoint::HF_QUANT_CONFIG;
use crate::selector::Globs;

pub(super) fn check(config: &Value, layers: &Layers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut configuration =
        |message: String| problems.push(Problem::new(Code::Configuration, HF_QUANT_CONFIG, message));
    if config["producer"]["name"] != "modelopt" && config["quant_method"] != "modelopt" {
        configuration(
            "neither the producer nor quant_method is modelopt: vLLM does not recognise the file".into(),
        );
    }
    let quantization = &config["quantization"];
    match quantization["quant_algo"].as_str() {
        Some("FP8" | "FP8_PER_CHANNEL_PER_TOKEN") => {
            let dynamic = quantization["quant_algo"] == "FP8_PER_CHANNEL_PER_TOKEN";
            problems.extend(check_excludes(&quantization["exclude_modules"], dynamic, layers));
        }
        Some("MIXED_PRECISION") => problems.extend(check_mixed(&quantization["quantized_layers"], layers)),
        other => configuration(format!("quant_algo is {}, which is not checked", other.unwrap_or("missing"))),
    }
    problems
}

/// `FP8` means every linear layer except the excluded ones. Exclusion is by name or wildcard; vLLM also takes every entry
/// for a substring, so `model.layers.1` hits layers 10 to 19 as well.
fn check_excludes(excluded: &Value, dynamic: bool, layers: &Layers) -> Vec<Problem> {
    let entries: Vec<&str> = excluded.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut problems = Vec::new();
    let globs = match Globs::new(&entries) {
        Ok(globs) => globs,
        Err(error) => return vec![Problem::new(Code::Configuration, HF_QUANT_CONFIG, error.to_string())],
    };
    if !globs.matches("lm_head") {
        let message = "lm_head is not in exclude_modules: vLLM would read it as FP8";
        problems.push(Problem::new(Code::LmHead, "lm_head", message));
    }
    for layer in layers.layers.iter().filter(|l| l.name != "lm_head") {
        if !layer.is_fp8() {
            if !globs.matches(layer.name) {
                let message = format!(
                    "`{}` is {} and not in exclude_modules: loaders take it for FP8",
                    layer.name,
                    layer.weight.dtype()
                );
                problems.push(Problem::new(Code::NotExcluded, layer.name, message));
            }
            continue;
        }
        if let Some(entry) = entries.iter().find(|entry| layer.name.contains(entry.trim_end_matches('*'))) {
            let message = format!("`{}` is FP8, and the excluded `{entry}` matches it in vLLM", layer.name);
            problems.push(Problem::new(Code::WronglyExcluded, layer.name, message));
        }
        check_scales(layer, dynamic, &mut problems);
    }
    problems
}

fn check_mixed(quantized: &Value, layers: &Layers) -> Vec<Problem> {
    let mut problems = Vec::new();
    for layer in layers.layers.iter().filter(|l| l.name != "lm_head") {
        let listed = quantized.get(layer.name).is_some();
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

fn check_scales(layer: &Layer, dynamic: bool, problems: &mut Vec<Problem>) {
    let rows = layer.weight.shape()[0];
    if let Some(scale) = layer.weight_scale {
        let fits = match dynamic {
            true => scale.shape() == [rows] || scale.shape() == [rows, 1],
            false => scale.elements() == 1 && scale.shape().len() <= 1,
        };
        if !fits {
            let expected = if dynamic { format!("[{rows}]") } else { "[] or [1]".into() };
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
