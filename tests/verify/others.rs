//! Damage of weights, files and configurations.

use std::fs;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::breaks::Good::*;
use crate::breaks::*;
use crate::common::directory::{INDEX, Raw, read_safetensors, write_safetensors};
use qlua::verify::Code;

pub fn cases() -> Vec<Case> {
    vec![
        Case("two files that end in hf_quant_config.json", Universal, |d| {
            fs::copy(d.file(HF), d.file("old_hf_quant_config.json")).unwrap();
            one(Code::Configuration, HF)
        }),
        Case("a producer that vLLM does not know", MoStatic, |d| {
            d.edit_json(HF, |c| c["producer"]["name"] = "qlua".into());
            one(Code::Configuration, HF)
        }),
        Case("an unknown quant_algo", MoStatic, |d| {
            d.edit_json(HF, |c| c["quantization"]["quant_algo"] = "FP7".into());
            one(Code::NotChecked, HF)
        }),
        Case("static ModelOpt beside dynamic compressed-tensors", CtDynamic, |d| {
            let tensors = d.tensors();
            let bf16 = tensors
                .iter()
                .filter(|(n, t)| t.dtype == Dtype::BF16 && t.shape.len() == 2 && !n.contains("embed"));
            let exclude: Vec<&str> =
                bf16.filter_map(|(n, _)| n.strip_suffix(".weight")).chain(["lm_head"]).collect();
            let quantization = json!({"quant_algo": "FP8", "exclude_modules": exclude});
            let config = json!({"producer": {"name": "modelopt"}, "quantization": quantization});
            fs::write(d.file(HF), config.to_string()).unwrap();
            let tensors = d.tensors();
            let layers = tensors.iter().filter(|(_, t)| t.dtype == Dtype::F8_E4M3);
            let layers = layers.flat_map(|(name, _)| {
                let module = name.strip_suffix(".weight").unwrap().to_string();
                [(Code::ScaleShape, module.clone()), (Code::MissingInputScale, module)]
            });
            layers.chain([(Code::Configuration, HF.to_string())]).collect()
        }),
        Case("a format of packed integers", CtStatic, |d| {
            quantization_config(d, |q| q["config_groups"]["group_0"]["format"] = "pack-quantized".into());
            one(Code::Configuration, CONFIG)
        }),
        Case("no format", CtDynamic, |d| {
            quantization_config(d, |q| {
                q.as_object_mut().unwrap().remove("format").unwrap();
                q["config_groups"]["group_0"]["format"] = Value::Null;
            });
            one(Code::Configuration, CONFIG)
        }),
        Case("weights that are said to be integers", CtStatic, |d| {
            quantization_config(d, |q| q["config_groups"]["group_0"]["weights"]["type"] = "int".into());
            one(Code::Configuration, CONFIG)
        }),
        Case("a group without a target", CtStatic, |d| {
            quantization_config(d, |q| q["config_groups"] = json!({}));
            let tensors = d.tensors();
            let layers = tensors.iter().filter(|(_, t)| t.dtype == Dtype::F8_E4M3);
            let layers =
                layers.map(|(name, _)| (Code::WronglyExcluded, name.strip_suffix(".weight").unwrap()));
            let layers = layers.map(|(code, name)| (code, name.to_string()));
            layers.chain([(Code::Configuration, CONFIG.to_string())]).collect()
        }),
        Case("an expression that does not parse", CtStatic, |d| {
            quantization_config(d, |q| add_to(&mut q["ignore"], "re:("));
            one(Code::Configuration, CONFIG)
        }),
        Case("a quant_method of something else", CtStatic, |d| {
            d.edit_json(CONFIG, |c| c["quantization_config"] = json!({"quant_method": "gptq", "bits": 4}));
            one(Code::Configuration, CONFIG)
        }),
        Case("no configuration at all", CtStatic, |d| {
            d.edit_json(CONFIG, |c| drop(c.as_object_mut().unwrap().remove("quantization_config")));
            one(Code::Unconfigured, CONFIG)
        }),
        Case("no configuration in modelopt", MoStatic, |d| {
            fs::remove_file(d.file(HF)).unwrap();
            one(Code::Unconfigured, CONFIG)
        }),
        Case("an embedding in FP8", Universal, |d| {
            d.edit_tensors(|t| {
                let table = t.get_mut("model.embed_tokens.weight").unwrap();
                *table = Raw::new(Dtype::F8_E4M3, &table.shape, vec![0; table.bytes.len() / 2]);
            });
            one(Code::Unconfigured, "model.embed_tokens.weight")
        }),
        Case("a bias in the other FP8", Base, |d| {
            let name = "visual.merger.mlp.0.bias";
            d.edit_tensors(|t| {
                let bias = t.get_mut(name).unwrap();
                *bias = Raw::new(Dtype::F8_E5M2, &bias.shape, vec![0; bias.bytes.len() / 2]);
            });
            one(Code::Unconfigured, name)
        }),
        Case("a missing weight_scale", Universal, |d| {
            let module = fp8(d);
            d.edit_tensors(|t| drop(t.remove(&format!("{module}.weight_scale")).unwrap()));
            one(Code::WeightScale, module)
        }),
        Case("a scale of a BF16 layer", MoStatic, |d| {
            let name = format!("{}.weight_scale", bf16(d));
            d.edit_tensors(|t| drop(t.insert(name.clone(), Raw::bf16(&[], &[1.0]))));
            one(Code::WeightScale, name)
        }),
        Case("a scale of 0", Universal, |d| set_scale(d, "weight_scale", 0.0)),
        Case("a negative scale", CtStatic, |d| set_scale(d, "weight_scale", -1.0)),
        Case("a NaN scale", CtStatic, |d| set_scale(d, "input_scale", f32::NAN)),
        Case("an infinite scale", CtStatic, |d| set_scale(d, "input_scale", f32::INFINITY)),
        Case("one unusable channel scale", CtDynamic, |d| {
            let name = format!("{}.weight_scale", fp8(d));
            d.edit_tensors(|t| {
                let bytes = &mut t.get_mut(&name).unwrap().bytes;
                let last = bytes.len() - 2;
                bytes[last..].copy_from_slice(&half::bf16::NEG_INFINITY.to_le_bytes());
            });
            one(Code::ScaleValue, name)
        }),
        Case("NaN codes", CtDynamic, |d| {
            let module = fp8(d);
            d.edit_tensors(|t| {
                *t.get_mut(&format!("{module}.weight")).unwrap().bytes.last_mut().unwrap() = 0xff
            });
            one(Code::NanCodes, module)
        }),
        Case("a tensor that the index does not name", Universal, |d| {
            let name = bf16(d) + ".weight";
            d.edit_json(INDEX, |i| drop(i["weight_map"].as_object_mut().unwrap().remove(&name).unwrap()));
            let bytes = d.tensors()[&name].bytes.len() as u64;
            d.edit_json(INDEX, |i| {
                i["metadata"]["total_size"] = (i["metadata"]["total_size"].as_u64().unwrap() - bytes).into()
            });
            one(Code::ExtraTensor, name)
        }),
        Case("a tensor in two shards of which the index names one", Base, |d| {
            let [first, second] = &d.weight_files()[..] else { panic!("the demo has two shards") };
            let name = read_safetensors(first).keys().next().unwrap().clone();
            let mut tensors = read_safetensors(second);
            tensors.insert(name.clone(), read_safetensors(first)[&name].clone());
            write_safetensors(second, &tensors);
            one(Code::ExtraTensor, name)
        }),
        Case("a wrong total_size", Universal, |d| {
            d.edit_json(INDEX, |i| i["metadata"]["total_size"] = 1.into());
            one(Code::TotalSize, INDEX)
        }),
        Case("a shard that is cut off in its data", Universal, |d| cut(d, 1_000_000)),
        Case("a shard that is cut off in its header", MoStatic, |d| cut(d, 1000)),
        Case("an empty shard", CtDynamic, |d| cut(d, 0)),
        Case("a missing shard", Base, |d| {
            fs::remove_file(&d.weight_files()[1]).unwrap();
            one(Code::Unreadable, d.0.display().to_string())
        }),
        Case("a dangling link for a shard", Base, |d| {
            let shard = &d.weight_files()[1];
            fs::remove_file(shard).unwrap();
            std::os::unix::fs::symlink("../blobs/gone", shard).unwrap();
            one(Code::Unreadable, d.0.display().to_string())
        }),
        Case("a dangling link for an index", Base, |d| {
            fs::remove_file(d.file(INDEX)).unwrap();
            std::os::unix::fs::symlink("../blobs/gone", d.file(INDEX)).unwrap();
            one(Code::Unreadable, d.0.display().to_string())
        }),
        Case("no config.json", MoStatic, |d| {
            fs::remove_file(d.file(CONFIG)).unwrap();
            one(Code::Unreadable, d.0.display().to_string())
        }),
        Case("an hf_quant_config.json that is no JSON", Universal, |d| {
            fs::write(d.file(HF), "{").unwrap();
            one(Code::Unreadable, d.0.display().to_string())
        }),
    ]
}
