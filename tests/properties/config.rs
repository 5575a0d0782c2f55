//! `config.json`, with and without a configuration of quantisation.

use std::path::Path;

use qlua::checkpoint::quantisation::{at, method, places, quantization_config, says_something};
use qlua::diff::changes;
use qlua::json;
use qlua::write::{with_quantization_config, without_quantisation};
use serde_json::{Value, json};

use super::{require_message, scheme};

const KEY: &str = "quantization_config";

pub fn check(bytes: &[u8]) {
    let path = Path::new("config.json");
    scheme::check_with("config.json", bytes);
    let config: Value = match json::parse(path, bytes) {
        Ok(config) => config,
        Err(error) => return require_message(&error),
    };
    for place in places(&config) {
        assert!(at(&config, &place).is_some(), "{place:?}");
    }
    if let Some(found) = quantization_config(&config) {
        assert!(says_something(found));
        let _ = method(found);
    }
    if config.is_object() {
        require_exact_edits(path, bytes, &config);
    }
    assert!(changes(&config, &config).is_empty());
    let other = json!({"model_type": "other", "x": [1, "a"]});
    assert_eq!(changes(&config, &other).is_empty(), config == other);
}

/// An entry more or less leaves all else as it is.
fn require_exact_edits(path: &Path, bytes: &[u8], config: &Value) {
    let said = json!({"quant_method": "fp8", "ignore": ["lm_head"]});
    match with_quantization_config(path, bytes, &said) {
        Ok(text) => {
            let mut expected = config.clone();
            expected[KEY] = said;
            let written: Value = json::parse(path, &text).expect("what is written is JSON");
            assert_eq!(written, expected);
        }
        Err(error) => require_message(&error),
    }
    let text = without_quantisation(config, bytes);
    let written: Value = json::parse(path, &text).expect("what is written is JSON");
    assert_eq!(quantization_config(&written), None);
    let mut expected = config.clone();
    let saying: Vec<Vec<&str>> =
        places(config).into_iter().filter(|place| at(config, place).is_some_and(says_something)).collect();
    for place in saying {
        let Some((last, parents)) = place.split_last() else { continue };
        let parent = parents.iter().try_fold(&mut expected, |value, key| value.get_mut(*key));
        if let Some(fields) = parent.and_then(Value::as_object_mut) {
            fields.remove(*last);
        }
    }
    assert_eq!(written, expected);
}
