//! What `config.json` says of quantisation, wherever it says so, and when it says nothing although a key is there.

use serde_json::Value;

const KEY: &str = "quantization_config";
/// What older releases of compressed-tensors called it.
const OLD_KEY: &str = "compression_config";

/// The places of `config` that have a configuration of quantisation, whatever it says: at the top, then inside of the
/// configurations of the model's parts, as some vision-language checkpoints have it in `text_config`.
pub fn places(config: &Value) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    visit(config, &mut Vec::new(), &mut found);
    found
}

fn visit<'a>(config: &'a Value, above: &mut Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) {
    let Some(fields) = config.as_object() else { return };
    let here = |key: &'a str| above.iter().copied().chain([key]).collect::<Vec<_>>();
    found.extend([KEY, OLD_KEY].into_iter().filter(|key| fields.contains_key(*key)).map(here));
    let parts = fields.iter().filter(|(key, _)| key.ends_with("_config") && *key != KEY && *key != OLD_KEY);
    for (key, part) in parts {
        above.push(key);
        visit(part, above, found);
        above.pop();
    }
}

/// What tells, in a configuration without a method, that weights are quantised all the same.
const TELLING: [&str; 16] = [
    "config_groups",
    "weight_block_size",
    "quant_algo",
    "quantization",
    "quant_type",
    "bits",
    "w_bit",
    "num_bits",
    "weight_bits",
    "load_in_8bit",
    "load_in_4bit",
    "_load_in_8bit",
    "_load_in_4bit",
    "global_quant_config",
    "fmt",
    "activation_scheme",
];

/// The configuration of quantisation in `config`, in the first place that has one which says anything.
pub fn quantization_config(config: &Value) -> Option<&Value> {
    places(config).into_iter().filter_map(|place| at(config, &place)).find(|value| says_something(value))
}

/// What stands at `place` of `config`.
pub fn at<'a>(config: &'a Value, place: &[&str]) -> Option<&'a Value> {
    place.iter().try_fold(config, |value, key| value.get(key))
}

/// Whether `value` in one of [`places`] says anything of how weights are quantised. `null`, `{}` and a configuration with
/// nothing but a version in it do not: they are as good as absent.
pub fn says_something(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            method(value).is_some() || TELLING.iter().any(|key| fields.get(*key).is_some_and(is_set))
        }
        other => is_set(other),
    }
}

/// The method that a configuration names, or that its keys belong to where it names none.
pub fn method(configuration: &Value) -> Option<&str> {
    let is_set = |key: &str| configuration.get(key).is_some_and(is_set);
    match configuration["quant_method"].as_str().filter(|method| !method.is_empty()) {
        Some(method) => Some(method),
        None if is_set("load_in_8bit") || is_set("load_in_4bit") => Some("bitsandbytes"),
        None if is_set("quant_algo") => Some("modelopt"),
        None if is_set("config_groups") => Some("compressed-tensors"),
        None => None,
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_say_nothing_are_as_good_as_absent() {
        for nothing in [
            json!(null),
            json!({}),
            json!([]),
            json!({"version": "0.9.1"}),
            json!({"quant_method": null, "config_groups": {}, "load_in_8bit": false}),
        ] {
            assert!(!says_something(&nothing), "{nothing}");
            assert_eq!(quantization_config(&json!({"text_config": {"quantization_config": nothing}})), None);
        }
    }

    #[test]
    fn a_configuration_is_found_in_each_place_behind_one_that_says_nothing() {
        let real = json!({"quant_method": "fp8"});
        for config in [
            json!({"quantization_config": real}),
            json!({"quantization_config": {}, "text_config": {"quantization_config": real}}),
            json!({"text_config": {"quantization_config": null}, "compression_config": real}),
            json!({"thinker_config": {"vision_config": {}, "text_config": {"quantization_config": real}}}),
        ] {
            assert_eq!(quantization_config(&config), Some(&real), "{config}");
        }
    }

    #[test]
    fn a_method_follows_from_keys_where_it_is_not_named() {
        assert_eq!(method(&json!({"load_in_4bit": true})), Some("bitsandbytes"));
        assert_eq!(method(&json!({"quant_algo": "FP8"})), Some("modelopt"));
        assert_eq!(method(&json!({"config_groups": {"a": {}}})), Some("compressed-tensors"));
        let unnamed = json!({"bits": 4});
        assert_eq!((method(&unnamed), says_something(&unnamed)), (None, true));
    }
}
