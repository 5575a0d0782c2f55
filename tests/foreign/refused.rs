//! What is not turned back is named by what it is.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::directory::{Directory, Raw, Tensors};
use crate::tensors::*;

fn bytes(dtype: Dtype, shape: &[usize]) -> Raw {
    let size = if dtype == Dtype::I32 { 4 } else { 1 };
    Raw::new(dtype, shape, vec![1; size * shape.iter().product::<usize>()])
}

/// Tensors of the layer by their leaves, `quantization_config`, and words of the refusal.
type Case = (Vec<(&'static str, Raw)>, Value, &'static str);

#[test]
fn codes_that_are_not_read_are_named_in_one_sentence_and_nothing_is_written() {
    let scale = || f32s(&[], &[0.5]);
    let cases: Vec<Case> = vec![
        (
            vec![("qweight", bytes(Dtype::I32, &[4, 8])), ("scales", f16s(&[1, 8], &[0.5; 8]))],
            json!({"quant_method": "gptq", "bits": 4}),
            "packed integers of GPTQ or AWQ (quant_method gptq)",
        ),
        (
            vec![
                ("weight", bytes(Dtype::U8, &[4, 8])),
                ("weight_scale", codes(&[4, 1])),
                ("weight_scale_2", scale()),
            ],
            json!({"quant_algo": "NVFP4"}),
            "NVFP4 codes (quant_method modelopt)",
        ),
        (
            vec![("weight_packed", bytes(Dtype::U8, &[4, 8])), ("weight_global_scale", f32s(&[1], &[3.0]))],
            json!({"quant_method": "compressed-tensors"}),
            "NVFP4 codes of compressed-tensors (quant_method compressed-tensors)",
        ),
        (
            vec![("weight", bytes(Dtype::U8, &[16, 1])), ("weight.absmax", bytes(Dtype::U8, &[1]))],
            json!({"load_in_4bit": true}),
            "4-bit codes of bitsandbytes (quant_method bitsandbytes)",
        ),
        (
            vec![("weight", bytes(Dtype::I8, &[4, 4])), ("SCB", f32s(&[4], &[1.0; 4]))],
            json!({"quant_method": "bitsandbytes"}),
            "8-bit integers of bitsandbytes",
        ),
        (
            vec![("weight", bytes(Dtype::I8, &[4, 4])), ("weight_scale", f32s(&[4, 1], &[1.0; 4]))],
            json!({"quant_method": "compressed-tensors"}),
            "I8 codes, integers or packed FP4",
        ),
        (
            vec![("weight", bytes(Dtype::I32, &[4, 1])), ("scales", f16s(&[4, 1], &[0.5; 4]))],
            Value::Null,
            "I32 codes",
        ),
        (
            vec![("weight", Raw::new(Dtype::F8_E5M2, &[2, 2], vec![60; 4])), ("weight_scale", scale())],
            json!({"quant_method": "fp8"}),
            "F8_E5M2 codes (quant_method fp8)",
        ),
        (
            vec![
                ("down_proj_blocks", bytes(Dtype::U8, &[1, 2, 3, 16])),
                ("down_proj_scales", bytes(Dtype::U8, &[1, 2, 3])),
            ],
            json!({"quant_method": "mxfp4"}),
            "MXFP4 codes (quant_method mxfp4)",
        ),
        (vec![("weight", codes(&[2, 2]))], json!({"quant_method": "fp8"}), "has no scale"),
        (
            vec![("weight", codes(&[2, 2])), ("weight_scale", scale()), ("scale_weight", scale())],
            json!({"quant_method": "fp8"}),
            "two tensors of scales",
        ),
        (
            vec![("weight", codes(&[200, 200])), ("weight_scale", f32s(&[3, 3], &powers(9)))],
            json!({"quant_method": "fp8"}),
            "do not fit codes of shape [200, 200]",
        ),
    ];
    let place = tempfile::tempdir().unwrap();
    for (number, (tensors, said, words)) in cases.into_iter().enumerate() {
        let (from, to) =
            (place.path().join(format!("{number}")), place.path().join(format!("{number}-plain")));
        let named = tensors.into_iter().map(|(leaf, tensor)| (format!("{LAYER}.{leaf}"), tensor));
        let norm = ("model.norm.weight".to_string(), Raw::bf16(&[2], &[1.0, 2.0]));
        let tensors: Tensors = named.chain([norm]).collect();
        Directory::create(&from, &json!({"quantization_config": said}), &tensors);
        let output = dequantize(&from, &to);
        let error = String::from_utf8_lossy(&output.stderr);
        let sentence = error.lines().find(|line| line.contains("error:")).unwrap_or_default();
        assert!(!output.status.success() && sentence.contains(words), "{words}: {error}");
        assert!(sentence.contains(LAYER), "{error}");
        assert!(!to.exists(), "{words}");
        // `inspect` says the same of it.
        let inspected = std::process::Command::new(env!("CARGO_BIN_EXE_qlua"))
            .arg("inspect")
            .arg(&from)
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&inspected.stdout);
        assert!(inspected.status.success() && shown.contains(words), "{shown}");
    }
}
