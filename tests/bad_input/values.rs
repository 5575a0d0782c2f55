//! Weights that have no FP8 form, and those that only look as if they had none.

use qlua::plan::{Activations, ActivationsChoice};
use std::fs;

use safetensors::tensor::Dtype;
use serde_json::json;

use crate::common::ascending_family;
use crate::common::directory::{Directory, Raw};
use crate::common::place::{Place, export, require_message};
use qlua::job::FamilyOptions;
use qlua::write::Silent;

/// Modules that are FP8 at 50 %, in file order: the last of them in the second shard.
fn quantised_modules(place: &Place) -> Vec<String> {
    let written = export(place.options(), &[50.0], &Silent).unwrap();
    let tensors = Directory(written[0].directory.clone()).tensors();
    fs::remove_dir_all(&place.out).unwrap();
    let fp8 = tensors.iter().filter(|(_, t)| t.dtype == Dtype::F8_E4M3);
    fp8.map(|(name, _)| name.strip_suffix(".weight").unwrap().to_string()).collect()
}

/// One element of a weight in another dtype, with `value` as its last element.
fn spoil(tensor: &mut Raw, dtype: Dtype, value: f32) {
    let values: Vec<f32> =
        tensor.bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
    let mut values = values;
    *values.last_mut().unwrap() = value;
    tensor.dtype = dtype;
    tensor.bytes = match dtype {
        Dtype::BF16 => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
}

#[test]
fn nan_and_infinite_weights_are_named_in_every_dtype() {
    let place = Place::new();
    let module = quantised_modules(&place).into_iter().find(|m| m.ends_with("down_proj")).unwrap();
    let name = format!("{module}.weight");
    let original = place.model.tensors()[&name].clone();
    for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
        for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "infinite"), (f32::NEG_INFINITY, "infinite")]
        {
            place.model.edit_tensors(|t| {
                t.insert(name.clone(), original.clone());
                spoil(t.get_mut(&name).unwrap(), dtype, value);
            });
            for activations in [
                ActivationsChoice::Named(Activations::Static),
                ActivationsChoice::Named(Activations::Dynamic),
            ] {
                let options = FamilyOptions { activations, ..place.options() };
                let foreseen = ascending_family(options.clone(), &[50.0]).check().unwrap_err();
                for error in [foreseen, place.refused_with(options)] {
                    assert_eq!(error.kind(), "tensor");
                    require_message(&error, &[&format!("tensor `{name}` holds {word} values")], "damaged");
                }
            }
        }
    }
}

/// A weight that is only copied is looked at too, and none of a checkpoint that would take its time.
#[test]
fn a_dry_run_looks_at_all_values_or_says_that_it_did_not() {
    let place = Place::new();
    let check = || ascending_family(place.options(), &[50.0]).check();
    assert_eq!(check().unwrap().unseen_bytes, 0);
    let name = "model.layers.0.input_layernorm.weight";
    let original = place.model.tensors()[name].clone();
    place.model.edit_tensors(|t| spoil(t.get_mut(name).unwrap(), Dtype::BF16, f32::NAN));
    let foreseen = check().unwrap_err();
    for error in [foreseen, place.refused()] {
        require_message(&error, &[&format!("tensor `{name}` holds NaN values")], "damaged");
    }
    place.model.edit_tensors(|t| drop(t.insert(name.into(), original)));
    let bytes = place.model.add_sparse_weights("model.further.weight", 1 << 28);
    assert_eq!(check().unwrap().unseen_bytes, bytes);
}

/// In a file sorted by name, `o_proj` lies amid the members of the group that shares a scale. Cut between them, two
/// threads meet the failure of the group at the same time, and that of `o_proj` soon after.
#[test]
fn of_several_spoilt_weights_the_first_one_is_named_at_any_thread_count() {
    let place = Place::new();
    let module = |leaf: &str| format!("model.layers.0.self_attn.{leaf}_proj");
    let leaves = ["k", "o", "q", "v"];
    let tensors = leaves.map(|leaf| {
        let value = if leaf == "o" { f32::INFINITY } else { f32::NAN };
        (module(leaf) + ".weight", Raw::bf16(&[512, 512], &vec![value; 512 * 512]))
    });
    fs::remove_dir_all(&place.model.0).unwrap();
    Directory::create(&place.model.0, &json!({}), &tensors.into());
    let group = |members: &[&str]| {
        json!({"formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)"], "scores": [1.0],
               "costs": [members.len() * 512 * 512 / 2],
               "module_names": members.iter().map(|leaf| module(leaf)).collect::<Vec<_>>()})
    };
    let amax = leaves.map(|leaf| (module(leaf) + ".input_quantizer", 1.0));
    let manifest = json!({"amax": std::collections::BTreeMap::from(amax),
                          "layer_sensitivity": {"q": group(&["q", "k", "v"]), "o": group(&["o"])}});
    fs::write(&place.manifest, manifest.to_string()).unwrap();

    let expected = format!("tensor `{}.weight` holds NaN values", module("k"));
    let whole = [1, 2, 8].map(|threads| (threads, 5_000_000));
    let cut =
        [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4].map(|threads| (threads, 530_000));
    for (threads, max_shard_size) in whole.into_iter().chain(cut) {
        let options = FamilyOptions { threads, max_shard_size, ..place.options() };
        let message = export(options, &[100.0], &Silent).unwrap_err().to_string();
        assert!(message.starts_with(&expected), "{threads} threads, {max_shard_size} bytes: {message}");
    }
}

#[test]
fn an_all_zero_weight_has_scale_one_and_zero_codes() {
    let place = Place::new();
    let modules = quantised_modules(&place);
    let alone = modules.iter().find(|m| m.ends_with("down_proj")).unwrap();
    let group: Vec<&String> = modules.iter().filter(|m| m.contains("layers.2.self_attn.")).collect();
    assert!(group.len() >= 3, "{group:?}");
    place.model.edit_tensors(|tensors| {
        for module in group.iter().copied().chain([alone]) {
            tensors.get_mut(&format!("{module}.weight")).unwrap().bytes.fill(0);
        }
    });
    for activations in
        [ActivationsChoice::Named(Activations::Static), ActivationsChoice::Named(Activations::Dynamic)]
    {
        let out = place.path().join(activations.to_string());
        let options = FamilyOptions { activations, out, ..place.options() };
        let written = export(options, &[50.0], &Silent).unwrap();
        let tensors = Directory(written[0].directory.clone()).tensors();
        for module in group.iter().copied().chain([alone]) {
            assert!(tensors[&format!("{module}.weight")].bytes.iter().all(|code| *code == 0), "{module}");
            let scale = &tensors[&format!("{module}.weight_scale")];
            let one = half::bf16::ONE.to_le_bytes();
            assert!(scale.bytes.chunks_exact(2).all(|b| b == one), "{module}");
        }
    }
}

/// One dead output channel must not spoil the others.
#[test]
fn a_zero_row_has_scale_one_of_its_own_with_channel_scales() {
    let place = Place::new();
    let module = quantised_modules(&place).into_iter().find(|m| m.ends_with("down_proj")).unwrap();
    let name = format!("{module}.weight");
    let columns = place.model.tensors()[&name].shape[1];
    place.model.edit_tensors(|t| t.get_mut(&name).unwrap().bytes[..2 * columns].fill(0));
    let options =
        FamilyOptions { activations: ActivationsChoice::Named(Activations::Dynamic), ..place.options() };
    let written = export(options, &[50.0], &Silent).unwrap();
    let tensors = Directory(written[0].directory.clone()).tensors();
    assert!(tensors[&name].bytes[..columns].iter().all(|code| *code == 0));
    assert!(tensors[&name].bytes[columns..].iter().any(|code| *code & 0x7f == 0x7e), "448 occurs");
    let scales = &tensors[&format!("{module}.weight_scale")].bytes;
    assert_eq!(scales[..2], half::bf16::ONE.to_le_bytes());
    assert_ne!(scales[2..4], half::bf16::ONE.to_le_bytes());
}
