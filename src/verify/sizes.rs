//! What of the tensors of a model could not be compared with its `config.json`, and what that file says that cannot be.

use serde_json::Value;

use super::{Code, Problem};
use crate::checkpoint::quantisation::{at, places};
use crate::dialect::CONFIG;
use crate::model::{Architecture, Model, missized};
use crate::tensor::Dtype;

/// How many names a message lists.
const LISTED: usize = 5;

/// Sizes that are none, and configurations of quantisation that are no objects.
pub(super) fn check_config(config: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for place in places(config) {
        let Some(value) = at(config, &place).filter(|value| !value.is_object() && !value.is_null()) else {
            continue;
        };
        let message = format!(
            "`{}` of config.json is {}, and loaders read an object there or nothing",
            place.join("."),
            kind_of(value)
        );
        problems.push(Problem::new(Code::Configuration, CONFIG, message));
    }
    let wrong = missized(config);
    if !wrong.is_empty() {
        let listed: Vec<String> =
            wrong.iter().take(LISTED).map(|size| format!("{} {}", size.key, size.value)).collect();
        let more = if wrong.len() > LISTED { ", …" } else { "" };
        let message =
            format!("config.json says {}{more}, and a size is a positive integer", listed.join(", "));
        problems.push(Problem::new(Code::Sizes, CONFIG, message));
    }
    problems
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text `{text}`"),
        Value::Array(_) => "a list".into(),
        other => format!("`{other}`"),
    }
}

/// What is said of a model whose tensors do not follow from its configuration, by the reason `why`.
pub(super) fn not_compared(model: &Model, why: &str) -> Problem {
    let names = match Architecture::of_config(model.config()) {
        Some(_) => {
            "blocks are compared with one another, and sizes that all blocks share, and what is in none, are not checked"
        }
        None => "the set of tensors and their sizes are not checked",
    };
    Problem::new(Code::NotChecked, CONFIG, format!("{why}: {names}"))
}

/// Weights and biases of integers or truth values, where no quantiser packs them.
pub(super) fn check_dtypes(model: &Model, is_quantised: bool) -> Vec<Problem> {
    let mut found =
        super::found::FoundTensors::new(Code::WeightDtype, "consist of what weights are not made of");
    for (name, tensor) in model.tensors() {
        let is_weight = ["weight", "bias"].contains(&name.rsplit('.').next().unwrap_or(name));
        let is_wrong = match tensor.dtype() {
            Dtype::Bool | Dtype::I64 | Dtype::U64 | Dtype::I16 | Dtype::U16 | Dtype::U32 | Dtype::C64 => true,
            Dtype::I32 | Dtype::I8 | Dtype::U8 | Dtype::F4 | Dtype::F6E2M3 | Dtype::F6E3M2 => !is_quantised,
            _ => false,
        };
        if is_weight && is_wrong {
            let message = format!("`{name}` is {}, and no loader makes floats of it", tensor.dtype());
            found.add(name, message);
        }
    }
    found.into_problems()
}
