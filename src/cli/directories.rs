//! What `qlua verify` and `qlua detach` have in common: they take directories.

use crate::options::{Kind, Parameter, Value};

/// One directory or more.
pub(super) fn parameter() -> Parameter {
    Parameter {
        required: true,
        repeated: true,
        ..Parameter::new("dir", Kind::Text, "a checkpoint directory")
    }
}

/// The directories among parsed values.
pub(super) fn of(values: &[(String, Value)]) -> Vec<&str> {
    let texts = values.iter().flat_map(|(_, value)| match value {
        Value::List(list) => list.as_slice(),
        other => std::slice::from_ref(other),
    });
    texts
        .filter_map(|value| match value {
            Value::Text(directory) => Some(directory.as_str()),
            _ => None,
        })
        .collect()
}
