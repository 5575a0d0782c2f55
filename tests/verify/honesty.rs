//! What cannot be checked is said, and what can be is not passed over: sizes that are none, weights that are no floats, counts that
//! nobody counts to, files that others name.

use std::fs;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::breaks::Good::*;
use crate::breaks::*;
use crate::common::directory::{Directory, Raw};
use qlua::verify::{Code, Depth, verify};

pub fn cases() -> Vec<Case> {
    vec![
        Case("a config.json without architectures", Base, |d| {
            d.edit_json(CONFIG, |c| drop(c.as_object_mut().unwrap().remove("architectures")));
            one(Code::NotChecked, CONFIG)
        }),
        Case("a config.json with an architecture whose sizes are not known", Base, |d| {
            d.edit_json(CONFIG, |c| c["architectures"][0] = "OwnForCausalLM".into());
            one(Code::NotChecked, CONFIG)
        }),
        Case("a size that is a text", Universal, |d| misstate(d, "hidden_size", "64".into())),
        Case("a size that is a fraction", Base, |d| misstate(d, "intermediate_size", json!(64.5))),
        Case("a negative size", Base, |d| misstate(d, "vocab_size", json!(-5))),
        Case("a count that is a text", Base, |d| misstate(d, "num_hidden_layers", "4".into())),
        Case("a count beyond all tensors", Universal, |d| {
            d.edit_json(CONFIG, |c| c["num_hidden_layers"] = json!(1_000_000_000_000u64));
            one(Code::Blocks, CONFIG)
        }),
        Case("a count of blocks of the tower beyond all tensors", Base, |d| {
            d.edit_json(CONFIG, |c| c["vision_config"]["depth"] = json!(u64::MAX));
            one(Code::Blocks, CONFIG)
        }),
        Case("a weight of 32-bit integers", Base, |d| retype(d, Dtype::I32)),
        Case("a weight of 64-bit integers", CtStatic, |d| {
            let name = format!("{}.weight", bf16(d));
            retype(d, Dtype::I64);
            one(Code::WeightDtype, name)
        }),
        Case("a weight of truth values", Base, |d| retype(d, Dtype::BOOL)),
        Case("a quantization_config that is a text", Base, |d| quantised_by(d, "none".into())),
        Case("a quantization_config that is a number", Base, |d| quantised_by(d, json!(8))),
        Case("a quantization_config that is a list", Base, |d| quantised_by(d, json!(["fp8"]))),
        Case("an empty list for a quantization_config", Base, |d| {
            d.edit_json(CONFIG, |c| c["quantization_config"] = json!([]));
            one(Code::Configuration, CONFIG)
        }),
        Case("ModelOpt's half of universal alone", Universal, |d| {
            d.edit_json(CONFIG, |c| drop(c.as_object_mut().unwrap().remove("quantization_config").unwrap()));
            one(Code::Configuration, CONFIG)
        }),
        Case("code that config.json names and that is not there", Base, |d| {
            d.edit_json(CONFIG, |c| c["auto_map"] = json!({"AutoModel": "modeling_own.Own"}));
            one(Code::MissingFile, "modeling_own.py")
        }),
        Case("a tokenizer without a vocabulary", Base, |d| {
            for file in ["tokenizer.json", "vocab.json", "merges.txt"] {
                let _ = fs::remove_file(d.file(file));
            }
            one(Code::MissingFile, "tokenizer.json")
        }),
        Case("a tower and nothing that prepares images", Base, |d| {
            for entry in fs::read_dir(&d.0).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_str().unwrap().contains("processor") {
                    fs::remove_file(path).unwrap();
                }
            }
            one(Code::MissingFile, "preprocessor_config.json")
        }),
    ]
}

fn misstate(d: &Directory, key: &str, value: Value) -> Expected {
    d.edit_json(CONFIG, |c| c[key] = value);
    vec![(Code::Sizes, CONFIG.into()), (Code::NotChecked, CONFIG.into())]
}

fn quantised_by(d: &Directory, value: Value) -> Expected {
    d.edit_json(CONFIG, |c| c["quantization_config"] = value);
    vec![(Code::Configuration, CONFIG.into()), (Code::NotChecked, CONFIG.into())]
}

fn retype(d: &Directory, dtype: Dtype) -> Expected {
    let name = format!("{}.weight", bf16(d));
    d.edit_tensors(|tensors| {
        let shape = tensors[&name].shape.clone();
        let size = if dtype == Dtype::BOOL {
            1
        } else if dtype == Dtype::I32 {
            4
        } else {
            8
        };
        let bytes = vec![0; size * shape.iter().product::<usize>()];
        tensors.insert(name.clone(), Raw::new(dtype, &shape, bytes));
    });
    one(Code::WeightDtype, name)
}

#[test]
fn a_vast_count_is_not_counted_to() {
    let base = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&base.path().join("demo")).unwrap();
    let directory = Directory::copy(&demo.model, &base.path().join("model"));
    for (number, class) in
        ["Qwen2_5_VLForConditionalGeneration", "LlamaForCausalLM", "OwnForCausalLM"].into_iter().enumerate()
    {
        directory.edit_json(CONFIG, |c| {
            c["num_hidden_layers"] = json!(1_000_000_000_000u64);
            c["architectures"][0] = class.into();
            if number == 1 {
                c["model_type"] = "llama".into();
            }
        });
        // Counting so far would never end.
        assert!(!verify(&directory.0, Depth::Headers).unwrap().is_empty(), "{class}");
    }
}

/// A pipe without a writer would be waited for.
#[test]
fn pipes_are_named_and_never_read() {
    let base = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&base.path().join("demo")).unwrap();
    for name in [
        "config.json",
        "model.safetensors.index.json",
        "hf_quant_config.json",
        "layer-sensitivity/provenance.json",
    ] {
        let directory = Directory::copy(&demo.model, &base.path().join(name.replace('/', "-")));
        fs::create_dir(directory.file("layer-sensitivity")).unwrap();
        let _ = fs::remove_file(directory.file(name));
        let made = std::process::Command::new("mkfifo").arg(directory.file(name)).status().unwrap();
        assert!(made.success());
        let found = verify(&directory.0, Depth::Full).unwrap();
        assert!(
            found.iter().any(|problem| problem.code == Code::StrangeFile && problem.subject == name),
            "{found:?}"
        );
    }
}
