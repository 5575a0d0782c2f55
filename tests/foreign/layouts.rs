//! FP8 as tools lay it out: what each means is written here by hand, element by element.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::directory::{Directory, Raw, Tensors};
use crate::tensors::*;

struct Layout {
    name: &'static str,
    /// `quantization_config`.
    config: Value,
    /// `quantization` of `hf_quant_config.json`.
    modelopt: Value,
    tensors: Vec<(String, Raw)>,
    expected: Vec<(String, Raw)>,
}

/// A layout of one layer, whose tensors are called after it.
fn layer(
    name: &'static str,
    config: Value,
    codes: Raw,
    beside: Vec<(&str, Raw)>,
    scale: impl Fn(usize, usize) -> f32,
) -> Layout {
    let weight = format!("{LAYER}.weight");
    let value = expected(&codes, |_, row, column| scale(row, column));
    let beside = beside.into_iter().map(|(leaf, tensor)| (format!("{LAYER}.{leaf}"), tensor));
    let tensors = [(weight.clone(), codes)].into_iter().chain(beside).collect();
    Layout { name, config, modelopt: Value::Null, tensors, expected: vec![(weight, value)] }
}

fn blocks(rows: usize, columns: usize) -> Value {
    json!({"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [rows, columns]})
}

fn group(weights: Value) -> Value {
    let groups = json!({"group_0": {"targets": ["Linear"], "weights": weights}});
    json!({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": groups})
}

fn layouts() -> Vec<Layout> {
    let one = |v: f32| vec![v];
    let (four, six) = (powers(4), powers(6));
    let in_blocks = |v: &[f32], across: usize, block: [usize; 2]| {
        let v = v.to_vec();
        move |row: usize, column: usize| v[row / block[0] * across + column / block[1]]
    };
    let static_fp8 = json!({"quant_method": "fp8", "activation_scheme": "static"});
    let mut all = vec![
        layer(
            "blocks of the configured size under another name",
            blocks(48, 80),
            codes(&[96, 160]),
            vec![("scale", f32s(&[2, 2], &four))],
            in_blocks(&four, 2, [48, 80]),
        ),
        layer(
            "exponents for blocks whose last ones are not whole",
            blocks(64, 64),
            codes(&[100, 130]),
            vec![("weight_scale_inv", exponents(Dtype::F8_E8M0, &[2, 3]))],
            in_blocks(&six, 3, [64, 64]),
        ),
        layer(
            "exponents in bytes for parts of rows",
            json!({"quant_method": "mxfp8"}),
            codes(&[3, 64]),
            vec![("weight_scale", exponents(Dtype::U8, &[3, 2]))],
            in_blocks(&six, 2, [1, 32]),
        ),
        layer(
            "one F16 scale and scales of inputs and caches",
            static_fp8.clone(),
            codes(&[5, 7]),
            vec![
                ("weight_scale", f16s(&[1], &one(0.0625))),
                ("act_scale", f32s(&[], &one(0.3))),
                ("k_scale", f32s(&[1], &one(0.7))),
            ],
            |_, _| 0.0625,
        ),
        layer(
            "one F64 scale and the scale of an activation",
            static_fp8,
            codes(&[5, 7]),
            vec![("weight_scale_inv", f64s(&[], &one(0.375))), ("activation_scale", Raw::bf16(&[], &[0.3]))],
            |_, _| 0.375,
        ),
        layer(
            "scales under the names of a picture tool",
            Value::Null,
            codes(&[4, 6]),
            vec![("scale_weight", f32s(&[1], &one(0.0117))), ("scale_input", f32s(&[1], &one(0.3)))],
            |_, _| 0.0117,
        ),
        layer(
            "blocks of compressed-tensors as words",
            group(json!({"strategy": "block", "block_structure": "32x16"})),
            codes(&[64, 32]),
            vec![("weight_scale", Raw::bf16(&[2, 2], &four))],
            in_blocks(&four, 2, [32, 16]),
        ),
        layer(
            "groups of a row",
            group(json!({"strategy": "group", "group_size": 20})),
            codes(&[2, 40]),
            vec![("weight_scale", f32s(&[2, 2], &four))],
            in_blocks(&four, 2, [1, 20]),
        ),
        layer(
            "rows",
            json!({"quant_method": "fbgemm_fp8", "activation_scale_ub": 900.0}),
            codes(&[6, 9]),
            vec![("weight_scale", f32s(&[6, 1], &six))],
            in_blocks(&six, 1, [1, 9]),
        ),
        layer("no scales anywhere", Value::Null, codes(&[3, 5]), vec![], |_, _| 1.0),
    ];
    let mut modelopt = layer(
        "blocks with ones between their sizes",
        Value::Null,
        codes(&[64, 96]),
        vec![("weight_scale", f32s(&[2, 1, 3, 1], &six))],
        in_blocks(&six, 3, [32, 32]),
    );
    modelopt.modelopt = json!({"quant_algo": "FP8_PB_WO", "kv_cache_quant_algo": "FP8"});
    all.push(modelopt);

    let experts = "model.layers.2.mlp.experts.down_proj".to_string();
    let stacked = codes(&[3, 40, 24]);
    let scales = powers(12);
    let value = expected(&stacked, |expert, row, column| powers(12)[expert * 4 + row / 24 * 2 + column / 16]);
    all.push(Layout {
        name: "stacked experts in blocks that end within each",
        config: blocks(24, 16),
        modelopt: Value::Null,
        tensors: vec![
            (experts.clone(), stacked),
            (format!("{experts}_scale_inv"), f32s(&[3, 2, 2], &scales)),
            (format!("{experts}_activation_scale"), f32s(&[3], &powers(3))),
        ],
        expected: vec![(experts, value)],
    });
    all
}

#[test]
fn fp8_of_any_tool_is_turned_back_and_leaves_no_tensor_of_a_quantiser() {
    let place = tempfile::tempdir().unwrap();
    for (number, layout) in layouts().into_iter().enumerate() {
        let name = layout.name;
        let (from, to) =
            (place.path().join(format!("{number}")), place.path().join(format!("{number}-plain")));
        let mut config = json!({"model_type": "llama", "hidden_size": 7});
        if !layout.config.is_null() {
            config["quantization_config"] = layout.config;
        }
        let norm = ("model.norm.scale".to_string(), Raw::bf16(&[3], &[1.0, -2.5, 0.25]));
        let tensors: Tensors = layout.tensors.into_iter().chain([norm.clone()]).collect();
        let source = Directory::create(&from, &config, &tensors);
        if !layout.modelopt.is_null() {
            let said = json!({"producer": {"name": "modelopt"}, "quantization": layout.modelopt});
            std::fs::write(source.file("hf_quant_config.json"), said.to_string()).unwrap();
        }
        let output = dequantize(&from, &to);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let plain = Directory(to);
        let expected: Tensors = layout.expected.into_iter().chain([norm]).collect();
        assert!(plain.tensors() == expected, "{name}");
        assert_eq!(plain.json("config.json"), json!({"model_type": "llama", "hidden_size": 7}), "{name}");
        assert!(!plain.file("hf_quant_config.json").exists(), "{name}");
    }
}
