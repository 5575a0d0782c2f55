//! Block FP8 as people meet it: what `fp8-block` writes, what stays in BF16 and why, and the way back from blocks of any size.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use common::directory::{Directory, Raw, Tensors};
use common::place::{Place, require_message};
use common::{ascending_family, faults, options};
use qlua::dialect::{DialectChoice, DialectId};
use qlua::error::Error;
use qlua::format::{Granularity, Rounding};
use qlua::job::{FamilyOptions, QuantizeOptions, Writer, WriterOptions};
use qlua::model::Model;
use qlua::plan::{Activations, ActivationsChoice};
use qlua::verify::{Depth, verify};
use qlua::write::Silent;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

/// The values of a BF16 or F32 tensor.
fn values(raw: &Raw) -> Vec<f32> {
    match raw.dtype {
        Dtype::BF16 => {
            raw.bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()
        }
        Dtype::F32 => raw.bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        other => panic!("{other} holds no values here"),
    }
}

/// `code × scale`, the scale that of the block in which an element lies.
fn dequantised(codes: &Raw, scales: &Raw, block: [usize; 2]) -> Vec<f32> {
    let [rows, columns] = [codes.shape[0], codes.shape[1]];
    assert_eq!(scales.shape, [rows.div_ceil(block[0]), columns.div_ceil(block[1])]);
    let scales = values(scales);
    let value = |at: usize| {
        let (row, column) = (at / columns, at % columns);
        let scale = scales[row / block[0] * columns.div_ceil(block[1]) + column / block[1]];
        float8::F8E4M3::from_bits(codes.bytes[at]).to_f32() * scale
    };
    (0..rows * columns).map(value).collect()
}

fn fp8_layers(tensors: &Tensors) -> BTreeSet<String> {
    let fp8 = tensors.iter().filter(|(_, tensor)| tensor.dtype == Dtype::F8_E4M3);
    fp8.map(|(name, _)| name.strip_suffix(".weight").unwrap().to_string()).collect()
}

fn block_options(place: &Place) -> FamilyOptions {
    FamilyOptions { dialect: DialectChoice::Named(DialectId::Fp8Block), ..place.options() }
}

#[test]
fn whole_blocks_become_codes_and_the_rest_stays_as_it_is_with_the_reason() {
    let place = Place::new();
    let base = place.model.tensors();
    let family = ascending_family(block_options(&place), &[100.0]);
    let planned = family.planned().unwrap();
    assert_eq!(planned.notes[0], "activations are dynamic: the dialect fp8-block has no other");
    let reasons = &planned.schemes[0].plan.kept;
    let outcome = family.run(&Silent).unwrap();
    let scheme = Directory(outcome.schemes[0].directory.clone());
    let tensors = scheme.tensors();

    // By hand from the shapes of the demo: 128 wide, MLP of 352 and 220, keys and values of 64.
    let whole = |module: &str| {
        [".o_proj", ".attn.qkv", ".attn.proj", "merger.mlp.0", "merger.mlp.2"]
            .iter()
            .any(|l| module.ends_with(l))
    };
    let linears =
        base.iter().filter_map(|(name, t)| (t.shape.len() == 2).then(|| name.strip_suffix(".weight"))?);
    let expected: BTreeSet<String> = linears.filter(|m| whole(m)).map(str::to_string).collect();
    assert_eq!(fp8_layers(&tensors), expected);
    let of_size = reasons.iter().filter(|kept| format!("{kept:?}").contains("multiple of 128"));
    // q, k and v, gate and up, and down of each of four blocks; gate and up, and down of each of three vision blocks.
    assert_eq!(of_size.count(), 4 * 3 + 3 * 2);

    for (name, tensor) in &tensors {
        match name.strip_suffix(".weight").filter(|module| expected.contains(*module)) {
            Some(module) => {
                let scales = &tensors[&format!("{module}.weight_scale_inv")];
                assert_eq!(scales.dtype, Dtype::F32);
                let weight = values(&base[name]);
                let columns = tensor.shape[1];
                for (at, (got, wanted)) in
                    dequantised(tensor, scales, [128, 128]).iter().zip(&weight).enumerate()
                {
                    // Half a step of E4M3: 2^-4 of the value, or 2^-10 of the scale below its normal numbers.
                    let block = at / columns / 128 * columns.div_ceil(128) + at % columns / 128;
                    let step = (wanted.abs() / 16.0).max(values(scales)[block] / 1024.0) * 1.001;
                    assert!((got - wanted).abs() <= step, "{name}[{at}]: {got} instead of {wanted}");
                }
                let amax =
                    weight.iter().enumerate().filter(|(at, _)| at / columns < 128 && at % columns < 128);
                let amax = amax.fold(0f32, |amax, (_, value)| amax.max(value.abs()));
                assert_eq!(values(scales)[0], amax / 448.0, "{name}");
            }
            None if name.ends_with(".weight_scale_inv") => {}
            None => assert_eq!(tensor, &base[name], "{name}"),
        }
    }
    assert_eq!(tensors.len(), base.len() + expected.len());
    assert!(!scheme.file("hf_quant_config.json").exists());
    assert_eq!(verify(&scheme.0, Depth::Full).unwrap(), []);

    let mut config = scheme.json("config.json")["quantization_config"].clone();
    let listed = config.as_object_mut().unwrap().remove("modules_to_not_convert").unwrap();
    assert_eq!(
        config,
        json!({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]})
    );
    let listed: BTreeSet<&str> =
        listed.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
    for name in [
        "model.layers.0.mlp.gate_proj",
        "model.language_model.layers.0.mlp.gate_proj",
        "model.language_model.layers.3.self_attn.k_proj",
        "visual.blocks.0.mlp.down_proj",
        "model.visual.blocks.0.mlp.down_proj",
        "lm_head",
    ] {
        assert!(listed.contains(name), "{name}");
    }
    assert!(!listed.iter().any(|entry| whole(entry)));
}

#[test]
fn static_activations_are_refused_and_given_input_scales_are_said_to_be_unused() {
    let place = Place::new();
    let activations = ActivationsChoice::Named(Activations::Static);
    let error = place.refused_with(FamilyOptions { activations, ..block_options(&place) });
    require_message(&error, &["the dialect fp8-block is always dynamic"], "leave --activations out");

    let baseline = ascending_family(
        FamilyOptions { dialect: DialectChoice::Named(DialectId::ModelOpt), ..place.options() },
        &[100.0],
    );
    let baseline = baseline.run(&Silent).unwrap().schemes.remove(0).directory;
    let out = place.path().join("blocks");
    let given = FamilyOptions { baseline: Some(baseline.clone()), out, ..block_options(&place) };
    let notes = ascending_family(given, &[50.0]).planned().unwrap().notes.clone();
    let note =
        format!("the input scales of `{}` are not used: fp8-block is always dynamic", baseline.display());
    assert!(notes.contains(&note), "{notes:?}");

    let activations = ActivationsChoice::Named(Activations::Dynamic);
    let given = FamilyOptions { baseline: Some(baseline.clone()), activations, ..place.options() };
    let notes = ascending_family(given, &[50.0]).planned().unwrap().notes.clone();
    let why = "dynamic activations were asked for, which need none";
    let note = format!("the input scales of `{}` are not used: {why}", baseline.display());
    assert!(notes.contains(&note), "{notes:?}");
}

/// A model of single layers, whose names are a trap for lists.
fn family_of(
    base: &Path,
    shapes: &[(&str, [usize; 2])],
    quantised: &[&str],
    architecture: &str,
) -> FamilyOptions {
    let tensors: Tensors = shapes
        .iter()
        .map(|(name, shape)| {
            let value = |at: usize| ((at * 37 + name.len()) % 101) as f32 / 50.0 - 1.0;
            (
                format!("{name}.weight"),
                Raw::bf16(shape, &(0..shape[0] * shape[1]).map(value).collect::<Vec<_>>()),
            )
        })
        .collect();
    let model = base.join("model");
    Directory::create(&model, &json!({"architectures": [architecture]}), &tensors);
    let groups: BTreeMap<String, Value> = shapes
        .iter()
        .filter(|(name, _)| quantised.contains(name))
        .map(|(name, [rows, columns])| {
            let size = (rows * columns) as f64;
            let formats = json!(["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"]);
            let group = json!({
                "formats": formats, "scores": [1e-3, 0.0], "costs": [size / 2.0, size], "importance": 1e-3,
                "module_names": [name],
            });
            (format!("{name}.quant_recipe"), group)
        })
        .collect();
    let manifest = base.join("manifest.json");
    std::fs::write(&manifest, json!({"layer_sensitivity": groups}).to_string()).unwrap();
    FamilyOptions {
        dialect: DialectChoice::Named(DialectId::Fp8Block),
        ..options(&model, &manifest, &base.join("out"))
    }
}

#[test]
fn experts_are_listed_as_one_and_a_name_that_begins_with_a_listed_one_is_refused() {
    let experts = "model.layers.1.mlp.experts";
    let shapes = [
        ("model.layers.0.mlp.down_proj", [128, 128]),
        ("model.layers.1.mlp.gate", [2, 128]),
        ("model.layers.1.mlp.experts.0.down_proj", [128, 128]),
        ("model.layers.1.mlp.experts.1.down_proj", [128, 128]),
    ];
    let place = tempfile::tempdir().unwrap();
    let options = family_of(place.path(), &shapes, &["model.layers.0.mlp.down_proj"], "Qwen3MoeForCausalLM");
    let written = ascending_family(options, &[100.0]).run(&Silent).unwrap().schemes.remove(0).directory;
    let config = Directory(written).json("config.json");
    let listed = &config["quantization_config"]["modules_to_not_convert"];
    assert_eq!(*listed, json!([experts, "model.layers.1.mlp.gate", "lm_head"]));

    // Transformers 4 looks for `mlp.gate` anywhere in `mlp.gate_proj`.
    let shapes = [("model.layers.1.mlp.gate", [2, 128]), ("model.layers.1.mlp.gate_proj", [128, 128])];
    let place = tempfile::tempdir().unwrap();
    let options = family_of(place.path(), &shapes, &["model.layers.1.mlp.gate_proj"], "LlamaForCausalLM");
    let error = ascending_family(options, &[100.0]).planned().map(|_| ()).unwrap_err();
    require_message(
        &error,
        &["`model.layers.1.mlp.gate_proj` is in FP8, and Transformers 4 takes it for a layer in BF16"],
        "--dialect compressed-tensors",
    );
}

const WIDE: &str = "model.layers.0.mlp.down_proj";

/// An FP8 checkpoint of one layer of 192×320 in blocks of this size, ragged at both ends.
fn blocks(at: &Path, block: [usize; 2], configured: Value) -> Directory {
    let (rows, columns) = (192usize, 320usize);
    let codes: Vec<u8> = (0..rows * columns).map(|at| (at * 31 % 127) as u8).collect();
    let scales = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
    let scale = |at: usize| (1e-3 * (1.0 + at as f32)).to_le_bytes();
    let tensors = [
        (format!("{WIDE}.weight"), Raw::new(Dtype::F8_E4M3, &[rows, columns], codes)),
        (
            format!("{WIDE}.weight_scale_inv"),
            Raw::new(Dtype::F32, &scales, (0..scales[0] * scales[1]).flat_map(scale).collect()),
        ),
        ("model.norm.weight".to_string(), Raw::bf16(&[4], &[1.0; 4])),
    ];
    let config = json!({"quantization_config": {
        "quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": configured,
    }});
    Directory::create(at, &config, &tensors.into())
}

fn writer(base: &Path, out: &Path) -> Writer {
    let options = WriterOptions {
        out: out.into(),
        overwrite: false,
        companions: true,
        max_shard_size: 5_000_000_000,
        threads: 2,
    };
    Writer::new(options, Some(Arc::new(Model::open(base).unwrap()))).unwrap()
}

#[test]
fn blocks_of_any_size_are_dequantised_as_the_configuration_says() {
    let place = tempfile::tempdir().unwrap();
    for block in [[128, 128], [64, 64], [32, 128], [256, 256], [1, 320], [192, 1]] {
        let name = format!("{}x{}", block[0], block[1]);
        let source = blocks(&place.path().join(&name), block, json!(block));
        assert_eq!(faults(&source.0), [], "{name}");
        let out = place.path().join(format!("{name}-plain"));
        let mut writer = writer(&source.0, &out);
        writer.copy("model.norm.weight").unwrap();
        writer.dequantize(WIDE, qlua::tensor::Dtype::F32).unwrap();
        writer.finish(&Silent).unwrap();
        let (from, plain) = (source.tensors(), Directory(out));
        let expected =
            dequantised(&from[&format!("{WIDE}.weight")], &from[&format!("{WIDE}.weight_scale_inv")], block);
        assert_eq!(values(&plain.tensors()[&format!("{WIDE}.weight")]), expected, "{name}");
        assert_eq!(plain.json("config.json").get("quantization_config"), None);
    }
}

#[test]
fn blocks_that_do_not_fit_their_configuration_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let refused = |name: &str, configured: Value| -> Error {
        let source = blocks(&place.path().join(name), [64, 64], configured);
        let mut writer = writer(&source.0, &place.path().join("plain"));
        writer.dequantize(WIDE, qlua::tensor::Dtype::BF16).unwrap_err()
    };
    // [3, 5] scales are neither 128×128 blocks nor those of any other size but the right one.
    for (name, configured) in [("128", json!([128, 128])), ("none", Value::Null)] {
        require_message(
            &refused(name, configured),
            &["`model.layers.0.mlp.down_proj.weight`", "do not fit"],
            "",
        );
    }
    for (name, configured) in [("zero", json!([0, 128])), ("one", json!([128])), ("word", json!("128"))] {
        require_message(&refused(name, configured), &["weight_block_size", "not two positive sizes"], "");
    }
}

const BLOCKS: QuantizeOptions =
    QuantizeOptions { granularity: Granularity::Block, rounding: Rounding::Exact, input_scale: None };

#[test]
fn a_writer_describes_blocks_and_refuses_what_no_configuration_says_before_it_writes() {
    let place = Place::new();
    let linears = ["model.layers.0.self_attn.o_proj", "visual.blocks.0.attn.qkv"];
    let fill = |writer: &mut Writer, quantised: &[(&str, QuantizeOptions)]| {
        for (module, options) in quantised {
            writer.quantize(module, options).unwrap();
        }
        let taken: BTreeSet<String> = writer.specs().map(|spec| spec.name.clone()).collect();
        for name in place.model.tensors().keys().filter(|name| !taken.contains(*name)) {
            writer.copy(name).unwrap();
        }
    };
    let mut good = writer(&place.model.0, &place.out.join("good"));
    fill(&mut good, &linears.map(|module| (module, BLOCKS)));
    let written = Directory(good.finish(&Silent).unwrap().directory);
    assert_eq!(written.json("config.json")["quantization_config"]["quant_method"], "fp8");
    assert_eq!(verify(&written.0, Depth::Full).unwrap(), []);

    let channel = QuantizeOptions { granularity: Granularity::Channel, ..BLOCKS };
    let tensor = QuantizeOptions { granularity: Granularity::Tensor, ..BLOCKS };
    let still = QuantizeOptions { input_scale: Some(0.5), ..tensor };
    for (first, second) in [(BLOCKS, channel), (channel, still), (still, BLOCKS)] {
        let before = place.snapshot();
        let mut mixed = writer(&place.model.0, &place.out.join("mixed"));
        fill(&mut mixed, &[(linears[0], first), (linears[1], second)]);
        let error = mixed.finish(&Silent).unwrap_err();
        assert_eq!((error.kind(), place.snapshot()), ("refused", before));
        require_message(&error, &[linears[0], linears[1], "no configuration says both"], "in one way");
    }
    for options in [tensor, QuantizeOptions { input_scale: Some(0.5), ..channel }] {
        let mut alone = writer(&place.model.0, &place.out.join("alone"));
        fill(&mut alone, &[(linears[0], options)]);
        let error = alone.finish(&Silent).unwrap_err();
        require_message(&error, &[linears[0], "which no configuration says"], "scales per tensor go with");
    }
    let mut odd = writer(&place.model.0, &place.out.join("odd"));
    let error = odd.quantize("model.layers.0.mlp.down_proj", &BLOCKS).unwrap_err();
    require_message(&error, &["`model.layers.0.mlp.down_proj.weight`", "multiple of 128"], "");
    let error = odd.quantize(linears[0], &QuantizeOptions { input_scale: Some(1.0), ..BLOCKS }).unwrap_err();
    require_message(&error, &["FP8_BLOCK has no input scale"], "leave input_scale out");
}
