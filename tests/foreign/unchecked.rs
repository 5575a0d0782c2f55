//! Checks say nothing untrue of what they do not know, and say that they do not know it.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::directory::{Directory, Raw, Tensors};
use crate::tensors::*;
use qlua::plan::InputScales;
use qlua::verify::{Code, Depth, verify};

const TOP: &str = "model.layers.0.self_attn.o_proj";

fn directory(at: &std::path::Path, said: Value, tensors: Vec<(&str, Raw)>) -> Directory {
    let tensors: Tensors = tensors.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect();
    let mut config = json!({"model_type": "qwen3", "tie_word_embeddings": false});
    if !said.is_null() {
        config["quantization_config"] = said;
    }
    Directory::create(at, &config, &tensors)
}

fn codes_found(directory: &Directory) -> Vec<Code> {
    verify(&directory.0, Depth::Full).unwrap().into_iter().map(|problem| problem.code).collect()
}

fn fp8_layer(scale: Raw) -> Vec<(&'static str, Raw)> {
    vec![
        ("model.layers.0.self_attn.o_proj.weight", codes(&[8, 4])),
        ("model.layers.0.self_attn.o_proj.weight_scale", scale),
        ("lm_head.weight", Raw::zeros(&[4, 8])),
    ]
}

#[test]
fn methods_that_are_not_known_are_not_checked() {
    let place = tempfile::tempdir().unwrap();
    for (number, method) in
        ["fbgemm_fp8", "quark", "torchao", "auto-round", "mxfp8", "gptq", "something"].into_iter().enumerate()
    {
        let weight = if method == "gptq" {
            vec![("lm_head.weight", Raw::zeros(&[4, 8]))]
        } else {
            fp8_layer(f32s(&[8, 1], &[1.0; 8]))
        };
        let found =
            directory(&place.path().join(format!("{number}")), json!({"quant_method": method}), weight);
        assert_eq!(codes_found(&found), [Code::NotChecked], "{method}");
    }
    let per_tensor = json!({"quant_method": "fp8", "activation_scheme": "static"});
    let found = directory(&place.path().join("tensor"), per_tensor, fp8_layer(f32s(&[], &[1.0])));
    assert_eq!(codes_found(&found), [Code::NotChecked]);
    // FP8 layers under a method of integers are wrong for certain.
    let found =
        directory(&place.path().join("awq"), json!({"quant_method": "awq"}), fp8_layer(f32s(&[], &[1.0])));
    assert!(codes_found(&found).contains(&Code::Configuration));
}

#[test]
fn a_mixture_is_checked_as_far_as_it_is_fp8() {
    let place = tempfile::tempdir().unwrap();
    let mixture = |with_input_scale: bool| {
        let mut tensors = vec![
            ("model.layers.0.self_attn.o_proj.weight", codes(&[8, 4])),
            ("model.layers.0.self_attn.o_proj.weight_scale", f32s(&[], &[0.5])),
            ("model.layers.0.mlp.up_proj.weight", Raw::new(Dtype::U8, &[8, 2], vec![7; 16])),
            ("model.layers.0.mlp.up_proj.weight_scale", codes(&[8, 1])),
            ("model.layers.0.mlp.up_proj.weight_scale_2", f32s(&[], &[0.5])),
            ("model.layers.0.mlp.up_proj.input_scale", f32s(&[], &[0.5])),
            ("lm_head.weight", Raw::zeros(&[4, 8])),
        ];
        if with_input_scale {
            tensors.push(("model.layers.0.self_attn.o_proj.input_scale", f32s(&[], &[0.5])));
        }
        tensors
    };
    let layers = json!({TOP: {"quant_algo": "FP8"}, "model.layers.0.mlp.up_proj": {"quant_algo": "NVFP4", "group_size": 4}});
    let said = json!({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "MIXED_PRECISION", "quantized_layers": layers}});
    for (with_input_scale, expected) in
        [(true, vec![Code::NotChecked]), (false, vec![Code::NotChecked, Code::MissingInputScale])]
    {
        let found = directory(
            &place.path().join(format!("{with_input_scale}")),
            Value::Null,
            mixture(with_input_scale),
        );
        std::fs::write(found.file("hf_quant_config.json"), said.to_string()).unwrap();
        assert_eq!(codes_found(&found), expected);
    }
}

/// Two layers, `o_proj` in FP8 and `gate` not, under lists of compressed-tensors.
fn listed(at: &std::path::Path, ignore: Value, targets: Value) -> Directory {
    let groups = json!({"group_0": {
        "targets": targets,
        "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
        "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true},
    }});
    let said = json!({
        "quant_method": "compressed-tensors", "format": "float-quantized", "quantization_status": "compressed",
        "ignore": ignore, "config_groups": groups,
    });
    let mut tensors = fp8_layer(Raw::bf16(&[8, 1], &[1.0; 8]));
    tensors.push(("model.layers.0.mlp.gate.weight", Raw::zeros(&[4, 8])));
    directory(at, said, tensors)
}

#[test]
fn expressions_of_lists_are_read_as_python_reads_them_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let cases = [
        (json!(["re:^(?!.*self_attn).*$"]), json!(["Linear"]), vec![]),
        (json!(["lm_head"]), json!([r"re:.*\.(?!gate$)[a-z_]+_proj\Z"]), vec![]),
        (json!(["lm_head", "re:.*(?<!o_)gate$"]), json!(["Linear"]), vec![]),
        (
            json!(["lm_head", "re:^(?!.*gate).*"]),
            json!(["Linear"]),
            vec![Code::WronglyExcluded, Code::NotExcluded],
        ),
        (json!(["lm_head", r"re:\p{Lu}.*"]), json!(["Linear"]), vec![Code::NotChecked]),
        (json!(["lm_head"]), json!(["OwnGatedAttention"]), vec![Code::NotChecked]),
    ];
    for (number, (ignore, targets, expected)) in cases.into_iter().enumerate() {
        let said = format!("{ignore} {targets}");
        let found = listed(&place.path().join(format!("{number}")), ignore, targets);
        let mut codes = codes_found(&found);
        codes.sort_by_key(|code| !expected.contains(code));
        codes.dedup();
        assert!(
            codes.len() == expected.len() && expected.iter().all(|code| codes.contains(code)),
            "{said}: {codes:?}"
        );
    }
}

#[test]
fn input_scales_of_any_tool_are_read_from_a_baseline() {
    let place = tempfile::tempdir().unwrap();
    let value = 0.015625;
    for (number, (leaf, scale)) in [
        ("input_scale", f16s(&[1], &[value])),
        ("input_scale", f64s(&[], &[value])),
        ("act_scale", f32s(&[], &[value])),
        ("activation_scale", Raw::bf16(&[], &[value])),
        ("scale_input", f32s(&[1], &[value])),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{TOP}.{leaf}");
        let at = place.path().join(format!("{number}"));
        directory(&at, Value::Null, vec![(&name, scale)]);
        assert_eq!(InputScales::from_baseline(&at).unwrap().get(TOP), Some(value), "{leaf}");
    }
    let at = place.path().join("two");
    let (one, other) = (format!("{TOP}.input_scale"), format!("{TOP}.act_scale"));
    directory(&at, Value::Null, vec![(&one, f32s(&[], &[0.5])), (&other, f32s(&[], &[0.25]))]);
    let error = InputScales::from_baseline(&at).unwrap_err().to_string();
    assert!(error.contains(&format!("two input scales for `{TOP}`")), "{error}");
}
