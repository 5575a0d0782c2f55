//! The per-layer sensitivity report, in the published layouts.

use std::fmt::Write;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::python;
use crate::manifest::{Group, Manifest, compare_scores};

/// One line of the report: a group under its first format that quantises, or under `NONE` where it has no other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row<'a> {
    /// The group's name.
    pub layer: &'a str,
    /// The format's effective bits per weight.
    #[serde(serialize_with = "readable")]
    pub num_bits: f64,
    /// The format's score: higher is more harmful.
    #[serde(serialize_with = "readable")]
    pub sensitivity: f64,
    /// The format's cost, in weights of 16 bits.
    #[serde(serialize_with = "readable")]
    pub size_cost: f64,
}

/// JSON has no NaN and no infinities: they become the strings that [`crate::json::Number`] reads back.
fn readable<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(*value)
    } else {
        serializer.serialize_str(python::not_finite(*value))
    }
}

/// The rows of the report, most sensitive first; ties keep model order.
pub fn rows(manifest: &Manifest) -> Vec<Row<'_>> {
    let mut rows: Vec<Row> = manifest.groups().iter().filter_map(row).collect();
    rows.sort_by(|a, b| compare_scores(b.sensitivity, a.sensitivity));
    rows
}

fn row(group: &Group) -> Option<Row<'_>> {
    let shown = group.candidate().or_else(|| group.option(0))?;
    Some(Row {
        layer: &group.name,
        num_bits: shown.format.effective_bits,
        sensitivity: shown.score,
        size_cost: shown.cost,
    })
}

/// The report as Markdown. A manifest of version 0 gives its own published layout, byte for byte; later ones that of
/// versions 1 and 2, which names the model and calls the last column `Size Cost`.
pub fn markdown(manifest: &Manifest) -> String {
    let (costs, keys) = match manifest.version() {
        0 => ("Costs", "keys end"),
        _ => ("Size Cost", "keys may end"),
    };
    let scheme = manifest.scheme_name().unwrap_or("unnamed");
    let title = format!("AutoQuant Layer Sensitivity ({scheme})");
    let mut text = format!("\n{title}\n{}\n\n", "=".repeat(title.chars().count()));
    let mut fact = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("\n**{label}:** `{value}`\n"));
        }
    };
    fact("Scheme", Some(scheme.to_string()));
    fact("Model", manifest.model_id().map(str::to_string));
    fact("Effective bits (from search)", manifest.effective_bits().map(|bits| python::fixed(bits, 4)));
    fact("Total AutoQuant score", manifest.score().map(|score| python::scientific(score, 6)));
    let satisfied = manifest.is_satisfied().map(|yes| if yes { "True" } else { "False" }.to_string());
    fact("Constraint satisfied", satisfied);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "## Per-layer sensitivity table\n\n\n\
         - **Layer**: Name of the quant_recipe handle for a group of quantizable modules (e.g., attention or MLP \
         projections).\n\
         - **Num Bits**: Effective number of bits allocated for the quantized recipe(s) considered at this layer.\n\
         - **Sensitivity**: AutoQuant sensitivity score for the quantized recipe(s). Higher values indicate that \
         quantizing this layer is more harmful to model quality.\n\
         - **{costs}**: Approximate compressed weight size contribution of the layer under the corresponding \
         recipe(s). Higher values indicate more memory usage.\n\n\
         Note: In the JSON manifest, layer {keys} with `.quant_recipe` (e.g., \
         `language_model.layers.0.mlp.gate_proj.quant_recipe`). This suffix is added by ModelOpt to represent the \
         AutoQuant hyperparameter attached to that module. In this table we strip the `.quant_recipe` suffix for \
         readability; the underlying module path is the part before that suffix.\n\n\
         |Layer|Num Bits|Sensitivity|{costs}|\n| :--- | :--- | :--- | :--- |\n"
    );
    for row in rows(manifest) {
        let _ = writeln!(
            text,
            "|{}|{}|{}|{}|",
            row.layer.replace('|', "\\|"),
            python::fixed(row.num_bits, 1),
            python::scientific(row.sensitivity, 3),
            python::scientific(row.size_cost, 3),
        );
    }
    text
}

/// The report as JSON: `scheme`, `model` and `autoquant_state` as in the manifest, then the rows, laid out as Python's
/// `json.dump(…, indent=2)` does. NaN and infinities become the strings `NaN`, `Infinity` and `-Infinity`.
pub fn json(manifest: &Manifest) -> Vec<u8> {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(skip_serializing_if = "Value::is_null")]
        scheme: &'a Value,
        #[serde(skip_serializing_if = "Value::is_null")]
        model: &'a Value,
        #[serde(skip_serializing_if = "Value::is_null")]
        autoquant_state: &'a Value,
        layer_sensitivity: Vec<Row<'a>>,
    }
    python::json(&Report {
        scheme: manifest.scheme(),
        model: manifest.model(),
        autoquant_state: manifest.autoquant_state(),
        layer_sensitivity: rows(manifest),
    })
}
