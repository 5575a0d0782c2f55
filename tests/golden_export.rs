//! Whole exports of a trained Qwen2.5-VL against what NVIDIA ModelOpt made of it, where the golden data is there.

mod common;

use qlua::dialect::{DialectChoice, DialectId};
use qlua::plan::{Activations, ActivationsChoice};
use std::collections::BTreeMap;

use common::{ascending_family, options, shared};
use qlua::checkpoint::Checkpoint;
use qlua::format::Rounding;
use qlua::job::FamilyOptions;
use qlua::plan::ScaleSharing;
use qlua::tensor::{Dtype, Tensor};
use qlua::verify::{Depth, verify};
use qlua::write::Silent;

const POINTS: [f64; 10] = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0];

#[test]
fn the_modelopt_dialect_equals_modelopts_own_export_bit_for_bit() {
    let (Some(model), Some(golden)) = (shared("golden/tiny-qwen2_5-vl"), shared("golden/modelopt")) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let options = FamilyOptions {
        dialect: DialectChoice::Named(DialectId::ModelOpt),
        rounding: Rounding::ModelOpt,
        baseline: Some(golden.join("fp8_baseline")),
        scale_sharing: ScaleSharing::None,
        ..options(&model, &golden.join("autoquant_all_layers.json"), out.path())
    };
    let written = ascending_family(options, &[100.0]).run(&Silent).unwrap().schemes;
    let ours = Checkpoint::open(&written[0].directory).unwrap();
    let theirs = Checkpoint::open(golden.join("fp8_baseline")).unwrap();

    let sorted = |c: &Checkpoint| -> BTreeMap<String, Tensor> {
        c.tensors().map(|(n, t)| (n.to_string(), t.clone())).collect()
    };
    let (ours, theirs) = (sorted(&ours), sorted(&theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let (mut codes, mut weight_scales, mut input_scales) = (0, 0, 0);
    for (name, theirs) in &theirs {
        assert!(ours[name].equal(theirs), "`{name}` differs");
        match theirs.dtype() {
            Dtype::F8E4M3 => codes += theirs.elements(),
            _ if name.ends_with(".weight_scale") => weight_scales += 1,
            _ if name.ends_with(".input_scale") => input_scales += 1,
            _ => {}
        }
    }
    assert_eq!((codes, weight_scales, input_scales), (6_063_360, 64, 64));
}

/// The defect that qlua exists to end: directories of different coverage with the same weights.
#[test]
fn ten_schemes_in_each_dialect_pass_the_checks_and_share_no_weights() {
    let (Some(model), Some(golden)) = (shared("golden/tiny-qwen2_5-vl"), shared("golden/modelopt")) else {
        return;
    };
    for (dialect, activations) in [
        (DialectChoice::Named(DialectId::Universal), ActivationsChoice::Named(Activations::Static)),
        (DialectChoice::Named(DialectId::CompressedTensors), ActivationsChoice::Named(Activations::Static)),
        (DialectChoice::Named(DialectId::CompressedTensors), ActivationsChoice::Named(Activations::Dynamic)),
        (DialectChoice::Named(DialectId::ModelOpt), ActivationsChoice::Named(Activations::Static)),
        (DialectChoice::Named(DialectId::ModelOpt), ActivationsChoice::Named(Activations::Dynamic)),
    ] {
        let out = tempfile::tempdir().unwrap();
        let options = FamilyOptions {
            dialect,
            activations,
            baseline: Some(golden.join("fp8_baseline")),
            ..options(&model, &golden.join("autoquant_all_layers_11bits.json"), out.path())
        };
        let written = ascending_family(options, &POINTS).run(&Silent).unwrap().schemes;
        let mut fp8_counts = Vec::new();
        let mut weights = std::collections::HashSet::new();
        for scheme in &written {
            assert_eq!(verify(&scheme.directory, Depth::Full).unwrap(), [], "{}", scheme.name);
            let checkpoint = Checkpoint::open(&scheme.directory).unwrap();
            fp8_counts.push(checkpoint.tensors().filter(|(_, t)| t.dtype() == Dtype::F8E4M3).count());
            let shards: Vec<u8> = checkpoint.shards().flat_map(|(_, _, bytes)| bytes.to_vec()).collect();
            assert!(
                weights.insert(blake3::hash(&shards)),
                "{} has the weights of another scheme",
                scheme.name
            );
        }
        assert!(fp8_counts.is_sorted_by(|a, b| a < b), "coverage grows: {fp8_counts:?}");
        assert_eq!(fp8_counts[9], 64);
    }
}

/// `universal` scales are BF16, and every weight is within half a code of `code × scale`.
#[test]
fn dequantised_universal_weights_are_the_source_weights_within_half_a_code() {
    let (Some(model), Some(golden)) = (shared("golden/tiny-qwen2_5-vl"), shared("golden/modelopt")) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let options = FamilyOptions {
        dialect: DialectChoice::Named(DialectId::Universal),
        ..options(&model, &golden.join("autoquant_all_layers.json"), out.path())
    };
    let written = ascending_family(options, &[100.0]).run(&Silent).unwrap().schemes;
    let scheme = Checkpoint::open(&written[0].directory).unwrap();
    let source = Checkpoint::open(&model).unwrap();
    for (name, codes) in scheme.tensors().filter(|(_, t)| t.dtype() == Dtype::F8E4M3) {
        let module = name.strip_suffix(".weight").unwrap();
        let scale = scheme.tensor(&format!("{module}.weight_scale")).unwrap();
        assert_eq!((scale.dtype(), scale.shape()), (Dtype::BF16, &[1][..]), "{module}");
        let scale = scale.to_f64_iter().next().unwrap();
        for (value, code) in source.tensor(name).unwrap().to_f64_iter().zip(codes.to_f64_iter()) {
            // Half the distance between neighbouring codes: 2^-4 of a normal value, 2^-10 below the normal range.
            let half_code = (code.abs() / 16.0).max(2f64.powi(-10));
            let error = (value / scale - code).abs();
            assert!(error <= half_code * (1.0 + 1e-6), "{name}: {value} became {code} × {scale}");
        }
    }
}
