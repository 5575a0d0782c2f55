//! Manifests whose names are those in memory, where a line of Transformers renames, merges, splits, stacks or ties what is on
//! disk: what is a linear layer is found, and whatever else is a candidate stays as it is, with a reason.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::directory::{Directory, Raw, Tensors};
use common::{ascending_family, options};
use qlua::dialect::{DialectChoice, DialectId};
use qlua::error::{Error, Result};
use qlua::job::{Family, FamilyOptions};
use qlua::manifest::RecordedAmax;
use qlua::model::Model;
use qlua::plan::{Activations, ActivationsChoice, InputScales};
use qlua::write::Silent;
use serde_json::{Value, json};

/// A checkpoint of zeros, and a manifest beside it of groups with their costs; every member has an amax of 2.
struct Case {
    place: tempfile::TempDir,
}

/// What a scheme of everything amounts to: the reasons are those of what stays as it is, by group.
#[derive(Debug)]
struct Found {
    fp8: Vec<String>,
    kept: BTreeMap<String, String>,
    notes: Vec<String>,
}

type Groups<'a> = &'a [(&'a [&'a str], u64)];

impl Case {
    fn new(config: Value, tensors: &[(&str, &[usize])], groups: Groups) -> Self {
        let place = tempfile::tempdir().unwrap();
        let tensors: Tensors =
            tensors.iter().map(|(name, shape)| (name.to_string(), Raw::zeros(shape))).collect();
        Directory::create(&place.path().join("model"), &config, &tensors);
        let sensitivity: serde_json::Map<String, Value> = groups
            .iter()
            .enumerate()
            .map(|(number, (members, weights))| {
                let group = json!({
                    "formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
                    "scores": [number as f64 + 1.0, 0.0],
                    "costs": [*weights as f64 / 2.0, *weights as f64],
                    "module_names": members,
                });
                (format!("{}.quant_recipe", members[0]), group)
            })
            .collect();
        let members = groups.iter().flat_map(|(members, _)| members.iter());
        let amax: BTreeMap<String, f64> =
            members.map(|member| (format!("{member}.input_quantizer"), 2.0)).collect();
        let manifest = json!({"layer_sensitivity": sensitivity, "amax": amax});
        std::fs::write(place.path().join("manifest.json"), manifest.to_string()).unwrap();
        Case { place }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    fn options(&self, dialect: DialectId, activations: Activations) -> FamilyOptions {
        FamilyOptions {
            dialect: DialectChoice::Named(dialect),
            activations: ActivationsChoice::Named(activations),
            ..options(&self.path("model"), &self.path("manifest.json"), &self.path("out"))
        }
    }

    fn family(&self, dialect: DialectId, activations: Activations) -> Result<Family> {
        let mut family = Family::open(self.options(dialect, activations))?;
        let ranking = family.manifest().ranking(&Default::default())?;
        family.add("all", ranking.lowest(100.0)?)?;
        Ok(family)
    }

    /// A static scheme of everything.
    fn planned(&self) -> Result<Found> {
        let family = self.family(DialectId::Universal, Activations::Static)?;
        let planned = family.planned()?;
        let plan = &planned.schemes[0].plan;
        let kept = plan.kept.iter().map(|kept| (kept.layer.clone(), kept.reason.clone())).collect();
        Ok(Found {
            fp8: plan.formats.keys().map(ToString::to_string).collect(),
            kept,
            notes: planned.notes.clone(),
        })
    }

    /// As [`Case::planned`], of which only these layers are FP8 and these parts of reasons are given.
    fn check(&self, fp8: &[&str], reasons: &[(&str, &str)]) {
        let Found { fp8: layers, kept, .. } = self.planned().unwrap();
        assert_eq!(layers, fp8);
        assert_eq!(kept.len(), reasons.len(), "{kept:?}");
        for ((layer, reason), (member, expected)) in kept.iter().zip(reasons) {
            assert!(layer.contains(member) && reason.contains(expected), "{layer}: {reason}");
        }
    }
}

fn of(class: &str, model_type: &str) -> Value {
    json!({"architectures": [class], "model_type": model_type})
}

/// Input scales are found by the names that layers are found by.
#[test]
fn amax_of_names_in_memory_is_that_of_the_layers_on_disk() {
    let cases: [(&str, &str, &str, &str); 3] = [
        (
            "NemotronHForCausalLM",
            "nemotron_h",
            "backbone.layers.0.mixer.in_proj",
            "model.layers.0.mixer.in_proj",
        ),
        (
            "PaddleOCRVLForConditionalGeneration",
            "paddleocr_vl",
            "mlp_AR.linear_2",
            "model.projector.linear_2",
        ),
        (
            "Emu3ForConditionalGeneration",
            "emu3",
            "text_model.model.layers.0.mlp.down_proj",
            "model.text_model.layers.0.mlp.down_proj",
        ),
    ];
    for (class, model_type, on_disk, in_memory) in cases {
        let weight = format!("{on_disk}.weight");
        let case = Case::new(of(class, model_type), &[(&weight, &[16, 32])], &[(&[in_memory], 512)]);
        case.check(&[on_disk], &[]);
        let amax = case.path("amax.json");
        let other = format!(r#"{{"{in_memory}.input_quantizer": 896}}"#);
        std::fs::write(&amax, other).unwrap();
        let mut scales = InputScales::from_amax(&amax, &RecordedAmax::open(&amax).unwrap()).unwrap();
        scales.resolve(&Model::open(case.path("model")).unwrap()).unwrap();
        assert_eq!(scales.get(on_disk), Some(2.0));

        let options =
            FamilyOptions { amax: Some(amax), ..case.options(DialectId::Universal, Activations::Static) };
        ascending_family(options, &[100.0]).planned().unwrap();
    }
}

fn resolved(model: &Path, amax: &str) -> Result<InputScales> {
    let path = Path::new("amax.json");
    let mut scales = InputScales::from_amax(path, &RecordedAmax::parse(path, amax.as_bytes())?)?;
    scales.resolve(&Model::open(model)?)?;
    Ok(scales)
}

#[test]
fn a_name_on_disk_goes_before_one_in_memory_and_two_others_must_agree() {
    let on_disk = "backbone.layers.0.mixer.in_proj";
    let weight = format!("{on_disk}.weight");
    let nemotron = of("NemotronHForCausalLM", "nemotron_h");
    let case = Case::new(nemotron, &[(&weight, &[16, 32])], &[(&[on_disk], 512)]);
    let both = r#"{"backbone.layers.0.mixer.in_proj.input_quantizer": 448, "model.layers.0.mixer.in_proj.input_quantizer": 896}"#;
    assert_eq!(resolved(&case.path("model"), both).unwrap().get(on_disk), Some(1.0));
    let others = r#"{"model.layers.0.mixer.in_proj.input_quantizer": 448, "module.backbone.layers.0.mixer.in_proj.input_quantizer": 896}"#;
    let error = resolved(&case.path("model"), others).unwrap_err();
    assert_eq!(error.to_string(), format!("`amax.json` has two input scales for `{on_disk}`"));
}

#[test]
fn a_convolution_that_is_merged_in_memory_stays_as_it_is() {
    let parent = "model.layers.0.linear_attn";
    let names = ["q", "k", "v"].map(|part| format!("{parent}.{part}_conv1d.weight"));
    let out = format!("{parent}.o_proj");
    let weight = format!("{out}.weight");
    let mut tensors: Vec<(&str, &[usize])> =
        names.iter().map(|name| (name.as_str(), &[32, 1, 4][..])).collect();
    tensors.push((&weight, &[16, 16]));
    let conv = format!("{parent}.conv1d");
    let groups: Groups = &[(&[&conv], 3 * 128), (&[&out], 256)];
    Case::new(of("OlmoHybridForCausalLM", "olmo_hybrid"), &tensors, groups)
        .check(&[&out], &[("conv1d", "a convolution")]);
}

#[test]
fn experts_that_are_counted_otherwise_in_memory_stay_as_they_are() {
    let names: Vec<String> = (0..4)
        .flat_map(|expert| {
            ["down_proj", "gate_proj", "up_proj"]
                .map(|part| format!("model.layers.1.mlp.experts.{expert}.{part}.weight"))
        })
        .collect();
    let mut tensors: Vec<(&str, &[usize])> =
        names.iter().map(|name| (name.as_str(), &[16, 16][..])).collect();
    tensors.push(("model.layers.1.mlp.gate.weight", &[2, 16]));
    tensors.push(("model.layers.1.mlp.gate.weight_1", &[2, 16]));
    tensors.push(("model.layers.1.self_attn.o_proj.weight", &[16, 16]));
    let in_memory = "model.language_model.layers.1";
    let members =
        ["mlp.text_moe.experts", "mlp.vision_moe.experts", "mlp.vision_moe.gate", "self_attn.o_proj"];
    let members = members.map(|member| format!("{in_memory}.{member}"));
    let one: Vec<[&str; 1]> = members.iter().map(|member| [member.as_str()]).collect();
    let groups: Groups = &[(&one[0], 6 * 256), (&one[1], 6 * 256), (&one[2], 32), (&one[3], 256)];
    Case::new(of("Ernie4_5_VLMoeForConditionalGeneration", "ernie4_5_vl_moe"), &tensors, groups).check(
        &["model.layers.1.self_attn.o_proj"],
        &[
            ("text_moe.experts", "sorts otherwise"),
            ("vision_moe.experts", "sorts otherwise"),
            ("vision_moe.gate", "a router"),
        ],
    );
}

/// What is exactly a weight on disk is still compared.
#[test]
fn a_linear_layer_of_another_size_is_one_of_another_model() {
    let on_disk = "model.layers.0.mlp.down_proj";
    let weight = format!("{on_disk}.weight");
    let case = Case::new(
        of("LlamaForCausalLM", "llama"),
        &[(&weight, &[16, 32])],
        &[(&["layers.0.mlp.down_proj"], 256)],
    );
    let error = case.planned().unwrap_err();
    assert!(error.to_string().contains("is of another model"), "{error}");
}

#[test]
fn tables_that_are_tied_stay_as_they_are() {
    let florence = "model.language_model.encoder.layers.0.fc1";
    let t5 = "language_model.encoder.block.0.layer.1.DenseReluDense.wo";
    let blip2 = json!({
        "architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2", "text_config": {"model_type": "t5"}
    });
    let cases = [
        (of("Florence2ForConditionalGeneration", "florence2"), "model.language_model", florence),
        (blip2, "language_model", t5),
    ];
    for (config, root, linear) in cases {
        let (weight, shared) = (format!("{linear}.weight"), format!("{root}.shared.weight"));
        let tables = ["decoder", "encoder"].map(|side| format!("{root}.{side}.embed_tokens"));
        let groups: Groups = &[(&[&tables[0]], 1024), (&[&tables[1]], 1024), (&[linear], 256)];
        let case = Case::new(config, &[(&weight, &[16, 16]), (&shared, &[64, 16])], groups);
        case.check(&[linear], &[("decoder", "tied to another"), ("encoder", "tied to another")]);
    }
}

#[test]
fn a_table_that_is_tied_to_nothing_on_disk_is_missing() {
    let linear = "model.language_model.encoder.layers.0.fc1";
    let weight = format!("{linear}.weight");
    let groups: Groups = &[(&["model.language_model.encoder.embed_tokens"], 1024), (&[linear], 256)];
    let florence = of("Florence2ForConditionalGeneration", "florence2");
    let error = Case::new(florence, &[(&weight, &[16, 16])], groups).planned().unwrap_err();
    assert!(error.to_string().contains("match"), "{error}");
}

#[test]
fn a_mixture_that_is_stacked_under_other_names_on_disk_stays_as_it_is() {
    let parent = "model.layers.0.block_sparse_moe";
    let [input, output] = ["input_linear", "output_linear"].map(|stack| format!("{parent}.{stack}.weight"));
    let linear = "model.layers.0.self_attn.o_proj";
    let weight = format!("{linear}.weight");
    let experts = format!("{parent}.experts");
    let groups: Groups = &[(&[&experts], 2 * 4 * 256), (&[linear], 256)];
    let tensors: &[(&str, &[usize])] =
        &[(&input, &[4, 16, 16]), (&output, &[4, 16, 16]), (&weight, &[16, 16])];
    for (class, model_type) in [
        ("GraniteMoeSharedForCausalLM", "granitemoeshared"),
        ("GraniteMoeHybridForCausalLM", "granitemoehybrid"),
    ] {
        Case::new(of(class, model_type), tensors, groups)
            .check(&[linear], &[("experts", "experts in one tensor")]);
    }
}

#[test]
fn what_has_parameters_and_no_weight_stays_as_it_is() {
    let parent = "model.layers.0.temporal_block";
    let (unit, linear) = (format!("{parent}.rg_lru"), format!("{parent}.linear_out"));
    let (parameter, weight) = (format!("{unit}.recurrent_param"), format!("{linear}.weight"));
    let groups: Groups = &[(&[&unit], 16), (&[&linear], 256)];
    let tensors: &[(&str, &[usize])] = &[(&parameter, &[16]), (&weight, &[16, 16])];
    Case::new(of("RecurrentGemmaForCausalLM", "recurrent_gemma"), tensors, groups)
        .check(&[&linear], &[("rg_lru", "no linear layer")]);
}

/// Transformers splits codes and not their scales.
#[test]
fn parts_of_one_tensor_on_disk_stay_as_they_are() {
    let parent = "model.H_module.layers.0";
    let linear = format!("{parent}.attn.o_proj");
    let tensors = ["attn.gqkv_proj", "mlp.gate_up_proj", "attn.o_proj"];
    let tensors = tensors.map(|name| format!("{parent}.{name}.weight"));
    let tensors: Vec<(&str, &[usize])> = tensors.iter().map(|name| (name.as_str(), &[64, 16][..])).collect();
    let parts = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.gate_proj",
        "self_attn.o_proj",
    ];
    let parts = parts.map(|name| format!("{parent}.{name}"));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let groups: Groups = &[(&parts[..3], 768), (&parts[3..4], 256), (&parts[4..], 1024)];
    let case = Case::new(of("HrmTextForCausalLM", "hrm_text"), &tensors, groups);
    case.check(&[&linear], &[("gate_proj", "a part of one tensor"), ("q_proj", "a part of one tensor")]);
    let notes = case.planned().unwrap().notes;
    let unnamed: Vec<_> = notes.iter().filter(|note| note.contains("not in the manifest")).collect();
    let expected = format!(
        "1 linear layer of the model is not in the manifest and stays as it is, such as `{parent}.mlp.gate_up_proj`"
    );
    assert_eq!(unnamed, [&expected]);
}

/// vLLM looks for the entries of ModelOpt's list within names.
#[test]
fn layers_that_modelopts_list_cannot_tell_apart_are_refused_before_anything_is_written() {
    let (dense, other) = ("lm_head.dense", "roberta.encoder.layer.0.intermediate.dense");
    let [a, b] = [dense, other].map(|name| format!("{name}.weight"));
    let case = Case::new(
        of("RobertaForCausalLM", "roberta"),
        &[(&a, &[16, 16]), (&b, &[16, 16]), ("lm_head.decoder.weight", &[32, 16])],
        &[(&[dense], 256), (&[other], 256)],
    );
    for dialect in [DialectId::Universal, DialectId::ModelOpt] {
        let family = case.family(dialect, Activations::Static).unwrap();
        let refused = |error: Error| {
            assert_eq!(error.kind(), "refused");
            let starts = format!("`{dense}` would be FP8 while `lm_head` stays in BF16");
            assert!(error.to_string().starts_with(&starts), "{error}");
            assert!(error.hint().unwrap().contains("--dialect compressed-tensors"));
        };
        refused(family.planned().map(|_| ()).unwrap_err());
        refused(family.run(&Silent).map(|_| ()).unwrap_err());
        assert!(!case.path("out").exists());
    }
    let family = case.family(DialectId::CompressedTensors, Activations::Static).unwrap();
    assert_eq!(family.planned().unwrap().schemes[0].plan.formats.len(), 2);
}

#[test]
fn only_linear_layers_are_counted_as_parts_of_what_loaders_fuse() {
    let convolutions = ["q", "k", "v"].map(|part| format!("model.vqmodel.encoder.mid.attn_1.{part}"));
    let linears =
        ["q_proj", "k_proj", "v_proj"].map(|part| format!("model.language_model.layers.0.self_attn.{part}"));
    let weights: Vec<String> =
        convolutions.iter().chain(&linears).map(|name| format!("{name}.weight")).collect();
    let shapes = |at: usize| -> &[usize] { if at < 3 { &[16, 16, 1, 1] } else { &[16, 16] } };
    let tensors: Vec<(&str, &[usize])> =
        weights.iter().enumerate().map(|(at, name)| (name.as_str(), shapes(at))).collect();
    let one: Vec<[&str; 1]> = convolutions.iter().chain(&linears).map(|name| [name.as_str()]).collect();
    let groups: Vec<(&[&str], u64)> = one.iter().map(|members| (&members[..], 256)).collect();
    let case = Case::new(of("JanusForConditionalGeneration", "janus"), &tensors, &groups);
    let Found { fp8, kept, notes } = case.planned().unwrap();
    assert_eq!((fp8.len(), kept.len()), (3, 3));
    let counted: Vec<_> = notes.iter().filter(|note| note.contains("parts of what loaders fuse")).collect();
    assert_eq!(counted.len(), 1, "{notes:?}");
    assert!(counted[0].starts_with("3 groups of the manifest"), "{counted:?}");
}
