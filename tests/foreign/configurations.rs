//! Configurations that say nothing of quantisation although they are there, or say it elsewhere.

use std::fs;

use serde_json::json;

use crate::common::directory::{Directory, Tensors};
use crate::common::faults;
use crate::common::place::{Place, export, require_message};
use crate::tensors::*;
use qlua::write::Silent;

#[test]
fn a_configuration_that_says_nothing_is_as_good_as_absent_before_and_after_the_pass() {
    for nothing in ["null", "{}", "{\"version\": \"0.8.3\"}", "{\"quant_method\": null}"] {
        for nested in [false, true] {
            let place = Place::new();
            let original = fs::read_to_string(place.model.file("config.json")).unwrap();
            let entry = match nested {
                true => format!("\"text_config\": {{\"quantization_config\": {nothing}}}"),
                false => format!("\"quantization_config\": {nothing}"),
            };
            let text = original.replacen('{', &format!("{{ {entry},"), 1);
            fs::write(place.model.file("config.json"), &text).unwrap();
            assert_eq!(faults(&place.model.0), [], "{entry}");
            let written = Directory(export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory);
            let mut config = written.json("config.json");
            let said = config.as_object_mut().unwrap().remove("quantization_config").unwrap();
            assert_eq!(said["quant_method"], "compressed-tensors", "{entry}");
            let mut before: serde_json::Value = serde_json::from_str(&text).unwrap();
            before.as_object_mut().unwrap().remove("quantization_config");
            assert_eq!(config, before, "{entry}");
            let after = fs::read_to_string(written.file("config.json")).unwrap();
            let (first, last) = (original.find('{').unwrap() + 1, original.rfind('}').unwrap());
            let kept = original[first..last].trim();
            assert!(after.contains(kept), "the rest stays byte for byte: {after}");
        }
    }
}

#[test]
fn a_configuration_elsewhere_counts_and_is_taken_out_when_weights_are_plain_again() {
    let place = Place::new();
    let fp8 = json!({"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [4, 4]});
    place.model.edit_json("config.json", |c| c["text_config"]["quantization_config"] = fp8.clone());
    require_message(&place.refused(), &["quantised already", "quant_method `fp8`"], "dequantize.lua");
    place.model.edit_json("config.json", |c| {
        c["text_config"]["quantization_config"] = json!({"load_in_8bit": true})
    });
    require_message(&place.refused(), &["quantised already", "`bitsandbytes`"], "dequantize.lua");

    let (from, to) = (place.path().join("nested"), place.path().join("plain"));
    let config = json!({"text_config": {"quantization_config": fp8, "n": 3}, "quantization_config": null});
    let weight = codes(&[8, 4]);
    let tensors: Tensors = [
        (format!("{LAYER}.weight"), weight.clone()),
        (format!("{LAYER}.weight_scale_inv"), f32s(&[2, 1], &powers(2))),
    ]
    .into();
    Directory::create(&from, &config, &tensors);
    let output = dequantize(&from, &to);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plain = Directory(to);
    assert_eq!(plain.json("config.json"), json!({"text_config": {"n": 3}, "quantization_config": null}));
    let expected = expected(&weight, |_, row, _| powers(2)[row / 4]);
    assert!(plain.tensors() == [(format!("{LAYER}.weight"), expected)].into());
}
