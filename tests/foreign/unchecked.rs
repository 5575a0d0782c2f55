//! Checks say nothing untrue of what they do not know, and say that they do not know it.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::directory::{Directory, Raw, Tensors};
use crate::tensors::*;
use qlua::plan::InputScales;
use qlua::verify::{Code, Depth, verify};

const TOP: &str = "model.layers.0.self_attn.o_proj";

fn directory(at: &std::path::Path, said: Value, tensors: Vec<(&str, Raw)>) -> Directory {
    let table = ("model.embed_tokens.weight", Raw::zeros(&[4, 8]));
    let tensors = tensors.into_iter().chain([table]);
    let tensors: Tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor)).collect();
    let mut config = json!({"model_type": "qwen3", "tie_word_embeddings": false});
    if !said.is_null() {
        config["quantization_config"] = said;
    }
    Directory::create(at, &config, &tensors)
}

fn codes_found(directory: &Directory) -> Vec<Code> {
    let problems = verify(&directory.0, Depth::Full).unwrap().into_iter();
    // These configurations have no sizes to compare tensors with.
    let others = problems.filter(|problem| !problem.message.starts_with("config.json names no architecture"));
    others.map(|problem| problem.code).collect()
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

#[test]
fn blocks_of_other_tools_are_checked_by_their_own_size_and_names() {
    let place = tempfile::tempdir().unwrap();
    let layer = |leaf: &'static str, scale: Raw| {
        let names = [
            &format!("{TOP}.weight"),
            &format!("{TOP}.{leaf}"),
            "lm_head.weight",
            "model.embed_tokens.weight",
        ]
        .map(ToString::to_string);
        let tensors = [codes(&[64, 32]), scale, Raw::zeros(&[4, 8]), Raw::zeros(&[4, 8])];
        names.into_iter().zip(tensors).collect::<Tensors>()
    };
    let lists = |method: Value, list: &str, entries: Value| {
        let mut said = method;
        said[list] = entries;
        json!({"model_type": "qwen3", "tie_word_embeddings": false, "quantization_config": said})
    };
    let fp8 = json!({"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [32, 16]});
    let of_group = json!({
        "quant_method": "compressed-tensors", "format": "float-quantized", "quantization_status": "compressed",
        "config_groups": {"group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [32, 16]},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "group", "dynamic": true},
        }},
    });
    let bf16 = |shape: &[usize]| Raw::bf16(shape, &powers(shape.iter().product()));
    let f32 = |shape: &[usize]| f32s(shape, &powers(shape.iter().product()));
    let convert = "modules_to_not_convert";
    let head = || json!(["lm_head"]);
    let cases = [
        ("group", lists(of_group.clone(), "ignore", head()), layer("weight_scale", bf16(&[2, 2])), vec![]),
        (
            "group of another size",
            lists(of_group, "ignore", head()),
            layer("weight_scale", bf16(&[1, 1])),
            vec![Code::ScaleShape],
        ),
        ("blocks", lists(fp8.clone(), convert, head()), layer("weight_scale_inv", f32(&[2, 2])), vec![]),
        ("scale", lists(fp8.clone(), convert, head()), layer("scale", f32(&[2, 2])), vec![Code::NotChecked]),
        (
            "exponents",
            lists(fp8.clone(), convert, head()),
            layer("weight_scale_inv", exponents(Dtype::F8_E8M0, &[2, 2])),
            vec![Code::NotChecked],
        ),
        (
            "look-ahead",
            lists(fp8, convert, json!(["lm_head", "(?!.*self_attn).*"])),
            layer("weight_scale_inv", f32(&[2, 2])),
            vec![Code::NotChecked],
        ),
    ];
    for (name, config, tensors, expected) in cases {
        let found = Directory::create(&place.path().join(name), &config, &tensors);
        assert_eq!(codes_found(&found), expected, "{name}");
    }
}

#[test]
fn the_command_says_ok_of_nothing_that_it_does_not_know() {
    let place = tempfile::tempdir().unwrap();
    let found =
        directory(&place.path().join("x"), json!({"quant_method": "quark"}), fp8_layer(f32s(&[], &[1.0])));
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_qlua")).arg("verify").arg(&found.0).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        shown.contains("not checked in 1 respect") && shown.contains("quark") && !shown.contains(": ok"),
        "{shown}"
    );
}
