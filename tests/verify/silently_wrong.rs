//! What no loader complains about and some get wrong: the most important findings.

use safetensors::tensor::Dtype;
use serde_json::json;

use crate::breaks::Good::*;
use crate::breaks::*;
use crate::common::directory::{Directory, Raw};
use qlua::verify::Code;

pub fn cases() -> Vec<Case> {
    vec![
        Case("1: static without input_scale", Universal, remove_input_scale),
        Case("1: the same in compressed-tensors", CtStatic, remove_input_scale),
        Case("1: the same in modelopt", MoStatic, remove_input_scale),
        Case("2: a BF16 layer missing from ignore", Universal, |d| {
            unlist(d, &bf16(d));
            one(Code::NotExcluded, bf16(d))
        }),
        Case("2: a BF16 vision layer missing from ignore", CtDynamic, |d| {
            let module = d.module(Dtype::BF16, ".attn.qkv");
            unlist(d, &module);
            one(Code::NotExcluded, module)
        }),
        Case("2: a BF16 layer missing from exclude_modules", Universal, |d| {
            d.edit_json(HF, |c| remove_from(&mut c["quantization"]["exclude_modules"], &bf16(d)));
            one(Code::NotExcluded, bf16(d))
        }),
        Case("2: the same in modelopt", MoDynamic, |d| {
            d.edit_json(HF, |c| remove_from(&mut c["quantization"]["exclude_modules"], &bf16(d)));
            one(Code::NotExcluded, bf16(d))
        }),
        Case("3: lm_head missing from ignore", CtStatic, |d| {
            quantization_config(d, |q| remove_from(&mut q["ignore"], "lm_head"));
            one(Code::LmHead, "lm_head")
        }),
        Case("3: lm_head missing from exclude_modules", MoStatic, |d| {
            d.edit_json(HF, |c| remove_from(&mut c["quantization"]["exclude_modules"], "lm_head"));
            one(Code::LmHead, "lm_head")
        }),
        Case("3: lm_head stored in FP8 although it is tied", CtStatic, |d| {
            d.edit_tensors(|t| {
                let codes = Raw::new(Dtype::F8_E4M3, &[512, 128], vec![0x38; 512 * 128]);
                t.insert("lm_head.weight".into(), codes);
                t.insert("lm_head.weight_scale".into(), Raw::bf16(&[1], &[1.0]));
                t.insert("lm_head.input_scale".into(), Raw::bf16(&[1], &[1.0]));
            });
            quantization_config(d, |q| remove_from(&mut q["ignore"], "lm_head"));
            one(Code::LmHead, "lm_head")
        }),
        Case("3: an untied lm_head in FP8 that is ignored", CtStatic, |d| {
            d.edit_tensors(|t| {
                let codes = Raw::new(Dtype::F8_E4M3, &[512, 128], vec![0x38; 512 * 128]);
                t.insert("lm_head.weight".into(), codes);
                t.insert("lm_head.weight_scale".into(), Raw::bf16(&[1], &[1.0]));
                t.insert("lm_head.input_scale".into(), Raw::bf16(&[1], &[1.0]));
            });
            d.edit_json(CONFIG, |c| c["tie_word_embeddings"] = false.into());
            one(Code::WronglyExcluded, "lm_head")
        }),
        Case("4: a split fused group under MIXED_PRECISION", MoStatic, |d| {
            let module = d.module(Dtype::F8_E4M3, "self_attn.k_proj");
            d.edit_tensors(|t| make_bf16(t, &module));
            make_mixed(d);
            one(Code::SplitGroup, module.replace("k_proj", "qkv_proj"))
        }),
        Case("4: a split vision group under MIXED_PRECISION", MoStatic, |d| {
            let module = d.module(Dtype::BF16, "mlp.gate_proj");
            let shape = d.tensors()[&format!("{module}.weight")].shape.clone();
            d.edit_tensors(|t| {
                let codes = vec![0x38; shape.iter().product()];
                t.insert(format!("{module}.weight"), Raw::new(Dtype::F8_E4M3, &shape, codes));
                t.insert(format!("{module}.weight_scale"), Raw::bf16(&[], &[1.0]));
                t.insert(format!("{module}.input_scale"), Raw::bf16(&[], &[1.0]));
            });
            make_mixed(d);
            one(Code::SplitGroup, module.replace("gate_proj", "gate_up_proj"))
        }),
        Case("an FP8 layer that MIXED_PRECISION does not list", MoStatic, |d| {
            make_mixed(d);
            d.edit_json(HF, |c| {
                c["quantization"]["quantized_layers"].as_object_mut().unwrap().remove(&fp8(d)).unwrap();
            });
            one(Code::WronglyExcluded, fp8(d))
        }),
        Case("a BF16 layer that MIXED_PRECISION lists", MoStatic, |d| {
            make_mixed(d);
            d.edit_json(HF, |c| {
                c["quantization"]["quantized_layers"][bf16(d)] = json!({"quant_algo": "FP8"})
            });
            one(Code::NotExcluded, bf16(d))
        }),
        Case("5: names of compressed-tensors in on-disk spelling", CtStatic, |d| {
            let module = bf16(d);
            unlist(d, &module);
            quantization_config(d, |q| add_to(&mut q["ignore"], &module));
            vec![(Code::Spelling, module.clone()), (Code::NotExcluded, module)]
        }),
        Case("5: on-disk spelling beside the right one", Universal, |d| {
            quantization_config(d, |q| add_to(&mut q["ignore"], &bf16(d)));
            one(Code::Spelling, bf16(d))
        }),
        Case("5: on-disk spelling in an expression", CtDynamic, |d| {
            let module = d.module(Dtype::BF16, "merger.mlp.0");
            unlist(d, &module);
            quantization_config(d, |q| add_to(&mut q["ignore"], r"re:visual\.merger\..*0$"));
            one(Code::NotExcluded, module)
        }),
        Case("7: a list of plain names, which SGLang looks for under others", Universal, |d| {
            plain_list(d);
            one(Code::EngineSpelling, first_language(d))
        }),
        Case("7: the same under dynamic activations", CtDynamic, |d| {
            plain_list(d);
            one(Code::EngineSpelling, first_language(d))
        }),
        Case("7: an expression in the spelling of Transformers alone", CtStatic, |d| {
            let module = bf16(d);
            unlist(d, &module);
            let name = in_memory(&module).replace('.', r"\.");
            quantization_config(d, |q| add_to(&mut q["ignore"], &format!("re:{name}$")));
            one(Code::EngineSpelling, module)
        }),
        Case("7: an expression for a layer that SGLang calls otherwise", CtStatic, |d| {
            let module = d.module(Dtype::BF16, ".attn.qkv");
            unlist(d, &module);
            let name = module.replace('.', r"\.");
            quantization_config(d, |q| add_to(&mut q["ignore"], &format!("re:.*{name}$")));
            one(Code::EngineSpelling, module)
        }),
        Case("7: an expression that hits an FP8 layer by its name in vLLM alone", CtStatic, |d| {
            let module = fp8(d);
            let end = module.strip_prefix("model.").unwrap();
            quantization_config(d, |q| {
                add_to(&mut q["ignore"], &format!("re:language_model\\.model\\.{end}$"))
            });
            one(Code::EngineSpelling, module)
        }),
        Case("6: quant_method modelopt in config.json", MoStatic, |d| {
            let hf = d.json(HF);
            d.edit_json(CONFIG, |c| {
                c["quantization_config"] = json!({"quant_method": "modelopt", "quant_algo": "FP8",
                    "ignore": hf["quantization"]["exclude_modules"], "producer": hf["producer"]});
            });
            one(Code::ModeloptExport, CONFIG)
        }),
        Case("6: the same, with a list that misses a layer", MoStatic, |d| {
            let mut hf = d.json(HF);
            remove_from(&mut hf["quantization"]["exclude_modules"], &bf16(d));
            d.edit_json(CONFIG, |c| {
                c["quantization_config"] = json!({"quant_method": "modelopt", "quant_algo": "FP8",
                    "ignore": hf["quantization"]["exclude_modules"], "producer": hf["producer"]});
            });
            vec![(Code::ModeloptExport, CONFIG.into()), (Code::NotExcluded, bf16(d))]
        }),
    ]
}

/// The list as qlua wrote it once: the names of BF16 layers in memory.
fn plain_list(d: &Directory) {
    let tensors = d.tensors();
    let bf16 =
        tensors.iter().filter(|(n, t)| t.dtype == Dtype::BF16 && t.shape.len() == 2 && !n.contains("embed"));
    let names = bf16.filter_map(|(n, _)| Some(in_memory(n.strip_suffix(".weight")?)));
    let names: Vec<String> = names.chain(["lm_head".to_string()]).collect();
    quantization_config(d, |q| q["ignore"] = json!(names));
}

/// The first BF16 layer of the language model in the order of the files.
fn first_language(d: &Directory) -> String {
    let checkpoint = qlua::model::Model::open(&d.0).unwrap();
    let tensors = d.tensors();
    let is_bf16 = |module: &&str| tensors[&format!("{module}.weight")].dtype == Dtype::BF16;
    let mut linears = checkpoint.modules().linears().filter(is_bf16);
    linears.find(|module| module.starts_with("model.layers.")).unwrap().to_string()
}
