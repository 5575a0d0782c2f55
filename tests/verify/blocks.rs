//! Damage of `quant_method: fp8` with blocks of weights.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::breaks::Good::Block;
use crate::breaks::*;
use crate::common::directory::{Directory, Raw};
use qlua::verify::Code;

const LIST: &str = "modules_to_not_convert";

/// An FP8 layer of the demo whose size is one block.
fn quantised(d: &Directory) -> String {
    d.module(Dtype::F8_E4M3, ".self_attn.o_proj")
}

/// Every FP8 layer.
fn all(d: &Directory) -> Vec<String> {
    let tensors = d.tensors();
    let fp8 = tensors.iter().filter(|(_, tensor)| tensor.dtype == Dtype::F8_E4M3);
    fp8.map(|(name, _)| name.strip_suffix(".weight").unwrap().to_string()).collect()
}

fn scale(d: &Directory, edit: fn(&mut Raw)) {
    d.edit_tensors(|t| edit(t.get_mut(&format!("{}.weight_scale_inv", quantised(d))).unwrap()));
}

fn configured(key: &str, value: Value) -> impl FnOnce(&Directory) -> Expected {
    move |d| {
        quantization_config(d, |q| q[key] = value);
        one(Code::Configuration, CONFIG)
    }
}

pub fn cases() -> Vec<Case> {
    vec![
        Case("a BF16 layer that is not listed", Block, |d| {
            let module = bf16(d);
            quantization_config(d, |q| {
                remove_from(&mut q[LIST], &module);
                remove_from(&mut q[LIST], &in_memory(&module));
            });
            one(Code::NotExcluded, module)
        }),
        Case("a BF16 layer that is listed by its name in memory alone: SGLang has another", Block, |d| {
            let module = bf16(d);
            quantization_config(d, |q| remove_from(&mut q[LIST], &module));
            one(Code::EngineSpelling, module)
        }),
        Case("a vision layer without the parts that SGLang asks for", Block, |d| {
            let module = d.module(Dtype::BF16, ".attn.qkv");
            quantization_config(d, |q| {
                remove_from(&mut q[LIST], &in_memory(&module).replace(".qkv", ".k_proj"))
            });
            one(Code::EngineSpelling, module)
        }),
        Case("an FP8 layer that is listed", Block, |d| {
            let module = quantised(d);
            quantization_config(d, |q| add_to(&mut q[LIST], &in_memory(&module)));
            one(Code::WronglyExcluded, module)
        }),
        Case("an entry that hits FP8 layers as a part of their names", Block, |d| {
            let hit: Vec<String> =
                all(d).into_iter().filter(|module| module.contains("attn.o_pro")).collect();
            assert!(!hit.is_empty());
            quantization_config(d, |q| add_to(&mut q[LIST], "attn.o_pro"));
            one(Code::EngineSpelling, hit[0].clone())
        }),
        Case("an expression that hits FP8 layers", Block, |d| {
            quantization_config(d, |q| {
                add_to(&mut q[LIST], "model.language_model.layers.[0-9]+.self_attn.o_proj")
            });
            let hit = all(d).into_iter().filter(|module| module.ends_with("self_attn.o_proj"));
            hit.map(|module| (Code::WronglyExcluded, module)).collect()
        }),
        Case("an expression that does not parse", Block, |d| {
            quantization_config(d, |q| add_to(&mut q[LIST], "visual.("));
            one(Code::Configuration, CONFIG)
        }),
        Case("lm_head missing from the list", Block, |d| {
            quantization_config(d, |q| remove_from(&mut q[LIST], "lm_head"));
            one(Code::LmHead, "lm_head")
        }),
        Case("blocks of another size", Block, |d| {
            quantization_config(d, |q| q["weight_block_size"] = json!([64, 128]));
            all(d).into_iter().map(|module| (Code::ScaleShape, module)).collect()
        }),
        Case("no size of blocks", Block, |d| configured("weight_block_size", Value::Null)(d)),
        Case("a size of blocks that is none", Block, |d| configured("weight_block_size", json!([128, 0]))(d)),
        Case("another format of codes", Block, |d| configured("fmt", json!("e5m2"))(d)),
        Case("static activations, for which there are no input scales", Block, |d| {
            configured("activation_scheme", json!("static"))(d)
        }),
        Case("the list under a name that not all read", Block, |d| {
            quantization_config(d, |q| {
                let list = q[LIST].take();
                q["ignored_layers"] = list;
            });
            one(Code::Configuration, CONFIG)
        }),
        Case("scales under the name of other formats", Block, |d| {
            let module = quantised(d);
            d.edit_tensors(|t| {
                let scale = t.remove(&format!("{module}.weight_scale_inv")).unwrap();
                t.insert(format!("{module}.weight_scale"), scale);
            });
            one(Code::WeightScale, module)
        }),
        Case("no scales", Block, |d| {
            let module = quantised(d);
            d.edit_tensors(|t| drop(t.remove(&format!("{module}.weight_scale_inv")).unwrap()));
            one(Code::WeightScale, module)
        }),
        Case("one scale too many", Block, |d| {
            scale(d, |scale| *scale = Raw::new(Dtype::F32, &[1, 2], [1f32.to_le_bytes(); 2].concat()));
            one(Code::ScaleShape, quantised(d))
        }),
        Case("scales of a dtype that nothing reads", Block, |d| {
            scale(d, |scale| *scale = Raw::new(Dtype::F64, &[1, 1], 1f64.to_le_bytes().to_vec()));
            one(Code::ScaleShape, quantised(d))
        }),
        Case("an input scale", Block, |d| {
            let module = quantised(d);
            d.edit_tensors(|t| drop(t.insert(format!("{module}.input_scale"), Raw::bf16(&[1], &[1.0]))));
            one(Code::ExtraInputScale, module)
        }),
    ]
}
