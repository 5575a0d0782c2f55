//! What stands beside FP8 codes is a scale, or is without meaning for them, or stops the run: nothing is dropped or kept that may
//! change a weight.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::directory::{Directory, Raw, Tensors};
use crate::tensors::*;

const SCALE: f32 = 0.0234375;

fn layer(beside: Vec<(&str, Raw)>) -> Tensors {
    let beside = beside.into_iter().map(|(leaf, tensor)| (format!("{LAYER}.{leaf}"), tensor));
    let norm = ("model.norm.weight".to_string(), Raw::bf16(&[2], &[1.0, 2.0]));
    beside.chain([(format!("{LAYER}.weight"), codes(&[4, 6])), norm]).collect()
}

fn config(said: &Value) -> Value {
    let mut config = json!({"model_type": "llama"});
    if !said.is_null() {
        config["quantization_config"] = said.clone();
    }
    config
}

/// That `tensors` are refused in one sentence with each of `words`, and that `inspect` has the same words.
fn refused(said: &Value, tensors: &Tensors, words: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    Directory::create(&from, &config(said), tensors);
    let output = dequantize(&from, &to);
    let error = String::from_utf8_lossy(&output.stderr);
    let sentence = error.lines().find(|line| line.contains("error:")).unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{words:?} {said}: {error}");
    assert!(!to.exists(), "{words:?}");
    let inspected =
        std::process::Command::new(env!("CARGO_BIN_EXE_qlua")).arg("inspect").arg(&from).output().unwrap();
    // Markdown sets marks of its own.
    let shown = String::from_utf8_lossy(&inspected.stdout).replace('\\', "");
    for words in words {
        assert!(sentence.contains(words), "{words} {said}: {error}");
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn codes_are_not_the_values_where_a_tensor_of_a_quantiser_is_near() {
    let one = || f32s(&[1], &[SCALE]);
    for said in [Value::Null, json!({"quant_method": "fp8"})] {
        for name in [
            "weight.scale",
            "weight_quantizer._amax",
            "weight_quantizer._scale",
            "input_quantizer._amax",
            "weight_scales",
            "scales",
            "w_scale",
            "_scale",
            "weight_amax",
            "weight_scale.weight",
            "weight_absmax",
            "weight_zero_point",
            "weight_observer.max_val",
            "input_scale",
            "comfy_quant",
        ] {
            refused(&said, &layer(vec![(name, one())]), &[&format!("`{name}`")]);
        }
        let elsewhere = "model.layers.5.mlp.up_proj.weight_scale";
        let mut tensors = layer(vec![]);
        tensors.insert(elsewhere.into(), one());
        let near = if said.is_null() { elsewhere } else { "quant_method fp8" };
        refused(&said, &tensors, &["has no scale", near]);
    }
    let mut marked = layer(vec![]);
    marked.insert("scaled_fp8".into(), codes(&[2]));
    refused(&Value::Null, &marked, &["has no scale", "`scaled_fp8`"]);
    let quanto: Tensors =
        [(format!("{LAYER}.weight._data"), codes(&[4, 6])), (format!("{LAYER}.weight._scale"), one())].into();
    refused(&Value::Null, &quanto, &["_scale`"]);
}

#[test]
fn what_may_change_weights_that_have_a_scale_is_refused_by_name() {
    let factors = || f32s(&[6], &powers(6));
    for said in [Value::Null, json!({"quant_method": "modelopt", "quant_algo": "FP8"})] {
        for (name, tensor, words) in [
            ("weight_scale_2", f32s(&[], &[0.5]), "a second scale"),
            ("weight_global_scale", f32s(&[1], &[0.5]), "a second scale"),
            ("pre_quant_scale", factors(), "factors of inputs"),
            ("smooth_scale", factors(), "factors of inputs"),
            ("input_quantizer._pre_quant_scale", factors(), "factors of inputs"),
            ("smooth_factor_orig", factors(), "factors of inputs"),
            ("weight_zero_point", f32s(&[1], &[3.0]), "zero points that are not 0"),
            ("weight_g_idx", factors(), "order of the columns"),
            ("weight.scale", factors(), "not known"),
            ("channel_scale", factors(), "not known"),
            ("weight_quantizer._scale", factors(), "not known"),
            ("comfy_quant", Raw::new(Dtype::U8, &[19], br#"{"format": "mxfp8"}"#.to_vec()), "layout"),
        ] {
            let tensors = layer(vec![("weight_scale", f32s(&[], &[SCALE])), (name, tensor)]);
            refused(&said, &tensors, &[&format!("`{name}`"), words]);
        }
        // Weights of another layer that are no codes were divided by factors as well.
        let mut tensors = layer(vec![("weight_scale", f32s(&[], &[SCALE]))]);
        let other = "model.layers.2.mlp.down_proj.pre_quant_scale";
        tensors.insert(other.into(), factors());
        refused(&said, &tensors, &[&format!("`{other}`")]);
    }
    let experts = "model.layers.0.mlp.experts.gate_up_proj";
    for (end, words) in
        [("_scale_2", "a second scale"), ("_smooth_scale", "factors"), ("_zp_scale", "not known")]
    {
        let tensors: Tensors = [
            (experts.to_string(), codes(&[2, 4, 6])),
            (format!("{experts}_scale"), f32s(&[2], &powers(2))),
            (format!("{experts}{end}"), f32s(&[2], &powers(2))),
        ]
        .into();
        refused(&Value::Null, &tensors, &[&format!("`gate_up_proj{end}`"), words]);
    }
}

#[test]
fn what_says_nothing_of_weights_is_dropped_and_what_is_of_the_model_stays() {
    let place = tempfile::tempdir().unwrap();
    let json = br#"{"format": "float8_e4m3fn"}"#;
    let mut tensors = layer(vec![
        ("weight_scale", f32s(&[], &[SCALE])),
        ("weight_zero_point", Raw::new(Dtype::F8_E4M3, &[1], vec![0])),
        ("input_scale_ub", f32s(&[1], &[900.0])),
        ("weight_quantizer._amax", f32s(&[], &[10.5])),
        ("input_quantizer._amax", f32s(&[], &[3.0])),
        ("comfy_quant", Raw::new(Dtype::U8, &[json.len()], json.to_vec())),
    ]);
    let of_model: Tensors = [
        ("logit_scale", Raw::bf16(&[], &[2.5])),
        ("model.layers.2.scale_shift_table", Raw::bf16(&[2], &[2.5, 1.0])),
        ("model.layers.2.layer_scale_1.lambda", Raw::bf16(&[1], &[0.5])),
        ("model.layers.2.norm.scale", Raw::bf16(&[1], &[0.25])),
        ("model.layers.2.mlp.up_proj.bias", Raw::bf16(&[4], &[0.25; 4])),
        ("model.norm.weight", Raw::bf16(&[2], &[1.0, 2.0])),
    ]
    .map(|(name, tensor)| (name.to_string(), tensor))
    .into();
    tensors.extend(of_model.clone());
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    Directory::create(&from, &config(&json!({"quant_method": "fbgemm_fp8"})), &tensors);
    let output = dequantize(&from, &to);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut left = of_model;
    left.insert(format!("{LAYER}.weight"), expected(&codes(&[4, 6]), |_, _, _| SCALE));
    assert!(Directory(to).tensors() == left);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("without scales"));
}

#[test]
fn codes_without_any_sign_of_a_scale_are_values_and_that_is_said() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let mut tensors = layer(vec![]);
    // A cast takes parameters of the model along, whatever they are called.
    tensors.insert("model.norm.scale".into(), codes(&[2, 3]));
    Directory::create(&from, &config(&Value::Null), &tensors);
    let output = dequantize(&from, &to);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 FP8 tensors without scales") && said.contains("taken for the values"), "{said}");
    let plain = Directory(to).tensors();
    assert!(plain[&format!("{LAYER}.weight")] == expected(&codes(&[4, 6]), |_, _, _| 1.0));
    assert!(plain["model.norm.scale"] == expected(&codes(&[2, 3]), |_, _, _| 1.0));
}
