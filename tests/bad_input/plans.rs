//! Manifests, baselines and options that do not fit the base checkpoint.

use qlua::dialect::{DialectChoice, DialectId};
use qlua::plan::{Activations, ActivationsChoice};
use std::fs;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::directory::{Directory, Raw};
use crate::common::place::{Place, export, require_message};
use qlua::job::{Family, FamilyOptions};
use qlua::write::Silent;

fn edit_manifest(place: &Place, edit: impl FnOnce(&mut Value)) {
    Directory(place.path().into()).edit_json("manifest.json", edit);
}

#[test]
fn a_manifest_of_another_model_is_answered_with_the_first_names_and_their_number() {
    let place = Place::new();
    let text = fs::read_to_string(&place.manifest).unwrap();
    fs::write(&place.manifest, text.replace("language_model.layers.", "language_model.blocks.")).unwrap();
    let error = place.refused();
    assert_eq!(error.kind(), "not_found");
    // Four blocks of seven linear layers.
    let first = "28 modules of the manifest match no tensor";
    let listed =
        "`model.language_model.blocks.0.self_attn.q_proj`, `model.language_model.blocks.0.self_attn.k_proj`";
    let model = place.model.0.display().to_string();
    require_message(&error, &[first, &model, listed, ", …"], "manifest of another model");
    assert_eq!(error.to_string().matches("blocks").count(), 5, "only the first few are listed");

    fs::write(&place.manifest, text.replace("layers.3.mlp.down_proj", "layers.4.mlp.down_proj")).unwrap();
    require_message(
        &place.refused(),
        &["1 module of the manifest matches", "layers.4.mlp.down_proj`"],
        "manifest",
    );
}

#[test]
fn what_is_quantised_already_is_refused_whatever_says_so() {
    let place = Place::new();
    let options = FamilyOptions { out: place.path().join("first"), ..place.options() };
    let scheme = export(options, &[50.0], &Silent).unwrap().remove(0).directory;
    let again = |model: &std::path::Path| {
        place.refused_with(FamilyOptions { model: Some(model.into()), ..place.options() })
    };
    let error = again(&scheme);
    assert_eq!(error.kind(), "refused");
    require_message(
        &error,
        &[&scheme.display().to_string(), "is quantised already: tensor `", "F8_E4M3"],
        "BF16",
    );

    let plain = Directory::copy(&scheme, &place.path().join("plain"));
    plain.edit_json("config.json", |c| drop(c.as_object_mut().unwrap().remove("quantization_config")));
    require_message(&again(&plain.0), &["is quantised already: tensor `"], "BF16");

    for (number, place_it) in [
        |c: &mut Value, q: Value| c["quantization_config"] = q,
        |c: &mut Value, q: Value| c["text_config"] = json!({"quantization_config": q}),
        |c: &mut Value, q: Value| c["compression_config"] = q,
    ]
    .into_iter()
    .enumerate()
    {
        let claimed = Directory::copy(&place.model.0, &place.path().join(format!("claimed-{number}")));
        claimed.edit_json("config.json", |c| place_it(c, json!({"quant_method": "fp8"})));
        require_message(&again(&claimed.0), &["config.json says quant_method `fp8`"], "BF16");
    }
}

#[test]
fn weights_without_an_fp8_form_are_refused_by_name() {
    let place = Place::new();
    let name = "model.layers.1.mlp.down_proj.weight";
    place.model.edit_tensors(|t| {
        let weight = t.get_mut(name).unwrap();
        *weight = Raw::new(Dtype::I16, &weight.shape, weight.bytes.clone());
    });
    let error = place.refused();
    require_message(&error, &[name, "is I16, which has no FP8 form"], "BF16, F16 or F32");
}

#[test]
fn a_selection_that_splits_a_fused_group_is_refused() {
    for (leaf, sibling, fused) in [("q_proj", "k_proj", "qkv_proj"), ("gate_proj", "up_proj", "gate_up_proj")]
    {
        let place = Place::new();
        let tensors = place.model.tensors();
        edit_manifest(&place, |m| {
            let groups = m["layer_sensitivity"].as_object_mut().unwrap();
            for (key, group) in groups.iter_mut().filter(|(key, _)| key.contains(leaf)) {
                let module = key.strip_suffix(".quant_recipe").unwrap();
                let bare = |name: &str| name.replace("model.", "").replace("language_", "");
                let wanted = bare(&format!("{module}.weight"));
                let weight = tensors.iter().find(|(name, _)| bare(name) == wanted).unwrap().1;
                let weights = weight.shape.iter().product::<usize>() as f64;
                group["module_names"] = json!([module]);
                group["costs"] = json!([weights / 2.0, weights]);
            }
        });
        let error = place.refused();
        assert_eq!(error.kind(), "refused");
        require_message(&error, &["splits the fused group `", fused, leaf, sibling], "all of them or none");
    }
}

#[test]
fn static_activations_without_scales_list_the_layers() {
    let place = Place::new();
    edit_manifest(&place, |m| drop(m.as_object_mut().unwrap().remove("amax")));
    let options =
        || FamilyOptions { activations: ActivationsChoice::Named(Activations::Static), ..place.options() };
    let error = place.refused_with(options());
    assert_eq!(error.kind(), "refused");
    require_message(
        &error,
        &["static activations need an input scale", "have none: `model.", ", …"],
        "--baseline",
    );
    // The universal dialect is static, and nothing but dynamic is left for `auto`.
    let universal = FamilyOptions { dialect: DialectChoice::Named(DialectId::Universal), ..place.options() };
    require_message(&place.refused_with(universal), &["universal is always static"], "--baseline or --amax");

    let amax = place.path().join("amax.json");
    let some = json!({"model.language_model.layers.1.mlp.down_proj.input_quantizer": 1.5});
    fs::write(&amax, some.to_string()).unwrap();
    let error = place.refused_with(FamilyOptions { amax: Some(amax.clone()), ..options() });
    require_message(&error, &["have none: "], "--activations dynamic");
    assert!(!error.to_string().contains("layers.1.mlp.down_proj`"), "{error}");

    for (content, words) in [
        (json!({"a.input_quantizer": -1.0}), "`a.input_quantizer`"),
        (json!({"a.weight_quantizer": 1.0}), "holds no `<module>.input_quantizer` amax"),
    ] {
        fs::write(&amax, content.to_string()).unwrap();
        let error = place.refused_with(FamilyOptions { amax: Some(amax.clone()), ..options() });
        assert!(error.to_string().contains(words) && error.to_string().contains("amax.json"), "{error}");
    }
}

#[test]
fn universal_with_dynamic_activations_is_refused() {
    let place = Place::new();
    let dialect = DialectChoice::Named(DialectId::Universal);
    let options = FamilyOptions {
        dialect,
        activations: ActivationsChoice::Named(Activations::Dynamic),
        ..place.options()
    };
    let error = place.refused_with(options);
    assert_eq!(error.kind(), "refused");
    require_message(&error, &["universal is always static"], "--dialect compressed-tensors");
}

#[test]
fn a_baseline_must_have_input_scales_and_be_the_only_source_of_them() {
    let place = Place::new();
    let with =
        |baseline: &str| FamilyOptions { baseline: Some(place.path().join(baseline)), ..place.options() };
    let error = place.refused_with(with("model"));
    require_message(&error, &["model` holds no `input_scale` tensor"], "static FP8 export");
    require_message(&place.refused_with(with("nowhere")), &["nowhere` does not exist"], "Hugging Face");

    let name = "model.layers.1.mlp.down_proj.input_scale";
    let scale = |value: f32| Raw::new(Dtype::F32, &[], value.to_le_bytes().to_vec());
    for (tensor, words) in [
        (scale(0.0), "is no usable scale"),
        (scale(f32::NAN), "is no usable scale"),
        (Raw::bf16(&[2], &[1.0, 2.0]), "is BF16 of shape [2], not one float"),
        (Raw::new(Dtype::U8, &[], vec![1]), "is U8 of shape [], not one float"),
    ] {
        let baseline = place.path().join("baseline");
        Directory::create(&baseline, &json!({}), &[(name.to_string(), tensor)].into());
        require_message(&place.refused_with(with("baseline")), &["baseline` holds", name, words], "");
    }
    let both = FamilyOptions { amax: Some(place.manifest.clone()), ..with("baseline") };
    let error = place.refused_with(both);
    require_message(&error, &["both a baseline and an amax file"], "not both");
}

#[test]
fn names_of_schemes_are_plain_and_distinct() {
    let place = Place::new();
    let mut family = Family::open(place.options()).unwrap();
    let ranking = family.manifest().ranking(&Default::default()).unwrap();
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "../a"] {
        let error = family.add(name, ranking.lowest(10.0).unwrap()).unwrap_err();
        require_message(&error, &[&format!("`{name}` is no plain directory name")], "");
    }
    family.add("a", ranking.lowest(10.0).unwrap()).unwrap();
    let error = family.add("a", ranking.lowest(20.0).unwrap()).unwrap_err();
    require_message(&error, &["has a scheme `a` already"], "");
    let error = Family::open(place.options()).unwrap().run(&Silent).unwrap_err();
    require_message(&error, &["no scheme to write"], "");
}
