//! The per-layer sensitivity report, in the published layouts.

use std::fmt::Write;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::python;
use super::table::{Column, Table, compact_markdown};
use crate::manifest::{Group, Manifest, compare_scores};
use crate::shown;

/// One line of the report: a group under its first format that quantises, or under `NONE` where it has no other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRow<'a> {
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
pub fn rows(manifest: &Manifest) -> Vec<LayerRow<'_>> {
    let mut rows: Vec<LayerRow> = manifest.groups().iter().filter_map(row).collect();
    rows.sort_by(|a, b| compare_scores(b.sensitivity, a.sensitivity));
    rows
}

fn row(group: &Group) -> Option<LayerRow<'_>> {
    let shown = group.candidate().or_else(|| group.option(0))?;
    Some(LayerRow {
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
    let title = format!("AutoQuant Layer Sensitivity ({})", shown::line(scheme));
    let mut text = format!("\n{title}\n{}\n\n", "=".repeat(title.chars().count()));
    let mut fact = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("\n**{label}:** `{}`\n", shown::code(&value)));
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
         readability; the underlying module path is the part before that suffix.\n\n"
    );
    let mut table = Table::new(["Layer", "Num Bits", "Sensitivity", costs].map(Column::new));
    for row in rows(manifest) {
        table.push([
            row.layer.into(),
            python::fixed(row.num_bits, 1).into(),
            python::scientific(row.sensitivity, 3).into(),
            python::scientific(row.size_cost, 3).into(),
        ]);
    }
    text + &compact_markdown(&table)
}

/// The report as JSON: `scheme`, `model` and `autoquant_state` as in the manifest, then the rows, laid out as Python's
/// `json.dump(…, indent=2)` does. NaN and infinities become the strings `NaN`, `Infinity` and `-Infinity`.
pub fn json(manifest: &Manifest) -> Vec<u8> {
    #[derive(Serialize)]
    struct PerLayerReport<'a> {
        #[serde(skip_serializing_if = "Value::is_null")]
        scheme: &'a Value,
        #[serde(skip_serializing_if = "Value::is_null")]
        model: &'a Value,
        #[serde(skip_serializing_if = "Value::is_null")]
        autoquant_state: &'a Value,
        layer_sensitivity: Vec<LayerRow<'a>>,
    }
    python::json(&PerLayerReport {
        scheme: manifest.scheme(),
        model: manifest.model(),
        autoquant_state: manifest.autoquant_state(),
        layer_sensitivity: rows(manifest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let text = br#"{"scheme": {"name": "s"}, "model": {"id": "m"},
            "autoquant_state": {"constraints": {"effective_bits": NaN}, "score": 1e-05},
            "layer_sensitivity": {
            "none.quant_recipe": {"formats": ["NONE(effective-bits: 16.0)"], "scores": [0.0], "costs": [4.0]},
            "a.quant_recipe": {"formats": ["NONE(effective-bits: 16.0)", "F(effective-bits: 4.5)"],
                               "scores": [0.0, 0.25], "costs": [100.0, 28.125]},
            "broken.quant_recipe": {"formats": ["F(effective-bits: 8.0)"], "scores": [Infinity], "costs": [Infinity]},
            "b.quant_recipe": {"formats": ["F(effective-bits: 8.0)"], "scores": [0.25], "costs": [2e16]}}}"#;
        Manifest::parse("m.json", text).unwrap()
    }

    #[test]
    fn rows_come_most_sensitive_first_and_disabled_groups_show_none() {
        let manifest = manifest();
        let rows: Vec<_> =
            rows(&manifest).iter().map(|r| (r.layer, r.num_bits, r.sensitivity, r.size_cost)).collect();
        let expected = [
            ("broken", 8.0, f64::INFINITY, f64::INFINITY),
            ("a", 4.5, 0.25, 28.125),
            ("b", 8.0, 0.25, 2e16),
            ("none", 16.0, 0.0, 4.0),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn markdown_names_the_model_and_prints_broken_numbers_as_words() {
        let text = markdown(&manifest());
        assert!(text.starts_with(
            "\nAutoQuant Layer Sensitivity (s)\n===============================\n\n\n**Scheme:** `s`\n"
        ));
        assert!(text.contains("\n**Model:** `m`\n\n**Effective bits (from search):** `nan`\n"));
        assert!(text.contains("\n**Total AutoQuant score:** `1.000000e-05`\n## Per-layer"), "{text}");
        assert!(text.ends_with(
            "|Layer|Num Bits|Sensitivity|Size Cost|\n| :--- | :--- | :--- | :--- |\n|broken|8.0|inf|inf|\n\
             |a|4.5|2.500e-01|2.812e+01|\n|b|8.0|2.500e-01|2.000e+16|\n|none|16.0|0.000e+00|4.000e+00|\n"
        ));
    }

    #[test]
    fn broken_numbers_still_give_valid_json_that_reads_back() {
        let text = json(&manifest());
        let value: Value = serde_json::from_slice(&text).unwrap();
        let first = &value["layer_sensitivity"][0];
        assert_eq!((&first["sensitivity"], &first["size_cost"]), (&"Infinity".into(), &"Infinity".into()));
        assert_eq!(value["autoquant_state"]["constraints"]["effective_bits"], "NaN");
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\"score\": 1e-05\n") && text.contains("\"size_cost\": 2e+16\n"), "{text}");
    }
}
