//! What was found, as JSON. The schema is in `docs/diff.md`; keys are added to it and never renamed.

use serde_json::{Value, json};

use super::checkpoints::{CheckpointDiff, TensorCounts};
use super::keys::KeyChange;
use super::manifests::{GroupStanding, ManifestDiff};
use super::modules::ModuleDiff;
use super::pairs::{TensorDiff, TensorOutcome};
use super::values::ValueDifference;
use crate::tensor::TensorSpec;

impl CheckpointDiff {
    /// Everything, as `qlua diff --json` prints it.
    pub fn to_json(&self) -> Value {
        let configuration = self.configuration.iter().map(|found| key(Some(&found.file), &found.change));
        let differing = self.files.differing.iter();
        let differing =
            differing.map(|file| json!({"file": file.file, "bytes_a": file.a, "bytes_b": file.b}));
        json!({
            "kind": "checkpoints",
            "a": self.a,
            "b": self.b,
            "same": self.is_same(),
            "bytes_a": self.bytes[0],
            "bytes_b": self.bytes[1],
            "weights": counts(&self.weights),
            "quantisers": counts(&self.quantisers),
            "values": (self.values.elements > 0).then(|| values(&self.values)),
            "configuration": configuration.collect::<Vec<_>>(),
            "files": {
                "same": self.files.same,
                "only_in_a": self.files.only_in_a,
                "only_in_b": self.files.only_in_b,
                "differing": differing.collect::<Vec<_>>(),
                "other_text": self.files.other_text,
            },
            "modules": self.modules.iter().map(module).collect::<Vec<_>>(),
        })
    }
}

impl ManifestDiff {
    /// Everything, as `qlua diff --json` prints it.
    pub fn to_json(&self) -> Value {
        let formats = self.formats.iter();
        let formats =
            formats.map(|format| json!({"format": format.name, "groups_a": format.a, "groups_b": format.b}));
        let changed = self.changed.iter().map(|change| {
            json!({
                "group": change.name,
                "parts": change.parts,
                "shift": change.shift(),
                "a": standing(&change.a),
                "b": standing(&change.b),
            })
        });
        json!({
            "kind": "manifests",
            "a": self.a,
            "b": self.b,
            "same": self.is_same(),
            "groups_a": self.groups[0],
            "groups_b": self.groups[1],
            "keys": self.keys.iter().map(|change| key(None, change)).collect::<Vec<_>>(),
            "lists": self.lists,
            "formats": formats.collect::<Vec<_>>(),
            "only_in_a": self.only_in_a,
            "only_in_b": self.only_in_b,
            "ranked": self.ranked,
            "correlation": self.correlation.map(|found| {
                json!({"groups": found.groups, "spearman": found.spearman, "kendall": found.kendall})
            }),
            "changed": changed.collect::<Vec<_>>(),
        })
    }
}

/// A place that is only on one side has one of `a` and `b`; one that is null there has it all the same.
fn key(file: Option<&str>, change: &KeyChange) -> Value {
    let mut said = serde_json::Map::new();
    said.extend(file.map(|file| ("file".to_string(), file.into())));
    said.insert("path".into(), change.path.as_str().into());
    said.extend(change.a.clone().map(|value| ("a".to_string(), value)));
    said.extend(change.b.clone().map(|value| ("b".to_string(), value)));
    Value::Object(said)
}

fn counts(counts: &TensorCounts) -> Value {
    let TensorCounts { same, same_values, other_values, shape, unread, only_in_a, only_in_b } = counts;
    json!({
        "same": same,
        "same_values": same_values,
        "other_values": other_values,
        "shape": shape,
        "unread": unread,
        "only_in_a": only_in_a,
        "only_in_b": only_in_b,
    })
}

/// JSON has neither infinity nor NaN: they are null.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

fn values(values: &ValueDifference) -> Value {
    json!({
        "elements": values.elements,
        "differing": values.differing,
        "not_finite": values.not_finite,
        "max_difference": number(values.max_difference),
        "relative": number(values.relative()),
        "sqnr_db": number(values.sqnr_db()),
    })
}

fn module(module: &ModuleDiff) -> Value {
    json!({
        "module": module.name,
        "values": module.values().as_ref().map(values),
        "tensors": module.tensors.iter().map(tensor).collect::<Vec<_>>(),
    })
}

fn tensor(tensor: &TensorDiff) -> Value {
    let side = |spec: &Option<TensorSpec>| {
        spec.as_ref().map(|spec| {
            json!({"name": spec.name, "dtype": spec.dtype, "shape": spec.shape, "bytes": spec.bytes()})
        })
    };
    let why = match &tensor.outcome {
        TensorOutcome::Unread(why) => Some(why),
        _ => None,
    };
    json!({
        "role": tensor.role,
        "outcome": tensor.outcome.word(),
        "a": side(&tensor.a),
        "b": side(&tensor.b),
        "values": tensor.values().map(values),
        "why": why,
    })
}

fn standing(standing: &GroupStanding) -> Value {
    json!({
        "rank": standing.rank,
        "score": number(standing.score),
        "candidate": standing.candidate,
        "cost": standing.cost.map(number),
    })
}
