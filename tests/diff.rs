//! `qlua diff` of checkpoints: what is found against what the crates `half`, `float8` and `safetensors` make of the same files.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::directory::{Directory, Raw, Tensors};
use common::{ascending_family, options, shared};
use qlua::dialect::{DialectChoice, DialectId, TensorRole};
use qlua::diff::{CheckpointDiff, TensorCounts, TensorDiff, TensorOutcome, diff_checkpoints};
use qlua::job::FamilyOptions;
use qlua::model::Model;
use qlua::plan::{Activations, ActivationsChoice};
use qlua::write::Silent;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

#[path = "diff/command.rs"]
mod command;
#[path = "diff/integers.rs"]
mod integers;
#[path = "diff/manifests.rs"]
mod manifests;

fn compared(a: &Path, b: &Path) -> CheckpointDiff {
    diff_checkpoints(&Model::open(a).unwrap(), &Model::open(b).unwrap()).unwrap()
}

/// A scheme of the demo at half coverage, and the demo's model.
fn scheme(place: &Path, dialect: DialectId, activations: Activations) -> (Directory, Directory) {
    let demo = qlua::demo::build(&place.join("demo")).unwrap();
    let options = FamilyOptions {
        dialect: DialectChoice::Named(dialect),
        activations: ActivationsChoice::Named(activations),
        ..options(&demo.model, &demo.manifest, &place.join(dialect.to_string()))
    };
    let written = ascending_family(options, &[50.0]).run(&Silent).unwrap().schemes.remove(0);
    (Directory(written.directory), Directory(demo.model))
}

/// The numbers of a plain tensor.
fn plain(raw: &Raw) -> Vec<f64> {
    match raw.dtype {
        Dtype::BF16 => {
            raw.bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f64()).collect()
        }
        Dtype::F16 => raw.bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f64()).collect(),
        Dtype::F32 => raw.bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        other => panic!("{other} holds no values here"),
    }
}

/// The numbers that `name` stands for: `code × scale` with one scale for the tensor, each row, or each block of 128×128.
fn numbers(tensors: &Tensors, name: &str) -> Vec<f64> {
    let raw = &tensors[name];
    if raw.dtype != Dtype::F8_E4M3 {
        return plain(raw);
    }
    let scales =
        ["_scale", "_scale_inv"].iter().find_map(|ending| tensors.get(&format!("{name}{ending}"))).unwrap();
    let (values, columns) = (plain(scales), raw.shape[1]);
    let scale = |at: usize| match values.len() {
        1 => values[0],
        count if count == raw.shape[0] => values[at / columns],
        _ => values[at / columns / 128 * columns.div_ceil(128) + at % columns / 128],
    };
    // The product is one of F32, as engines have it.
    let value = |at: usize| float8::F8E4M3::from_bits(raw.bytes[at]).to_f32() * scale(at) as f32;
    (0..raw.bytes.len()).map(|at| f64::from(value(at))).collect()
}

/// Largest |a - b|, largest |a|, and the signal to noise in decibels.
fn by_hand(a: &[f64], b: &[f64]) -> (f64, f64, f64) {
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |most: f64, v| most.max(v.abs()));
    let noise: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let signal: f64 = a.iter().map(|a| a * a).sum();
    let difference = largest(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (difference, largest(&mut a.iter().copied()), 10.0 * (signal / noise).log10())
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-6 * other.abs().max(1e-30)
}

/// Compares every tensor of `found` that has values with what the files hold.
fn require_true(found: &CheckpointDiff, a: &Directory, b: &Directory) -> usize {
    let (a, b) = (a.tensors(), b.tensors());
    let mut count = 0;
    for tensor in found.tensors() {
        let Some(values) = tensor.values() else { continue };
        let name = tensor.name();
        let (difference, largest, sqnr) = by_hand(&numbers(&a, name), &numbers(&b, name));
        assert!(close(values.max_difference, difference), "{name}: {values:?}, not {difference}");
        assert!(close(values.relative(), difference / largest), "{name}: {values:?}");
        assert!(
            close(values.sqnr_db(), sqnr) || values.differing == 0,
            "{name}: {}, not {sqnr}",
            values.sqnr_db()
        );
        count += 1;
    }
    count
}

fn outcomes(found: &CheckpointDiff) -> BTreeMap<&str, &str> {
    found.tensors().map(|tensor| (tensor.name(), tensor.outcome.word())).collect()
}

#[test]
fn a_scheme_differs_from_its_base_by_what_its_codes_lose_in_every_dialect() {
    for (dialect, activations) in [
        (DialectId::Universal, Activations::Static),
        (DialectId::CompressedTensors, Activations::Dynamic),
        (DialectId::ModelOpt, Activations::Static),
        (DialectId::Fp8Block, Activations::Dynamic),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (scheme, model) = scheme(place.path(), dialect, activations);
        let found = compared(&model.0, &scheme.0);
        let codes = scheme.tensors().values().filter(|tensor| tensor.dtype == Dtype::F8_E4M3).count();
        let all = model.tensors().len();
        assert!(codes > 0, "{dialect}");
        let weights = TensorCounts { same: all - codes, other_values: codes, ..TensorCounts::default() };
        assert_eq!(found.weights, weights, "{dialect}");
        let added = scheme.tensors().len() - all;
        assert_eq!(
            found.quantisers,
            TensorCounts { only_in_b: added, ..TensorCounts::default() },
            "{dialect}"
        );
        assert_eq!(require_true(&found, &model, &scheme), codes, "{dialect}");
        // All codes together.
        let (ours, theirs) = (model.tensors(), scheme.tensors());
        let names = ours.keys().filter(|name| theirs[*name].dtype == Dtype::F8_E4M3);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for name in names {
            a.extend(numbers(&ours, name));
            b.extend(numbers(&theirs, name));
        }
        assert!(close(found.values.sqnr_db(), by_hand(&a, &b).2), "{dialect}");
        assert_eq!(found.values.elements as usize, a.len());
        let sqnr: Vec<f64> = found.modules.iter().map(|module| module.values().unwrap().sqnr_db()).collect();
        assert!(sqnr.is_sorted() && sqnr.len() == codes, "{dialect}: the worst first: {sqnr:?}");
        let keys: Vec<&str> = found.configuration.iter().map(|one| one.change.path.as_str()).collect();
        let says_so = keys.contains(&"quantization_config")
            || found.files.only_in_b.iter().any(|file| file == "hf_quant_config.json");
        assert!(says_so, "{dialect}: {keys:?}");
        assert!(found.files.only_in_b.iter().any(|file| file == "layer-sensitivity/provenance.json"));
    }
}

#[test]
fn weights_in_other_files_and_configurations_in_another_layout_are_no_difference() {
    let place = tempfile::tempdir().unwrap();
    let (scheme, _) = scheme(place.path(), DialectId::Universal, Activations::Static);
    let copy = Directory::copy(&scheme.0, &place.path().join("copy"));
    let before = compared(&scheme.0, &copy.0);
    assert!(before.is_same() && before.files.other_text.is_empty(), "{before:?}");
    assert!(before.weights.same > 0 && before.quantisers.same > 0 && before.files.same > 0);
    copy.edit_tensors(|_| ());
    assert_ne!(scheme.weight_files().len(), copy.weight_files().len(), "they lie in other files");
    let config = scheme.json("config.json");
    fs::write(copy.file("config.json"), config.to_string()).unwrap();
    let found = compared(&scheme.0, &copy.0);
    assert!(found.is_same(), "{:?}", found.files);
    assert_eq!(found.files.other_text, ["config.json"]);
    // Links to the same files are not read at all, and are the same.
    assert!(compared(&scheme.0, &scheme.0).is_same());
}

#[test]
fn two_schemes_differ_in_the_layers_that_one_of_them_quantises() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let family =
        ascending_family(options(&demo.model, &demo.manifest, &place.path().join("out")), &[20.0, 60.0]);
    let written = family.run(&Silent).unwrap().schemes;
    let [a, b] = [0, 1].map(|at| Directory(written[at].directory.clone()));
    let found = compared(&a.0, &b.0);
    let fp8 = |of: &Directory| of.tensors().values().filter(|t| t.dtype == Dtype::F8_E4M3).count();
    assert_eq!(found.weights.other_values, fp8(&b) - fp8(&a));
    assert_eq!(require_true(&found, &a, &b), found.weights.other_values);
    let back = compared(&b.0, &a.0);
    assert_eq!(
        (back.weights.other_values, back.quantisers.only_in_a),
        (found.weights.other_values, found.quantisers.only_in_b)
    );
    let ignored = found.configuration.iter().filter(|one| one.change.path.ends_with("[]"));
    assert!(ignored.count() > 0, "the layers that are left alone");
}

/// A checkpoint of no known architecture.
fn odd(place: &Path, name: &str, config: &Value, tensors: &[(&str, Raw)]) -> Directory {
    let tensors = tensors.iter().map(|(name, raw)| (name.to_string(), raw.clone())).collect();
    Directory::create(&place.join(name), config, &tensors)
}

fn f32s(shape: &[usize], values: &[f32]) -> Raw {
    Raw::new(Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn found_in<'a>(found: &'a CheckpointDiff, name: &str) -> &'a TensorDiff {
    found.tensors().find(|tensor| tensor.name() == name).unwrap_or_else(|| panic!("{name} is the same"))
}

/// The values of all codes as another program wrote them.
#[test]
fn all_codes_are_worth_what_ml_dtypes_says() {
    let place = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/e4m3/decode.bin");
    let decoded = Raw::new(Dtype::F32, &[2, 128], fs::read(path).unwrap());
    let codes = Raw::new(Dtype::F8_E4M3, &[2, 128], (0..=255).collect());
    let scale = f32s(&[1], &[1.0]);
    let a = odd(place.path(), "a", &json!({}), &[("m.weight", decoded)]);
    let fp8 = json!({"quantization_config": {"quant_method": "fp8"}});
    let b = odd(place.path(), "b", &fp8, &[("m.weight", codes.clone()), ("m.weight_scale", scale)]);
    let found = compared(&a.0, &b.0);
    let values = found_in(&found, "m.weight").values().unwrap();
    assert_eq!((values.elements, values.differing, values.not_finite), (256, 0, 0), "NaN is NaN");
    assert_eq!((found.weights.same_values, found.weights.other_values), (1, 0));
    // Twice the scale, the same codes: the bytes are the same and the weights are not.
    let double = f32s(&[1], &[2.0]);
    let c = odd(place.path(), "c", &fp8, &[("m.weight", codes), ("m.weight_scale", double)]);
    let found = compared(&b.0, &c.0);
    let values = found_in(&found, "m.weight").values().unwrap();
    // All but the two zeros and the two NaN.
    assert_eq!((values.differing, values.max_difference, values.relative()), (252, 448.0, 1.0));
    assert!(values.sqnr_db().abs() < 1e-9, "noise as loud as the signal: {}", values.sqnr_db());
    assert_eq!(
        (found_in(&found, "m.weight_scale").role, found.quantisers.other_values),
        (TensorRole::Quantiser, 1)
    );
}

#[test]
fn stacked_codes_with_exponents_for_parts_of_rows_are_read_as_their_own_matrices() {
    let place = tempfile::tempdir().unwrap();
    let shape = [3, 2, 64];
    let codes: Vec<u8> = (0..3 * 2 * 64).map(|at| (at * 37 % 126) as u8).collect();
    // MXFP8: an exponent for each 32 elements of a row.
    let exponents: Vec<u8> = (0..12).map(|at| 120 + at).collect();
    let value = |at: usize| {
        f64::from(float8::F8E4M3::from_bits(codes[at]).to_f32())
            * 2f64.powi(i32::from(exponents[at / 32]) - 127)
    };
    let expected: Vec<f64> = (0..codes.len()).map(value).collect();
    let plain: Vec<f32> =
        expected.iter().enumerate().map(|(at, v)| *v as f32 + if at == 200 { 0.5 } else { 0.0 }).collect();
    let a = odd(place.path(), "a", &json!({}), &[("experts.w", f32s(&shape, &plain))]);
    let scale = Raw::new(Dtype::U8, &[3, 2, 2], exponents.clone());
    let b = odd(
        place.path(),
        "b",
        &json!({"quantization_config": {"quant_method": "mxfp8"}}),
        &[("experts.w", Raw::new(Dtype::F8_E4M3, &shape, codes.clone())), ("experts.w_scale", scale)],
    );
    let found = compared(&a.0, &b.0);
    let values = found_in(&found, "experts.w").values().unwrap();
    assert_eq!((values.elements, values.differing, values.max_difference), (384, 1, 0.5), "{values:?}");
}

#[test]
fn each_way_to_differ_has_its_word() {
    let place = tempfile::tempdir().unwrap();
    let bf16 = |values: &[f32]| Raw::bf16(&[values.len()], values);
    let packed = |byte: u8| Raw::new(Dtype::I32, &[1, 2], vec![byte; 8]);
    let a = odd(
        place.path(),
        "a",
        &json!({"x": 1}),
        &[
            ("same", bf16(&[1.0, f32::NAN])),
            ("wider", bf16(&[1.5, -2.0])),
            ("changed", bf16(&[4.0, 2.0])),
            ("broken", bf16(&[1.0, 2.0])),
            ("turned", Raw::zeros(&[2, 3])),
            ("gone", Raw::zeros(&[1])),
            ("m.qweight", packed(1)),
            ("m.scales", bf16(&[1.0])),
            ("odd", Raw::new(Dtype::F8_E8M0, &[2], vec![1, 2])),
            ("minus", bf16(&[0.0])),
        ],
    );
    let b = odd(
        place.path(),
        "b",
        &json!({"x": 1}),
        &[
            ("same", bf16(&[1.0, f32::NAN])),
            ("wider", f32s(&[2], &[1.5, -2.0])),
            ("changed", bf16(&[4.0, 3.0])),
            ("broken", bf16(&[1.0, f32::INFINITY])),
            ("turned", Raw::zeros(&[3, 2])),
            ("new", Raw::zeros(&[1])),
            ("m.qweight", packed(2)),
            ("m.scales", bf16(&[1.0])),
            ("odd", Raw::new(Dtype::F8_E8M0, &[2], vec![1, 3])),
            ("minus", bf16(&[-0.0])),
        ],
    );
    let found = compared(&a.0, &b.0);
    assert_eq!(
        outcomes(&found),
        [
            ("broken", "other_values"),
            ("changed", "other_values"),
            ("gone", "only_in_a"),
            ("m.qweight", "unread"),
            ("minus", "same_values"),
            ("new", "only_in_b"),
            ("odd", "unread"),
            ("turned", "shape"),
            ("wider", "same_values"),
        ]
        .into()
    );
    assert_eq!(found_in(&found, "broken").values().unwrap().not_finite, 1);
    let why = |name: &str| match &found_in(&found, name).outcome {
        TensorOutcome::Unread(why) => why.clone(),
        other => panic!("{other:?}"),
    };
    assert!(
        why("odd").contains("F8_E8M0") && why("m.qweight").contains("not read here"),
        "{} {}",
        why("odd"),
        why("m.qweight")
    );
    // What cannot be told comes first; modules are what stands before the last dot.
    assert_eq!(found.modules.iter().map(|module| module.name.as_str()).collect::<Vec<_>>(), ["", "m"]);
    assert!(compared(&a.0, &a.0).is_same());
}

#[test]
fn a_scale_that_does_not_fit_leaves_codes_unread_unless_all_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let config = json!({"quantization_config": {"quant_method": "fp8"}});
    let tensors = |scales: usize, code: u8| {
        [
            ("m.weight", Raw::new(Dtype::F8_E4M3, &[4, 4], vec![code; 16])),
            ("m.weight_scale", f32s(&[scales], &vec![1.0; scales])),
        ]
    };
    let a = odd(place.path(), "a", &config, &tensors(3, 1));
    let b = odd(place.path(), "b", &config, &tensors(3, 1));
    assert!(compared(&a.0, &b.0).is_same());
    let c = odd(place.path(), "c", &config, &tensors(3, 2));
    assert_eq!(outcomes(&compared(&a.0, &c.0)), [("m.weight", "unread")].into());
    let d = odd(place.path(), "d", &config, &tensors(4, 1));
    let found = compared(&a.0, &d.0);
    assert_eq!(outcomes(&found), [("m.weight", "unread"), ("m.weight_scale", "shape")].into());
}

#[test]
fn a_tensor_larger_than_a_part_is_compared_to_its_end() {
    let place = tempfile::tempdir().unwrap();
    let (rows, columns) = (600, 1001);
    let values: Vec<f32> = (0..rows * columns).map(|at| ((at * 7919 % 65_537) as f32).sin()).collect();
    let mut other = values.clone();
    // In the last part alone.
    *other.last_mut().unwrap() += 0.25;
    let a = odd(place.path(), "a", &json!({}), &[("w", f32s(&[rows, columns], &values))]);
    let b = odd(place.path(), "b", &json!({}), &[("w", f32s(&[rows, columns], &other))]);
    let found = compared(&a.0, &b.0);
    assert_eq!(found_in(&found, "w").values().unwrap().differing, 1);
    assert_eq!(require_true(&found, &a, &b), 1);
}

#[test]
fn keys_and_files_that_differ_are_named() {
    let place = tempfile::tempdir().unwrap();
    let weights = [("w", Raw::zeros(&[2]))];
    let config = |heads: u32| json!({"model_type": "odd", "text_config": {"heads": heads, "theta": 1e4}});
    let a = odd(place.path(), "a", &config(4), &weights);
    let b = odd(place.path(), "b", &config(8), &weights);
    for (directory, text) in
        [(&a, r#"{"temperature": NaN, "eos": [1, 2]}"#), (&b, r#"{"temperature": "NaN", "eos": [1, 3]}"#)]
    {
        fs::write(directory.file("generation_config.json"), text).unwrap();
    }
    fs::write(a.file("tokenizer.json"), "{\"a\": 1}").unwrap();
    fs::write(b.file("tokenizer.json"), "{\"a\":  1}").unwrap();
    fs::write(a.file("preprocessor_config.json"), "{").unwrap();
    fs::write(b.file("preprocessor_config.json"), "{}").unwrap();
    fs::write(a.file("README.md"), "x").unwrap();
    fs::create_dir(b.file("extra")).unwrap();
    fs::write(b.file("extra/notes.txt"), "y").unwrap();
    let found = compared(&a.0, &b.0);
    let keys: Vec<(&str, &str)> =
        found.configuration.iter().map(|one| (one.file.as_str(), one.change.path.as_str())).collect();
    assert_eq!(
        keys,
        [
            ("config.json", "text_config.heads"),
            ("generation_config.json", "temperature"),
            ("generation_config.json", "eos[1]"),
        ]
    );
    assert_eq!(
        (&found.files.only_in_a, &found.files.only_in_b),
        (&vec!["README.md".into()], &vec!["extra/notes.txt".into()])
    );
    let differing: Vec<&str> = found.files.differing.iter().map(|change| change.file.as_str()).collect();
    assert_eq!(
        differing,
        ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"]
    );
    assert!(found.modules.is_empty() && !found.is_same());
}

#[test]
fn modules_that_are_called_differently_belong_together() {
    let place = tempfile::tempdir().unwrap();
    let (_, model) = scheme(place.path(), DialectId::Universal, Activations::Static);
    let copy = Directory::copy(&model.0, &place.path().join("renamed"));
    // The names that Transformers writes today.
    copy.edit_tensors(|tensors| {
        let renamed = std::mem::take(tensors).into_iter().map(|(name, tensor)| {
            let name = match name.strip_prefix("model.") {
                Some(rest) => format!("model.language_model.{rest}"),
                None if name.starts_with("visual.") => format!("model.{name}"),
                None => name,
            };
            (name, tensor)
        });
        *tensors = renamed.collect();
    });
    let found = compared(&model.0, &copy.0);
    assert_eq!(
        (found.weights.differing(), found.weights.same),
        (0, model.tensors().len()),
        "{:?}",
        outcomes(&found)
    );
}

/// What ModelOpt exported itself.
#[test]
fn modelopts_own_export_differs_from_its_base_as_its_codes_say() {
    let (Some(model), Some(golden)) = (shared("golden/tiny-qwen2_5-vl"), shared("golden/modelopt")) else {
        return;
    };
    let (model, export) = (Directory(model), Directory(golden.join("fp8_baseline")));
    let found = compared(&model.0, &export.0);
    let codes = export.tensors().values().filter(|tensor| tensor.dtype == Dtype::F8_E4M3).count();
    assert_eq!((found.weights.other_values, found.weights.only_in_a, found.weights.only_in_b), (codes, 0, 0));
    assert_eq!(require_true(&found, &model, &export), codes);
}
