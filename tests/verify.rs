//! Negative controls of the checks: good directories in every dialect, each broken in one way on purpose.
//!
//! The ways are those in which vLLM, Transformers, SGLang and TensorRT-LLM were found to reject a directory or, worse, to
//! accept it and get it wrong. What is broken here is broken with serde_json and the safetensors crate.

mod common;

#[path = "verify/blocks.rs"]
mod blocks;
#[path = "verify/breaks.rs"]
mod breaks;
#[path = "verify/hard_errors.rs"]
mod hard_errors;
#[path = "verify/honesty.rs"]
mod honesty;
#[path = "verify/others.rs"]
mod others;
#[path = "verify/silently_wrong.rs"]
mod silently_wrong;
#[path = "verify/tensors.rs"]
mod tensors;

use qlua::dialect::{DialectChoice, DialectId};
use qlua::plan::{Activations, ActivationsChoice};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use breaks::Good::{self, *};
use breaks::{CONFIG, Case, fp8};
use common::directory::{Directory, Raw, write_safetensors};
use common::{ascending_family, faults, options, shared};
use qlua::job::FamilyOptions;
use qlua::verify::{Code, Depth, verify};
use qlua::write::Silent;
use safetensors::tensor::Dtype;
use serde_json::json;

fn cases() -> Vec<Case> {
    let mut cases = silently_wrong::cases();
    cases.extend(hard_errors::cases());
    cases.extend(others::cases());
    cases.extend(blocks::cases());
    cases.extend(tensors::cases());
    cases.extend(honesty::cases());
    cases
}

/// The demo at 50 % in every dialect, and the demo itself.
fn good_directories(base: &Path) -> Vec<(Good, PathBuf)> {
    let demo = qlua::demo::build(&base.join("demo")).unwrap();
    let layouts = [
        (Universal, DialectId::Universal, Activations::Static),
        (CtStatic, DialectId::CompressedTensors, Activations::Static),
        (CtDynamic, DialectId::CompressedTensors, Activations::Dynamic),
        (MoStatic, DialectId::ModelOpt, Activations::Static),
        (MoDynamic, DialectId::ModelOpt, Activations::Dynamic),
        (Block, DialectId::Fp8Block, Activations::Dynamic),
    ];
    assert_eq!(layouts.map(|(_, dialect, activations)| (dialect, activations)).to_vec(), common::layouts());
    let written = layouts.map(|(good, dialect, activations)| {
        let out = base.join(format!("{good:?}"));
        let (dialect, activations) = (DialectChoice::Named(dialect), ActivationsChoice::Named(activations));
        let options = FamilyOptions { dialect, activations, ..options(&demo.model, &demo.manifest, &out) };
        (good, ascending_family(options, &[50.0]).run(&Silent).unwrap().schemes.remove(0).directory)
    });
    written.into_iter().chain([(Base, demo.model)]).collect()
}

/// A copy of `source` of which nothing is on record, so that a break is found for what it is.
fn without_records(source: &Path, target: &Path) -> Directory {
    let directory = Directory::copy(source, target);
    let _ = fs::remove_dir_all(directory.file("layer-sensitivity"));
    let _ = fs::remove_file(directory.file("README.md"));
    directory
}

fn found(directory: &Path, depth: Depth) -> BTreeSet<(&'static str, String)> {
    let problems = verify(directory, depth).unwrap();
    problems.into_iter().map(|p| (p.code.word(), p.subject)).collect()
}

#[test]
fn good_directories_have_no_finding_and_each_break_has_exactly_its_own() {
    let base = tempfile::tempdir().unwrap();
    let good = good_directories(base.path());
    for (which, directory) in &good {
        assert_eq!(verify(directory, Depth::Full).unwrap(), [], "{which:?}");
    }
    let mut wrong = Vec::new();
    for (number, Case(name, start, break_it)) in cases().into_iter().enumerate() {
        let start = &good.iter().find(|(which, _)| *which == start).unwrap().1;
        let directory = without_records(start, &base.path().join(format!("broken-{number}")));
        let expected: BTreeSet<(&str, String)> =
            break_it(&directory).into_iter().map(|(code, subject)| (code.word(), subject)).collect();
        assert!(!expected.is_empty(), "{name} expects something");
        let found = found(&directory.0, Depth::Full);
        if found != expected {
            wrong.push(format!("{name}\n  expected {expected:?}\n  found    {found:?}"));
        }
        fs::remove_dir_all(&directory.0).unwrap();
    }
    assert!(wrong.is_empty(), "{} of the breaks:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_code_is_provoked_by_some_break() {
    let base = tempfile::tempdir().unwrap();
    let good = good_directories(base.path());
    let mut provoked = BTreeSet::new();
    for (number, Case(_, start, break_it)) in cases().into_iter().enumerate() {
        let start = &good.iter().find(|(which, _)| *which == start).unwrap().1;
        let directory = without_records(start, &base.path().join(format!("broken-{number}")));
        provoked.extend(break_it(&directory).into_iter().map(|(code, _)| code.word()));
        fs::remove_dir_all(&directory.0).unwrap();
    }
    // What a directory is compared with, and what is wrong only with a record, is not in these cases.
    let compared = [
        Code::ChangedFile,
        Code::StrangeFile,
        Code::Record,
        Code::Coverage,
        Code::Base,
        Code::Family,
        Code::ModeloptMethod,
    ];
    provoked.extend(compared.map(Code::word));
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    assert_eq!(provoked, all);
    assert_eq!(all.len(), Code::ALL.len(), "words are distinct");
}

#[test]
fn codes_are_read_only_when_they_are_asked_for() {
    let base = tempfile::tempdir().unwrap();
    let good = good_directories(base.path());
    let directory = without_records(&good[0].1, &base.path().join("broken"));
    let module = fp8(&directory);
    directory.edit_tensors(|t| t.get_mut(&format!("{module}.weight")).unwrap().bytes[0] = 0x7f);
    assert_eq!(found(&directory.0, Depth::Headers), BTreeSet::new());
    assert_eq!(found(&directory.0, Depth::Full), [("nan_codes", module)].into());
}

#[test]
fn scales_of_an_fp8_cache_belong_to_their_layers() {
    let base = tempfile::tempdir().unwrap();
    let good = good_directories(base.path());
    let (_, start) = good.iter().find(|(which, _)| *which == MoStatic).unwrap();
    let directory = without_records(start, &base.path().join("cache"));
    let key = directory.module(Dtype::F8_E4M3, "self_attn.k_proj");
    let scale = Raw::new(Dtype::F32, &[], 0.5f32.to_le_bytes().to_vec());
    directory.edit_tensors(|t| {
        t.insert(format!("{key}.k_scale"), scale.clone());
        t.insert(format!("{}.v_scale", key.replace("k_proj", "v_proj")), scale);
    });
    assert_eq!(verify(&directory.0, Depth::Full).unwrap(), []);
}

/// Transformers 5.20 multiplies in the dtype of the scale: it must be that of the model.
#[test]
fn an_f32_model_may_have_f32_scales() {
    let base = tempfile::tempdir().unwrap();
    let good = good_directories(base.path());
    let directory = without_records(&good[1].1, &base.path().join("f32"));
    directory.edit_tensors(|tensors| {
        for tensor in tensors.values_mut().filter(|t| t.dtype == Dtype::BF16) {
            let values =
                tensor.bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32());
            tensor.bytes = values.flat_map(f32::to_le_bytes).collect();
            tensor.dtype = Dtype::F32;
        }
    });
    assert_eq!(verify(&directory.0, Depth::Full).unwrap(), []);
}

/// Loads in vLLM and Transformers alike.
/// Without an index vLLM opens every weight file, and what it reads last stays.
#[test]
fn a_second_weight_file_without_an_index_is_found_where_it_holds_the_same_tensors() {
    let base = tempfile::tempdir().unwrap();
    let tensors = |names: &[&str]| names.iter().map(|name| (name.to_string(), Raw::zeros(&[4, 4]))).collect();
    let config = json!({"model_type": "llama"});
    let all = ["model.embed_tokens.weight", "lm_head.weight"];
    let directory = Directory::create(&base.path().join("model"), &config, &tensors(&all));
    let of_weights = || {
        let mut found = found(&directory.0, Depth::Headers);
        found.retain(|(code, _)| *code == Code::ExtraTensor.word());
        found
    };
    assert_eq!(of_weights(), BTreeSet::new());
    write_safetensors(&directory.file("consolidated.safetensors"), &tensors(&["tok_embeddings.weight"]));
    assert_eq!(of_weights(), BTreeSet::new(), "other names are no second copy");
    write_safetensors(&directory.file("z.safetensors"), &tensors(&all[..1]));
    assert_eq!(of_weights(), BTreeSet::from([(Code::ExtraTensor.word(), all[0].to_string())]));
}

#[test]
fn the_format_of_a_group_goes_before_that_of_the_configuration() {
    let base = tempfile::tempdir().unwrap();
    let good = good_directories(base.path());
    let directory = without_records(&good[0].1, &base.path().join("formats"));
    directory.edit_json(CONFIG, |c| c["quantization_config"]["format"] = "mixed-precision".into());
    assert_eq!(verify(&directory.0, Depth::Full).unwrap(), []);
}

#[test]
fn what_is_no_directory_is_an_error_that_names_it() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file, base.path().join("nowhere")] {
        let error = verify(&path, Depth::Headers).unwrap_err();
        assert_eq!(error.kind(), "not_found");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn modelopts_own_output_has_only_a_note_about_transformers() {
    let (Some(model), Some(golden)) = (shared("golden/tiny-qwen2_5-vl"), shared("golden/modelopt")) else {
        return;
    };
    assert_eq!(verify(&model, Depth::Full).unwrap(), []);
    let baseline = golden.join("fp8_baseline");
    let problems = verify(&baseline, Depth::Full).unwrap();
    let [note] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!((note.code.word(), note.is_fault()), ("modelopt_export", false));
    assert_eq!(faults(&baseline), []);
}

#[test]
fn a_scheme_that_says_what_only_modelopt_says_is_wrong() {
    let base = tempfile::tempdir().unwrap();
    let good = good_directories(base.path());
    let scheme = &good.iter().find(|(which, _)| *which == MoStatic).unwrap().1;
    let directory = Directory::copy(scheme, &base.path().join("edited"));
    directory.edit_json(CONFIG, |config| {
        config["quantization_config"] = json!({"quant_method": "modelopt", "quant_algo": "FP8"});
    });
    let problems = faults(&directory.0);
    assert!(problems.iter().any(|problem| problem.code == Code::ModeloptMethod), "{problems:?}");
}
