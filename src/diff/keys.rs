//! The places of two JSON documents that differ.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::json::TOKEN_MARK;

/// A place at which two documents differ.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyChange {
    /// Where: `text_config.rope_scaling.type`, `layers[3].name`. A name that is in one of two lists of names alone has the path
    /// of the list and `[]`.
    pub path: String,
    /// What stands there in the first; nothing where there is no such place.
    pub a: Option<Value>,
    /// The same in the second.
    pub b: Option<Value>,
}

/// What differs between two documents as [`crate::json::parse_marked`] gives them, in the order of the first. The order of keys
/// is no difference.
pub fn changes(a: &Value, b: &Value) -> Vec<KeyChange> {
    let mut found = Vec::new();
    compare("", a, b, &mut found);
    found
}

fn compare(path: &str, a: &Value, b: &Value, found: &mut Vec<KeyChange>) {
    match (a, b) {
        _ if a == b => {}
        (Value::Object(a), Value::Object(b)) => compare_objects(path, a, b, found),
        (Value::Array(a), Value::Array(b)) if a.iter().chain(b).all(Value::is_string) => {
            compare_names(path, a, b, found);
        }
        (Value::Array(a), Value::Array(b)) => {
            for at in 0..a.len().max(b.len()) {
                compare_places(format!("{path}[{at}]"), a.get(at), b.get(at), found);
            }
        }
        _ => found.push(change(path.into(), Some(a), Some(b))),
    }
}

fn compare_places(path: String, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<KeyChange>) {
    match (a, b) {
        (Some(a), Some(b)) => compare(&path, a, b, found),
        _ => found.push(change(path, a, b)),
    }
}

fn compare_objects(path: &str, a: &Map<String, Value>, b: &Map<String, Value>, found: &mut Vec<KeyChange>) {
    let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
    for key in keys {
        compare_places(below(path, key), a.get(key), b.get(key), found);
    }
}

/// Lists of modules may be long, and one more or less shifts all that follow: what counts is which names are there. The order
/// is told where nothing else differs.
fn compare_names(path: &str, a: &[Value], b: &[Value], found: &mut Vec<KeyChange>) {
    let mut surplus: HashMap<&Value, i64> = HashMap::new();
    a.iter().for_each(|name| *surplus.entry(name).or_default() += 1);
    b.iter().for_each(|name| *surplus.entry(name).or_default() -= 1);
    let before = found.len();
    let path_of_one = || format!("{path}[]");
    for name in a {
        if let Some(count) = surplus.get_mut(name).filter(|count| **count > 0) {
            *count -= 1;
            found.push(change(path_of_one(), Some(name), None));
        }
    }
    for name in b {
        if let Some(count) = surplus.get_mut(name).filter(|count| **count < 0) {
            *count += 1;
            found.push(change(path_of_one(), None, Some(name)));
        }
    }
    if found.len() == before {
        let list = |names: &[Value]| Value::Array(names.to_vec());
        found.push(change(path.into(), Some(&list(a)), Some(&list(b))));
    }
}

/// The path of `key` in the object at `path`; a key that would be taken for several is put between quotes.
fn below(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && !key.contains(['.', '[', ']', '"', ' ']);
    match (path, is_plain) {
        ("", true) => key.into(),
        (_, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", Value::from(key)),
    }
}

fn change(path: String, a: Option<&Value>, b: Option<&Value>) -> KeyChange {
    KeyChange { path, a: a.map(unmarked), b: b.map(unmarked) }
}

/// `value` with Python's bare tokens as strings: JSON has no others.
fn unmarked(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(text.strip_prefix(TOKEN_MARK).unwrap_or(text)),
        Value::Array(values) => values.iter().map(unmarked).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), unmarked(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(a: &Value, b: &Value) -> Vec<String> {
        let side = |value: &Option<Value>| value.as_ref().map_or("–".into(), Value::to_string);
        changes(a, b)
            .iter()
            .map(|change| format!("{}: {} → {}", change.path, side(&change.a), side(&change.b)))
            .collect()
    }

    #[test]
    fn each_place_that_differs_is_named_once() {
        let a = json!({"x": 1, "y": {"z": [1, {"k": true}], "gone": null}, "same": [1]});
        let b = json!({"same": [1], "y": {"z": [1, {"k": false}, 3], "a.b": 0}, "x": 1.0});
        assert_eq!(
            shown(&a, &b),
            [
                "x: 1 → 1.0",
                "y.z[1].k: true → false",
                "y.z[2]: – → 3",
                "y.gone: null → –",
                "y[\"a.b\"]: – → 0"
            ]
        );
        assert_eq!(shown(&a, &a), [""; 0]);
    }

    #[test]
    fn lists_of_names_are_compared_as_what_is_in_them() {
        let (a, b) = (json!({"ignore": ["a", "b", "c"]}), json!({"ignore": ["x", "b", "c"]}));
        assert_eq!(shown(&a, &b), ["ignore[]: \"a\" → –", "ignore[]: – → \"x\""]);
        assert_eq!(shown(&json!(["a", "b"]), &json!(["b", "a"])), [": [\"a\",\"b\"] → [\"b\",\"a\"]"]);
        assert_eq!(shown(&json!(["a", "a", "b"]), &json!(["a", "b"])), ["[]: \"a\" → –"]);
    }

    #[test]
    fn the_tokens_of_python_differ_from_strings_and_are_shown_without_their_mark() {
        let change = &changes(&json!(["\0NaN", 1]), &json!(["NaN", 1]))[0];
        assert_eq!((&change.a, &change.b), (&Some(json!("NaN")), &Some(json!("NaN"))));
    }
}
