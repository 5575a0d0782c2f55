//! Damage of the set of tensors: what config.json and the rest of the model say that there is.

use std::fs;

use safetensors::tensor::Dtype;
use serde_json::json;

use crate::breaks::Good::*;
use crate::breaks::*;
use crate::common::directory::{Directory, INDEX, Raw, Tensors, write_safetensors};
use qlua::verify::{Code, Depth, verify};

const NORM: &str = "model.layers.2.input_layernorm.weight";

fn rename(d: &Directory, from: &str, to: &str) -> Expected {
    d.edit_tensors(|t| {
        let tensor = t.remove(from).unwrap();
        t.insert(to.into(), tensor);
    });
    vec![(Code::MissingTensor, from.into()), (Code::UnknownTensor, to.into())]
}

/// Swaps the dimensions of a matrix, and its values with them where they are two bytes each.
fn transpose(tensors: &mut Tensors, name: &str) {
    let tensor = tensors.get_mut(name).unwrap();
    let [rows, columns] = tensor.shape[..] else { panic!("{name} is no matrix") };
    let size = tensor.bytes.len() / (rows * columns);
    let at = |row: usize, column: usize| &tensor.bytes[(row * columns + column) * size..][..size];
    let turned = (0..columns).flat_map(|column| (0..rows).flat_map(move |row| at(row, column).to_vec()));
    (tensor.bytes, tensor.shape) = (turned.collect(), vec![columns, rows]);
}

fn set_value(d: &Directory, name: &str, value: f32) -> Expected {
    d.edit_tensors(|t| {
        let bytes = &mut t.get_mut(name).unwrap().bytes;
        bytes[..2].copy_from_slice(&half::bf16::from_f32(value).to_le_bytes());
    });
    one(Code::NonFinite, name)
}

pub fn cases() -> Vec<Case> {
    vec![
        Case("a norm that is not there", Base, |d| {
            d.edit_tensors(|t| drop(t.remove(NORM).unwrap()));
            one(Code::MissingTensor, NORM)
        }),
        Case("a bias that is not there, in a scheme", Universal, |d| {
            let name = "visual.blocks.1.attn.qkv.bias";
            d.edit_tensors(|t| drop(t.remove(name).unwrap()));
            one(Code::MissingTensor, name)
        }),
        Case("an FP8 layer that is not there", Block, |d| {
            let module = d.module(Dtype::F8_E4M3, ".self_attn.o_proj");
            d.edit_tensors(|t| t.retain(|name, _| !name.starts_with(&format!("{module}."))));
            one(Code::MissingTensor, format!("{module}.weight"))
        }),
        Case("a block that is not there: one finding, not twelve", Base, |d| {
            d.edit_tensors(|t| t.retain(|name, _| !name.starts_with("model.layers.3.")));
            one(Code::MissingTensor, CONFIG)
        }),
        Case("a block too many", Base, |d| {
            d.edit_json(CONFIG, |c| c["num_hidden_layers"] = 3.into());
            one(Code::UnknownTensor, CONFIG)
        }),
        Case("a renamed tensor", Base, |d| {
            rename(d, "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.upproj.weight")
        }),
        Case("one in the spelling of another release", Base, |d| {
            rename(d, NORM, "model.language_model.layers.2.input_layernorm.weight")
        }),
        Case("a tensor that the model has not", MoDynamic, |d| {
            let name = "model.layers.0.self_attn.q_norm.weight";
            d.edit_tensors(|t| drop(t.insert(name.into(), Raw::zeros(&[32]))));
            one(Code::UnknownTensor, name)
        }),
        Case("a transposed matrix", Base, |d| {
            let name = "model.layers.0.mlp.up_proj.weight";
            d.edit_tensors(|t| transpose(t, name));
            one(Code::TensorShape, name)
        }),
        Case("another hidden_size", Base, |d| {
            d.edit_json(CONFIG, |c| c["hidden_size"] = 256.into());
            one(Code::TensorShape, CONFIG)
        }),
        Case("another vocab_size", CtDynamic, |d| {
            d.edit_json(CONFIG, |c| c["vocab_size"] = 500.into());
            one(Code::TensorShape, "model.embed_tokens.weight")
        }),
        Case("more heads of keys than there are", Base, |d| {
            d.edit_json(CONFIG, |c| c["num_key_value_heads"] = 4.into());
            let parts = ["k_proj.weight", "k_proj.bias", "v_proj.weight", "v_proj.bias"];
            let first = |part: &str| (Code::TensorShape, format!("model.layers.0.self_attn.{part}"));
            parts.map(first).into()
        }),
        Case("a head that is neither tied nor there", Base, |d| {
            d.edit_json(CONFIG, |c| c["tie_word_embeddings"] = false.into());
            one(Code::MissingTensor, "lm_head.weight")
        }),
        Case("a NaN in a norm", Base, |d| set_value(d, NORM, f32::NAN)),
        Case("an infinite weight beside FP8", MoStatic, |d| {
            let name = format!("{}.weight", bf16(d));
            set_value(d, &name, f32::NEG_INFINITY)
        }),
        Case("blocks with a hole in an architecture without known shapes", Base, |d| {
            as_glm(d);
            d.edit_tensors(|t| t.retain(|name, _| !name.starts_with("model.layers.1.")));
            vec![(Code::Blocks, "model.layers.1".into()), (Code::NotChecked, CONFIG.into())]
        }),
    ]
}

/// Makes the directory one of GLM-4: a language model of six blocks of whose shapes only the facts of its architecture and the
/// other blocks are known.
fn as_glm(d: &Directory) {
    let mut tensors = Tensors::new();
    let mut add = |name: String, shape: &[usize]| drop(tensors.insert(name, Raw::zeros(shape)));
    add("model.embed_tokens.weight".into(), &[16, 8]);
    add("lm_head.weight".into(), &[16, 8]);
    add("model.norm.weight".into(), &[8]);
    for block in 0..6 {
        let block = format!("model.layers.{block}");
        for norm in
            ["input_layernorm", "post_attention_layernorm", "post_mlp_layernorm", "post_self_attn_layernorm"]
        {
            add(format!("{block}.{norm}.weight"), &[8]);
        }
        for (name, shape) in [
            ("self_attn.q_proj", [16, 8]),
            ("self_attn.k_proj", [4, 8]),
            ("self_attn.v_proj", [4, 8]),
            ("self_attn.o_proj", [8, 16]),
            ("mlp.gate_up_proj", [24, 8]),
            ("mlp.down_proj", [8, 12]),
        ] {
            add(format!("{block}.{name}.weight"), &shape);
        }
    }
    let config = json!({"architectures": ["Glm4ForCausalLM"], "model_type": "glm4", "num_hidden_layers": 6,
        "hidden_size": 8, "tie_word_embeddings": false});
    d.weight_files().iter().for_each(|file| fs::remove_file(file).unwrap());
    let _ = fs::remove_file(d.file(INDEX));
    fs::write(d.file(CONFIG), config.to_string()).unwrap();
    write_safetensors(&d.file("model.safetensors"), &tensors);
}

fn new(base: &tempfile::TempDir, make: fn(&Directory)) -> Directory {
    let directory = Directory::create(&base.path().join("model"), &json!({}), &Tensors::new());
    make(&directory);
    directory
}

/// What is wrong; that sizes of such models are not checked is tested elsewhere.
fn found(d: &Directory) -> Expected {
    let problems = verify(&d.0, Depth::Full).unwrap().into_iter().filter(|problem| problem.is_fault());
    problems.map(|problem| (problem.code, problem.subject)).collect()
}

#[test]
fn blocks_are_compared_where_only_the_architecture_is_known() {
    type Break = (fn(&Directory), &'static [(Code, &'static str)]);
    let breaks: [Break; 10] = [
        (|_| {}, &[]),
        (
            |d| d.edit_tensors(|t| drop(t.remove("model.embed_tokens.weight").unwrap())),
            &[(Code::MissingTensor, "model.embed_tokens.weight")],
        ),
        (
            |d| d.edit_tensors(|t| drop(t.remove("model.layers.2.self_attn.k_proj.weight").unwrap())),
            &[(Code::MissingTensor, "model.layers.2.self_attn.k_proj.weight")],
        ),
        (
            |d| drop(rename(d, "model.layers.5.mlp.down_proj.weight", "model.layers.5.mlp.downproj.weight")),
            &[
                (Code::MissingTensor, "model.layers.5.mlp.down_proj.weight"),
                (Code::UnknownTensor, "model.layers.5.mlp.downproj.weight"),
            ],
        ),
        (
            |d| d.edit_tensors(|t| transpose(t, "model.layers.3.self_attn.o_proj.weight")),
            &[(Code::TensorShape, "model.layers.3.self_attn.o_proj.weight")],
        ),
        (|d| d.edit_json(CONFIG, |c| c["num_hidden_layers"] = 7.into()), &[(Code::Blocks, CONFIG)]),
        (|d| d.edit_json(CONFIG, |c| c["num_hidden_layers"] = 5.into()), &[(Code::Blocks, CONFIG)]),
        // What follows is right: layers that predict further tokens, and a norm that every block has by some switch.
        (
            |d| {
                d.edit_json(CONFIG, |c| {
                    c["num_hidden_layers"] = 5.into();
                    c["num_nextn_predict_layers"] = 1.into();
                })
            },
            &[],
        ),
        (
            |d| {
                d.edit_tensors(|t| {
                    let names = (0..6).map(|n| format!("model.layers.{n}.self_attn.q_norm.weight"));
                    t.extend(names.map(|name| (name, Raw::zeros(&[4]))));
                })
            },
            &[],
        ),
        (
            |d| {
                let types = ["sliding", "full", "sliding", "sliding", "sliding", "sliding"];
                d.edit_json(CONFIG, |c| c["layer_types"] = json!(types));
                d.edit_tensors(|t| drop(t.remove("model.layers.1.self_attn.v_proj.weight").unwrap()));
            },
            &[],
        ),
    ];
    for (number, (break_it, expected)) in breaks.into_iter().enumerate() {
        let base = tempfile::tempdir().unwrap();
        let directory = new(&base, as_glm);
        break_it(&directory);
        let expected: Expected = expected.iter().map(|(code, name)| (*code, name.to_string())).collect();
        assert_eq!(found(&directory), expected, "break {number}");
    }
}

/// A mixture whose first block has none, as published.
fn as_mixture(d: &Directory) {
    let (mut tensors, hidden, inner) = (Tensors::new(), 8, 4);
    let mut add = |name: String, shape: &[usize]| drop(tensors.insert(name, Raw::zeros(shape)));
    add("model.embed_tokens.weight".into(), &[16, hidden]);
    add("lm_head.weight".into(), &[16, hidden]);
    add("model.norm.weight".into(), &[hidden]);
    for number in 0..5 {
        let block = format!("model.layers.{number}");
        for (name, size) in [
            ("input_layernorm", hidden),
            ("post_attention_layernorm", hidden),
            ("self_attn.q_norm", 2),
            ("self_attn.k_norm", 2),
        ] {
            add(format!("{block}.{name}.weight"), &[size]);
        }
        for (name, shape) in [
            ("q_proj", [8, hidden]),
            ("k_proj", [4, hidden]),
            ("v_proj", [4, hidden]),
            ("o_proj", [hidden, 8]),
        ] {
            add(format!("{block}.self_attn.{name}.weight"), &shape);
        }
        let mut mlp = |at: String, inner: usize| {
            add(format!("{block}.{at}.gate_proj.weight"), &[inner, hidden]);
            add(format!("{block}.{at}.up_proj.weight"), &[inner, hidden]);
            add(format!("{block}.{at}.down_proj.weight"), &[hidden, inner]);
        };
        if number == 0 {
            mlp("mlp".into(), 12);
            continue;
        }
        (0..3).for_each(|expert| mlp(format!("mlp.experts.{expert}"), inner));
        add(format!("{block}.mlp.gate.weight"), &[3, hidden]);
    }
    let config = json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_hidden_layers": 5,
        "hidden_size": hidden, "intermediate_size": 12, "moe_intermediate_size": inner, "num_experts": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 2, "vocab_size": 16,
        "decoder_sparse_step": 1, "mlp_only_layers": [0], "tie_word_embeddings": false});
    fs::write(d.file(CONFIG), config.to_string()).unwrap();
    write_safetensors(&d.file("model.safetensors"), &tensors);
}

#[test]
fn experts_are_those_of_the_configuration() {
    let base = tempfile::tempdir().unwrap();
    let directory = new(&base, as_mixture);
    assert_eq!(found(&directory), []);
    directory.edit_tensors(|t| drop(t.remove("model.layers.4.mlp.experts.2.down_proj.weight").unwrap()));
    assert_eq!(found(&directory), one(Code::MissingTensor, "model.layers.4.mlp.experts.2.down_proj.weight"));
    as_mixture(&directory);
    directory.edit_json(CONFIG, |c| c["num_experts"] = 2.into());
    let beyond = |part: &str| (Code::UnknownTensor, format!("model.layers.1.mlp.experts.2.{part}.weight"));
    let mut expected: Expected = one(Code::TensorShape, "model.layers.1.mlp.gate.weight");
    expected.extend(["down_proj", "gate_proj", "up_proj"].map(beyond));
    assert_eq!(found(&directory), expected);
    // The same, where the classes of a mixture's facts alone are known.
    as_mixture(&directory);
    directory.edit_json(CONFIG, |c| drop(c.as_object_mut().unwrap().remove("num_experts")));
    assert_eq!(found(&directory), [], "a first block without experts is none that lacks something");
    directory.edit_tensors(|t| drop(t.remove("model.layers.4.mlp.experts.1.up_proj.weight").unwrap()));
    assert_eq!(found(&directory), one(Code::MissingTensor, "model.layers.4.mlp.experts.1.up_proj.weight"));
}

#[test]
fn a_tensor_in_a_file_that_the_index_leaves_out_is_named_with_the_file() {
    let base = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&base.path().join("demo")).unwrap();
    let directory = Directory::copy(&demo.model, &base.path().join("model"));
    let norm: Tensors = [(NORM.to_string(), directory.tensors()[NORM].clone())].into();
    directory.edit_tensors(|t| drop(t.remove(NORM).unwrap()));
    write_safetensors(&directory.file("other.safetensors"), &norm);
    let problems = verify(&directory.0, Depth::Headers).unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].code, problems[0].subject.as_str()), (Code::MissingTensor, NORM));
    assert!(problems[0].message.contains("`other.safetensors` holds it"), "{}", problems[0].message);
}

#[test]
fn a_sentence_says_what_a_tensor_was_renamed_to() {
    let base = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&base.path().join("demo")).unwrap();
    let directory = Directory::copy(&demo.model, &base.path().join("model"));
    rename(&directory, NORM, "model.layers.2.input_norm.weight");
    let problems = verify(&directory.0, Depth::Headers).unwrap();
    assert!(
        problems[0].message.ends_with("`model.layers.2.input_norm.weight` has its shape and may be the same"),
        "{problems:?}"
    );
}

#[test]
fn weights_are_read_only_when_they_are_asked_for() {
    let base = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&base.path().join("demo")).unwrap();
    let directory = Directory::copy(&demo.model, &base.path().join("model"));
    set_value(&directory, NORM, f32::INFINITY);
    assert_eq!(verify(&directory.0, Depth::Headers).unwrap(), []);
    assert_eq!(verify(&directory.0, Depth::Full).unwrap().len(), 1);
    assert_eq!(directory.tensors()[NORM].dtype, Dtype::BF16);
}
