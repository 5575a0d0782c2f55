//! What at least one loader rejects.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::breaks::Good::*;
use crate::breaks::*;
use crate::common::directory::Raw;
use qlua::verify::Code;

pub fn cases() -> Vec<Case> {
    vec![
        Case("an FP8 layer that is ignored", CtStatic, |d| {
            quantization_config(d, |q| add_to(&mut q["ignore"], &in_memory(&fp8(d))));
            one(Code::WronglyExcluded, fp8(d))
        }),
        Case("an FP8 layer that is excluded", MoDynamic, |d| {
            d.edit_json(HF, |c| add_to(&mut c["quantization"]["exclude_modules"], &fp8(d)));
            one(Code::WronglyExcluded, fp8(d))
        }),
        Case("an FP8 layer that vLLM excludes by substring", MoStatic, |d| {
            let module = d.module(Dtype::F8_E4M3, "layers.3.mlp.down_proj");
            d.edit_json(HF, |c| add_to(&mut c["quantization"]["exclude_modules"], "layers.3.mlp.down"));
            one(Code::WronglyExcluded, module)
        }),
        Case("an FP8 layer that a wildcard excludes", Universal, |d| {
            let module = d.module(Dtype::F8_E4M3, "layers.3.mlp.down_proj");
            d.edit_json(HF, |c| add_to(&mut c["quantization"]["exclude_modules"], "*.3.*down*"));
            one(Code::WronglyExcluded, module)
        }),
        Case("an FP8 layer that is no target", CtDynamic, |d| {
            let (module, pattern) = (fp8(d), r"re:(?:model\.visual|.*(?:attn|gate_proj|up_proj))");
            quantization_config(d, |q| q["config_groups"]["group_0"]["targets"] = json!([pattern]));
            let tensors = d.tensors();
            let downs = tensors.iter().filter_map(|(n, t)| {
                let module = n.strip_suffix(".weight")?;
                let hit =
                    t.dtype == Dtype::F8_E4M3 && module.ends_with("down_proj") && n.starts_with("model.");
                hit.then(|| (Code::WronglyExcluded, module.to_string()))
            });
            let expected: Expected = downs.collect();
            assert!(expected.iter().any(|(_, name)| *name == module));
            expected
        }),
        Case("an extra tensor of an FP8 layer", CtStatic, |d| {
            let name = format!("{}.weight_amax", fp8(d));
            d.edit_tensors(|t| drop(t.insert(name.clone(), Raw::bf16(&[1], &[1.0]))));
            one(Code::ExtraTensor, name)
        }),
        Case("what a quantiser left beside a BF16 layer", Base, |d| {
            let name = format!("{}.input_quantizer._amax", bf16(d));
            d.edit_tensors(|t| drop(t.insert(name.clone(), Raw::bf16(&[], &[1.0]))));
            one(Code::ExtraTensor, name)
        }),
        Case("an input_scale under dynamic activations", CtDynamic, add_input_scale),
        Case("the same in modelopt", MoDynamic, add_input_scale),
        Case("an input_scale where only weights are quantised", CtStatic, |d| {
            quantization_config(d, |q| q["config_groups"]["group_0"]["input_activations"] = Value::Null);
            let tensors = d.tensors();
            let scales = tensors.keys().filter_map(|n| n.strip_suffix(".input_scale"));
            scales.map(|module| (Code::ExtraInputScale, module.to_string())).collect()
        }),
        Case("a partly ignored fused group", CtStatic, |d| {
            let module = d.module(Dtype::F8_E4M3, "self_attn.v_proj");
            quantization_config(d, |q| add_to(&mut q["ignore"], &in_memory(&module)));
            one(Code::WronglyExcluded, module)
        }),
        Case("a partly excluded fused group", MoStatic, |d| {
            let module = d.module(Dtype::BF16, "mlp.up_proj");
            d.edit_json(HF, |c| remove_from(&mut c["quantization"]["exclude_modules"], &module));
            one(Code::NotExcluded, module)
        }),
        Case("a split fused group", CtDynamic, |d| {
            let module = d.module(Dtype::F8_E4M3, "self_attn.q_proj");
            d.edit_tensors(|t| make_bf16(t, &module));
            quantization_config(d, |q| add_to(&mut q["ignore"], &in_memory(&module)));
            vec![
                (Code::SplitGroup, module.replace("q_proj", "qkv_proj")),
                // SGLang asks for the whole group only.
                (Code::EngineSpelling, module),
            ]
        }),
        Case("a scale of shape []", CtStatic, |d| reshape(d, "weight_scale", &[])),
        Case("a scale of shape [1, 1]", CtStatic, |d| reshape(d, "weight_scale", &[1, 1])),
        Case("an input scale of shape []", CtStatic, |d| reshape(d, "input_scale", &[])),
        Case("a channel scale of shape [out]", CtDynamic, |d| reshape(d, "weight_scale", &[128])),
        Case("a channel scale in two dimensions of ModelOpt", MoDynamic, |d| {
            reshape(d, "weight_scale", &[1, 128])
        }),
        Case("a scale of shape [1, 1] in modelopt", MoStatic, |d| reshape(d, "weight_scale", &[1, 1])),
        Case("an input scale of two values in modelopt", MoStatic, |d| {
            let module = fp8(d);
            let two = Raw::new(Dtype::F32, &[2], [1f32.to_le_bytes(), 1f32.to_le_bytes()].concat());
            d.edit_tensors(|t| drop(t.insert(format!("{module}.input_scale"), two)));
            one(Code::ScaleShape, module)
        }),
        Case("an F32 scale in compressed-tensors", CtStatic, |d| {
            let module = fp8(d);
            let scale = Raw::new(Dtype::F32, &[1], 1f32.to_le_bytes().to_vec());
            d.edit_tensors(|t| drop(t.insert(format!("{module}.weight_scale"), scale)));
            one(Code::ScaleShape, module)
        }),
        Case("a scale of integers", MoStatic, |d| {
            let module = fp8(d);
            let scale = Raw::new(Dtype::I32, &[], 1i32.to_le_bytes().to_vec());
            d.edit_tensors(|t| drop(t.insert(format!("{module}.weight_scale"), scale)));
            one(Code::ScaleShape, module)
        }),
        Case("quantization_status frozen", CtStatic, |d| {
            quantization_config(d, |q| q["quantization_status"] = "frozen".into());
            one(Code::Configuration, CONFIG)
        }),
        Case("no quantization_status", Universal, |d| {
            quantization_config(d, |q| drop(q.as_object_mut().unwrap().remove("quantization_status")));
            one(Code::Configuration, CONFIG)
        }),
    ]
}
