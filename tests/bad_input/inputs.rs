//! Manifests, amax values and weights that parse and mean nothing.

use std::fs;

use serde_json::{Value, json};

use crate::common::ascending_family;
use crate::common::directory::Raw;
use crate::common::place::{Place, export, require_message};
use crate::common::tree;
use qlua::job::FamilyOptions;
use qlua::manifest::{Coverage, Manifest};
use qlua::write::Silent;

const FULL: &str = "FP8_DEFAULT_CFG (effective-bits: 8.0)";

fn edit_manifest(place: &Place, edit: impl FnOnce(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&fs::read(&place.manifest).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(&place.manifest, manifest.to_string()).unwrap();
}

fn first_group(manifest: &mut Value) -> (&String, &mut Value) {
    manifest["layer_sensitivity"].as_object_mut().unwrap().iter_mut().next().unwrap()
}

#[test]
fn a_cost_that_is_no_number_of_weights_names_the_group() {
    for cost in [json!(0.0), json!(-5.0), json!("-Infinity")] {
        let place = Place::new();
        let mut name = String::new();
        edit_manifest(&place, |m| {
            let (key, group) = first_group(m);
            name = key.clone();
            group["costs"][0] = cost.clone();
        });
        let error = place.refused();
        assert_eq!(error.kind(), "format");
        require_message(&error, &[&format!("has a group `{name}` whose cost in `"), "above 0"], "");
    }
}

#[test]
fn importance_does_not_hide_a_negative_score() {
    let place = Place::new();
    let mut name = String::new();
    edit_manifest(&place, |m| {
        let (key, group) = first_group(m);
        name = key.strip_suffix(".quant_recipe").unwrap().to_string();
        let scores = group["scores"].as_array_mut().unwrap();
        scores.iter_mut().for_each(|score| *score = json!(-0.5));
        group["importance"] = json!(0.25);
    });
    let ranking = Manifest::open(&place.manifest).unwrap().ranking(&Default::default()).unwrap();
    assert_eq!(ranking.negative, [name]);
}

#[test]
fn a_byte_order_mark_is_read_over_in_a_manifest_and_named_in_a_configuration() {
    let place = Place::new();
    let expected = export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory;
    let text = fs::read(&place.manifest).unwrap();
    fs::write(&place.manifest, [b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
    let options = FamilyOptions { out: place.path().join("marked"), ..place.options() };
    let marked = export(options, &[50.0], &Silent).unwrap().remove(0).directory;
    let weights = |directory| -> Vec<_> {
        tree(directory).into_iter().filter(|(name, _)| name.ends_with(".safetensors")).collect()
    };
    assert_eq!(weights(&marked), weights(&expected));
    fs::write(&place.manifest, text).unwrap();

    let config = place.model.file("config.json");
    fs::write(&config, [b"\xef\xbb\xbf", &fs::read(&config).unwrap()[..]].concat()).unwrap();
    let again = FamilyOptions { out: place.path().join("again"), ..place.options() };
    require_message(&place.refused_with(again), &["config.json", "is not the JSON"], "byte order mark");
}

#[test]
fn an_input_amax_that_was_never_measured_is_refused_with_its_layer_before_anything_is_written() {
    let place = Place::new();
    let layer = "model.language_model.layers.1.mlp.down_proj";
    let manifest: Value = serde_json::from_slice(&fs::read(&place.manifest).unwrap()).unwrap();
    for amax in [json!(0.0), json!(1e38), json!(1e300), json!(1e-30)] {
        let mut values = manifest["amax"].clone();
        let key = values.as_object().unwrap().keys().find(|key| key.contains("layers.1.mlp.down_proj.input"));
        let key = key.expect("the demo has an amax of it").clone();
        values[&key] = amax.clone();
        let file = place.path().join("amax.json");
        fs::write(&file, values.to_string()).unwrap();
        let options = FamilyOptions { amax: Some(file), ..place.options() };
        let foreseen = ascending_family(options.clone(), &[100.0]).check().unwrap_err();
        let met = export(options.clone(), &[100.0], &Silent).unwrap_err();
        assert_eq!(foreseen.to_string(), met.to_string());
        let shown = layer.replace("language_model.", "");
        require_message(&met, &["amax.json", &shown, "nothing that was measured"], "--activations dynamic");
        assert!(!place.out.exists());
        // Of a layer that stays as it is nobody asks.
        let mut family = ascending_family(options, &[]);
        let ranking = family.manifest().ranking(&Default::default()).unwrap();
        let others = ranking.pick(|rank| !ranking.get(rank).unwrap().name.contains("layers.1.mlp"));
        family.add("others", others).unwrap();
        family.check().unwrap();
    }
    for (amax, words) in [(json!(-1.0), "-1"), (json!("NaN"), "NaN"), (json!("Infinity"), "inf")] {
        let file = place.path().join("amax.json");
        fs::write(&file, json!({format!("{layer}.input_quantizer"): amax}).to_string()).unwrap();
        let error = place.refused_with(FamilyOptions { amax: Some(file), ..place.options() });
        require_message(&error, &[layer, words], "");
    }
}

#[test]
fn a_baseline_whose_scale_was_never_measured_is_refused_with_its_layer() {
    let place = Place::new();
    let baseline = export(place.options(), &[100.0], &Silent).unwrap().remove(0).directory;
    let copy = crate::common::directory::Directory::copy(&baseline, &place.path().join("baseline"));
    let mut name = String::new();
    copy.edit_tensors(|tensors| {
        let (key, scale) =
            tensors.iter_mut().find(|(key, _)| key.ends_with("down_proj.input_scale")).unwrap();
        name = key.strip_suffix(".input_scale").unwrap().to_string();
        scale.bytes = half::bf16::from_f32(1e35).to_le_bytes().to_vec();
    });
    let options =
        FamilyOptions { baseline: Some(copy.0), out: place.path().join("static"), ..place.options() };
    let error = ascending_family(options, &[100.0]).check().unwrap_err();
    require_message(&error, &[&name, "nothing that was measured"], "--activations dynamic");
}

#[test]
fn the_format_whose_scores_decide_may_be_spelled_in_full() {
    let place = Place::new();
    let notes = |from: &str| {
        let options = FamilyOptions { format_from: Some(from.into()), ..place.options() };
        ascending_family(options, &[50.0]).planned().unwrap().notes.join("\n")
    };
    for spelling in ["fp8", "FP8_DEFAULT_CFG", FULL, "fp8_default_cfg(effective-bits: 8)"] {
        assert!(!notes(spelling).contains("as asked for"), "{spelling}: {}", notes(spelling));
    }
    for (spelling, kind) in [
        ("", "usage"),
        ("  ", "usage"),
        ("(effective-bits: 8.0)", "usage"),
        ("FP8(bits", "usage"),
        ("FP8_DEFAULT_CFG(effective-bits: 4.5)", "refused"),
        ("FP8(effective-bits: 8.0)", "refused"),
        ("NVFP4", "refused"),
    ] {
        let error =
            place.refused_with(FamilyOptions { format_from: Some(spelling.into()), ..place.options() });
        assert_eq!(error.kind(), kind, "{spelling}: {error}");
        assert!(error.hint().is_some(), "{spelling}");
    }
}

/// The same numbers of weights under another architecture, with `down_proj` stored as `shape` says and a bias that tells.
fn with_down_proj(stored: impl Fn(&[usize]) -> Vec<usize>) -> Place {
    let place = Place::new();
    place.model.edit_json("config.json", |config| {
        config["architectures"] = json!(["SomethingNewForCausalLM"]);
        config["model_type"] = json!("something_new");
        for part in ["text_config", "vision_config"] {
            if config.get(part).is_some() {
                config[part]["model_type"] = json!(format!("something_new_{part}"));
            }
        }
    });
    let is_one = |name: &str| name.contains("layers.") && name.ends_with(".mlp.down_proj.weight");
    place.model.edit_tensors(|tensors| {
        let names: Vec<String> = tensors.keys().filter(|name| is_one(name)).cloned().collect();
        for name in names {
            let out = tensors[&name].shape[0];
            let shape = stored(&tensors[&name].shape);
            tensors.get_mut(&name).unwrap().shape = shape;
            tensors.insert(name.replace(".weight", ".bias"), Raw::zeros(&[out]));
        }
    });
    place
}

fn kept(place: &Place) -> Vec<(String, String)> {
    let scheme = export(place.options(), &[100.0], &Silent).unwrap().remove(0).directory;
    let coverage =
        Coverage::open(scheme.join("layer-sensitivity/top100_coverage_from_baseline.json")).unwrap();
    coverage.kept_in_bf16.into_iter().map(|kept| (kept.layer, kept.reason)).collect()
}

#[test]
fn weights_that_a_bias_proves_to_be_stored_as_in_out_stay_with_what_lies_beside_them() {
    let right = kept(&with_down_proj(|shape| shape.to_vec()));
    assert!(
        !right.iter().any(|(layer, _)| layer.contains("layers.")),
        "a right model is left alone: {right:?}"
    );

    let turned = kept(&with_down_proj(|shape| vec![shape[1], shape[0]]));
    let reason = |part: &str| -> Vec<&str> {
        turned.iter().filter(|(layer, _)| layer.contains(part)).map(|(_, reason)| reason.as_str()).collect()
    };
    let down = reason("mlp.down_proj");
    assert!(!down.is_empty() && down.iter().all(|reason| reason.contains("stored as [in, out]")), "{down:?}");
    let gate = reason("mlp.gate_proj");
    assert!(!gate.is_empty() && gate.iter().all(|reason| reason.contains("not certain")), "{gate:?}");
    // Of another tower nothing is proven, so it is as it was.
    assert_eq!(reason("visual.").len(), right.iter().filter(|(layer, _)| layer.contains("visual.")).count());
}
