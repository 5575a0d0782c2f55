//! Directories against what they were made from, against what is on record of them, and against each other.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};

use qlua::dialect::{DialectChoice, DialectId};
use qlua::job::FamilyOptions;
use qlua::model::Model;
use qlua::plan::{Activations, ActivationsChoice};
use qlua::verify::{
    Code, Depth, Problem, RecordState, Verified, VerifyListener, VerifyOptions, verify, verify_all,
    verify_with,
};
use qlua::write::Silent;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use common::directory::{Directory, Raw};
use common::place::{Place, require_message};
use common::{ascending_family, options, tree};

const RECORD: &str = "layer-sensitivity/provenance.json";

/// Counts what a check says of its progress.
#[derive(Default)]
struct Heard {
    begun: AtomicU64,
    read: AtomicU64,
}

impl VerifyListener for Heard {
    fn begin(&self, bytes: u64) {
        self.begun.fetch_add(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn against(directory: &Path, base: &Path) -> Verified {
    let base = Model::open(base).unwrap();
    verify_with(directory, &VerifyOptions { depth: Depth::Full, base: Some(&base) }).unwrap()
}

fn faults(problems: &[Problem]) -> Vec<(Code, &str)> {
    let faults = problems.iter().filter(|problem| problem.is_fault());
    faults.map(|problem| (problem.code, problem.subject.as_str())).collect()
}

/// A scheme of the demo, and the demo's model.
fn scheme(base: &Path, dialect: DialectId, activations: Activations) -> (Directory, PathBuf) {
    let demo = qlua::demo::build(&base.join("demo")).unwrap();
    let options = FamilyOptions {
        dialect: DialectChoice::Named(dialect),
        activations: ActivationsChoice::Named(activations),
        ..options(&demo.model, &demo.manifest, &base.join("out"))
    };
    let written = ascending_family(options, &[50.0]).run(&Silent).unwrap().schemes.remove(0);
    // A copy of its own, without the record and the card that says it had one, so that only the base can tell.
    let directory = Directory::copy(&written.directory, &base.join("scheme"));
    fs::remove_dir_all(directory.file("layer-sensitivity")).unwrap();
    fs::remove_file(directory.file("README.md")).unwrap();
    (directory, demo.model)
}

/// Σ weight² / Σ (weight - code × scale)² in decibels, from the definition, for scales per tensor or per row.
fn sqnr(directory: &Directory, base: &Directory, name: &str) -> f64 {
    let (ours, theirs) = (directory.tensors(), base.tensors());
    let values = |raw: &Raw| -> Vec<f64> {
        raw.bytes.chunks(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect()
    };
    let scales = values(&ours[&format!("{}_scale", name)]);
    let weights = values(&theirs[name]);
    let row = theirs[name].shape[1];
    let (mut signal, mut noise) = (0.0, 0.0);
    for (at, (weight, code)) in weights.iter().zip(&ours[name].bytes).enumerate() {
        let scale = if scales.len() == 1 { scales[0] } else { scales[at / row] };
        let value = f64::from(float8::F8E4M3::from_bits(*code).to_f32()) * scale;
        signal += weight * weight;
        noise += (weight - value).powi(2);
    }
    10.0 * (signal / noise).log10()
}

#[test]
fn an_untouched_scheme_is_its_base_bit_for_bit_and_its_codes_are_exact() {
    for (dialect, activations) in [
        (DialectId::Universal, Activations::Static),
        (DialectId::CompressedTensors, Activations::Dynamic),
        (DialectId::ModelOpt, Activations::Static),
        (DialectId::Fp8Block, Activations::Dynamic),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (directory, model) = scheme(place.path(), dialect, activations);
        let verified = against(&directory.0, &model);
        assert_eq!(verified.problems, [], "{dialect}");
        let compared = verified.base.unwrap();
        let codes = directory.tensors().values().filter(|t| t.dtype == Dtype::F8_E4M3).count();
        assert_eq!((compared.exact, compared.different), (codes, 0), "{dialect}");
        assert_eq!(compared.identical, Directory(model.clone()).tensors().len() - codes, "{dialect}");
        let (worst, decibels) = compared.worst.unwrap();
        if matches!(dialect, DialectId::Universal | DialectId::CompressedTensors) {
            let expected = sqnr(&directory, &Directory(model), &worst);
            assert!((decibels - expected).abs() < 1e-3, "{dialect}: {decibels}, not {expected}");
        }
    }
}

#[test]
fn whatever_differs_from_the_base_is_found_and_named() {
    type Break = fn(&Directory) -> (Code, String);
    let breaks: [Break; 9] = [
        |d| {
            let name = format!("{}.weight", d.module(Dtype::F8_E4M3, "down_proj"));
            d.edit_tensors(|t| t.get_mut(&name).unwrap().bytes[7] ^= 1);
            (Code::Base, name)
        },
        |d| {
            let name = format!("{}.weight", d.module(Dtype::BF16, "down_proj"));
            d.edit_tensors(|t| t.get_mut(&name).unwrap().bytes[6] ^= 1);
            (Code::Base, name)
        },
        |d| {
            let module = d.module(Dtype::F8_E4M3, "down_proj");
            d.edit_tensors(|t| t.get_mut(&format!("{module}.weight_scale")).unwrap().bytes[0] ^= 4);
            (Code::Base, format!("{module}.weight"))
        },
        |d| {
            let name = "model.norm.weight".to_string();
            d.edit_tensors(|t| t.get_mut(&name).unwrap().bytes[1] ^= 0x80);
            (Code::Base, name)
        },
        |d| {
            let name = "model.norm.weight".to_string();
            d.edit_tensors(|t| {
                let raw = t.get_mut(&name).unwrap();
                let values = raw.bytes.chunks(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32());
                raw.bytes = values.flat_map(f32::to_le_bytes).collect();
                raw.dtype = Dtype::F32;
            });
            (Code::Base, name)
        },
        |d| {
            d.edit_json("config.json", |c| c["rms_norm_eps"] = json!(0.5));
            (Code::Base, "config.json".into())
        },
        |d| {
            fs::write(d.file("tokenizer.json"), "{}").unwrap();
            (Code::Base, "tokenizer.json".into())
        },
        |d| {
            fs::remove_file(d.file("generation_config.json")).unwrap();
            (Code::MissingFile, "generation_config.json".into())
        },
        |d| {
            fs::write(d.file("notes.txt"), "mine").unwrap();
            (Code::StrangeFile, "notes.txt".into())
        },
    ];
    for (number, break_it) in breaks.into_iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        let (directory, model) = scheme(place.path(), DialectId::Universal, Activations::Static);
        let (code, subject) = break_it(&directory);
        let verified = against(&directory.0, &model);
        assert_eq!(faults(&verified.problems), [(code, subject.as_str())], "break {number}");
    }
}

/// A spelling of its own, as checkpoints have that were saved by another release of a library.
#[test]
fn names_in_another_spelling_are_compared_all_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (directory, model) = scheme(place.path(), DialectId::CompressedTensors, Activations::Dynamic);
    let renamed = Directory::copy(&model, &place.path().join("renamed"));
    renamed.edit_tensors(|tensors| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .map(|(name, raw)| match name.strip_prefix("model.") {
                Some(rest) => (format!("model.language_model.{rest}"), raw),
                None if name.starts_with("visual.") => (format!("model.{name}"), raw),
                None => (name, raw),
            })
            .collect();
    });
    let compared = against(&directory.0, &renamed.0).base.unwrap();
    assert_eq!(compared.different, 0);
    assert!(compared.exact > 0 && compared.identical > 20, "{compared:?}");
}

/// The base that was rounded as ModelOpt rounds is known by its record, and accepted without one.
#[test]
fn codes_that_were_rounded_twice_are_exact_in_their_way() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let options = FamilyOptions {
        dialect: DialectChoice::Named(DialectId::ModelOpt),
        rounding: qlua::format::Rounding::ModelOpt,
        ..options(&demo.model, &demo.manifest, &place.path().join("out"))
    };
    let written = ascending_family(options, &[50.0]).run(&Silent).unwrap().schemes.remove(0).directory;
    let verified = against(&written, &demo.model);
    assert_eq!(faults(&verified.problems), []);
    assert_eq!(verified.base.unwrap().different, 0);
    assert_eq!(verified.record, RecordState::Hashes);
}

#[test]
fn a_record_of_an_older_release_is_understood_and_its_limits_are_said() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let family = ascending_family(options(&demo.model, &demo.manifest, &place.path().join("out")), &[50.0]);
    let directory = Directory(family.run(&Silent).unwrap().schemes.remove(0).directory);
    assert_eq!(verify(&directory.0, Depth::Full).unwrap(), []);
    let text = fs::read_to_string(directory.file(RECORD)).unwrap();
    let older = |record: &mut Value| {
        record.as_object_mut().unwrap().remove("files").unwrap();
        record.as_object_mut().unwrap().remove("seal").unwrap();
    };
    directory.edit_json(RECORD, older);
    let found = verify(&directory.0, Depth::Full).unwrap();
    assert_eq!(
        found.iter().map(|p| (p.code, p.subject.as_str())).collect::<Vec<_>>(),
        [(Code::NotChecked, RECORD)]
    );
    // Only one of both: the record was changed.
    for key in ["files", "seal"] {
        fs::write(directory.file(RECORD), &text).unwrap();
        directory.edit_json(RECORD, |record| drop(record.as_object_mut().unwrap().remove(key).unwrap()));
        assert_eq!(faults(&verify(&directory.0, Depth::Full).unwrap()), [(Code::Record, RECORD)], "{key}");
    }
    fs::write(directory.file(RECORD), &text).unwrap();
    fs::remove_file(directory.file("hf_quant_config.json")).unwrap();
    directory.edit_json(RECORD, older);
    let found = verify(&directory.0, Depth::Full).unwrap();
    assert_eq!(faults(&found), [(Code::Configuration, "hf_quant_config.json")], "{found:?}");
}

#[test]
fn names_and_sizes_are_all_that_a_quick_look_compares() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let family = ascending_family(options(&demo.model, &demo.manifest, &place.path().join("out")), &[50.0]);
    let directory = Directory(family.run(&Silent).unwrap().schemes.remove(0).directory);
    let path = directory.file("tokenizer.json");
    let mut text = fs::read(&path).unwrap();
    text[0] ^= 1;
    fs::write(&path, &text).unwrap();
    assert_eq!(faults(&verify(&directory.0, Depth::Headers).unwrap()), []);
    assert_eq!(faults(&verify(&directory.0, Depth::Full).unwrap()), [(Code::ChangedFile, "tokenizer.json")]);
    text.push(0);
    fs::write(&path, &text).unwrap();
    assert_eq!(
        faults(&verify(&directory.0, Depth::Headers).unwrap()),
        [(Code::ChangedFile, "tokenizer.json")]
    );
}

/// Without a record, what is quantised is compared with what the coverage manifest says.
#[test]
fn coverage_and_weights_of_two_schemes_do_not_go_together() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let family =
        ascending_family(options(&demo.model, &demo.manifest, &place.path().join("out")), &[20.0, 60.0]);
    let schemes = family.run(&Silent).unwrap().schemes;
    let mixed = Directory::copy(&schemes[0].directory, &place.path().join("mixed"));
    fs::remove_file(mixed.file(RECORD)).unwrap();
    fs::remove_file(mixed.file("layer-sensitivity/weight-error.json")).unwrap();
    fs::remove_file(mixed.file("README.md")).unwrap();
    assert_eq!(faults(&verify(&mixed.0, Depth::Headers).unwrap()), []);
    let folder = |directory: &Path| directory.join("layer-sensitivity");
    fs::remove_file(folder(&mixed.0).join("top20_coverage_from_baseline.json")).unwrap();
    let other = "top60_coverage_from_baseline.json";
    fs::copy(folder(&schemes[1].directory).join(other), folder(&mixed.0).join(other)).unwrap();
    let found = verify(&mixed.0, Depth::Headers).unwrap();
    assert_eq!(faults(&found), [(Code::Coverage, format!("layer-sensitivity/{other}").as_str())]);
}

fn qlua(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qlua")).current_dir(directory).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn all_directories_are_reported_whatever_happens_to_one() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let family = ascending_family(options(&demo.model, &demo.manifest, &place.path().join("out")), &[50.0]);
    let bad = Directory::copy(&family.run(&Silent).unwrap().schemes[0].directory, &place.path().join("bad"));
    fs::write(bad.file("strange"), "").unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    let output = qlua(place.path(), &["verify", "missing", "bad", "file", "demo/model"]);
    assert_eq!(output.status.code(), Some(3));
    let text = said(&output);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        lines,
        [
            "missing: could not be looked at: `missing` does not exist",
            "bad: 1 problem",
            "file: could not be looked at: `file` is a file, not a directory",
            "demo/model: ok"
        ]
    );
    assert!(
        text.contains("  strange_file: `strange` is not on record")
            && text.contains("    hint: move the file"),
        "{text}"
    );
    let output = qlua(place.path(), &["verify", "missing", "demo/model"]);
    assert_eq!((output.status.code(), said(&output).lines().last()), (Some(1), Some("demo/model: ok")));
    // As `verify out/*` names them.
    fs::write(place.path().join("report.html"), "").unwrap();
    let output = qlua(place.path(), &["verify", "demo/model", "report.html"]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "demo/model: ok\n"));
    assert_eq!(qlua(place.path(), &["verify", "report.html"]).status.code(), Some(1));
    let output = qlua(place.path(), &["verify", "--json", "missing", "bad", "--threads", "1"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["directories"][0]["error"]["kind"], "not_found");
    let finding = &answer["directories"][1]["findings"][0];
    assert_eq!((&finding["code"], &finding["subject"]), (&json!("strange_file"), &json!("strange")));
    assert!(finding["hint"].as_str().is_some_and(|hint| !hint.is_empty()) && finding["fault"] == true);
    assert_eq!(qlua(place.path(), &["verify", "bad", "--threads", "0"]).status.code(), Some(2));
    assert_eq!(
        qlua(place.path(), &["verify", "bad", "--headers", "--base", "demo/model"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_family_is_compared_with_the_base_and_with_itself() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let out = place.path().join("out");
    ascending_family(options(&demo.model, &demo.manifest, &out), &[20.0, 50.0, 80.0]).run(&Silent).unwrap();
    let words = ["verify", "--family", "--base", "demo/model", "out/top80", "out/top20", "out/top50"];
    let output = qlua(place.path(), &words);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.ends_with("family of 3: ok\n") && text.contains("SQNR "), "{text}");
    Directory::copy(&out.join("top50"), &out.join("again"));
    let output = qlua(place.path(), &["verify", "--family", "out/top20", "out/top50", "out/again"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("have the same weights, byte for byte"), "{}", said(&output));
}

/// What several directories share is read once, and whatever is wrong with it is said of each.
#[test]
fn all_directories_at_once_are_told_what_each_is_told_alone() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let out = place.path().join("out");
    let family = ascending_family(options(&demo.model, &demo.manifest, &out), &[20.0, 50.0, 80.0]);
    let mut directories: Vec<PathBuf> =
        family.run(&Silent).unwrap().schemes.into_iter().map(|scheme| scheme.directory).collect();
    directories.push(Directory::copy(&directories[1], &place.path().join("copy")).0);
    directories.push(place.path().join("missing"));
    let shard = Directory(directories[0].clone()).weight_files()[0].clone();
    assert!(fs::metadata(&shard).unwrap().nlink() > 1, "{} is shared", shard.display());
    let mut bytes = fs::read(&shard).unwrap();
    let end = bytes.len();
    bytes[end - 8..].fill(0xff);
    fs::set_permissions(&shard, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&shard, &bytes).unwrap();
    let base = Model::open(&demo.model).unwrap();
    for base in [None, Some(&base)] {
        let options = VerifyOptions { depth: Depth::Full, base };
        let heard = Heard::default();
        let together = verify_all(&directories, &options, &heard);
        let [begun, read] = [&heard.begun, &heard.read].map(|count| count.load(Ordering::Relaxed));
        let size = |file: PathBuf| fs::metadata(file).unwrap().len();
        let files = directories[..4].iter().flat_map(|found| Directory(found.clone()).weight_files());
        // What several share is read once, unless each is compared.
        assert_eq!((begun, begun == files.map(size).sum::<u64>()), (read, base.is_some()));
        assert_eq!(together.len(), directories.len());
        for (directory, found) in directories.iter().zip(&together) {
            match (found, verify_with(directory, &options)) {
                (Ok(found), Ok(alone)) => {
                    assert_eq!(found.problems, alone.problems, "{}", directory.display());
                    assert_eq!((found.record, &found.base), (alone.record, &alone.base));
                    assert_eq!(found.member, alone.member);
                }
                (Err(found), Err(alone)) => assert_eq!(found.to_string(), alone.to_string()),
                (found, alone) => panic!("{found:?} {alone:?}"),
            }
        }
        for found in &together[..3] {
            let codes: Vec<Code> = found.as_ref().unwrap().problems.iter().map(|p| p.code).collect();
            assert!(codes.contains(&Code::ChangedFile), "{codes:?}");
            assert!(codes.contains(&Code::NonFinite) || codes.contains(&Code::NanCodes), "{codes:?}");
        }
        assert_eq!(faults(&together[3].as_ref().unwrap().problems), []);
        assert!(together[4].is_err());
    }
}

/// Hashes tell that files are those of a directory, not that the directory is the one that its name says.
#[test]
fn directories_of_a_family_that_have_exchanged_their_names_are_found() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let out = place.path().join("out");
    ascending_family(options(&demo.model, &demo.manifest, &out), &[20.0, 50.0, 80.0]).run(&Silent).unwrap();
    let family = |names: &[&str]| {
        let words = ["verify", "--family"].into_iter().chain(names.iter().copied());
        let output = qlua(&out, &words.collect::<Vec<_>>());
        (output.status.code(), said(&output))
    };
    let rename = |from: &str, to: &str| fs::rename(out.join(from), out.join(to)).unwrap();
    // Whoever calls a scheme something else has not confused it with another.
    rename("top80", "mine");
    assert_eq!(family(&["top20", "top50", "mine"]).0, Some(0));
    rename("top20", "aside");
    rename("top50", "top20");
    rename("aside", "top50");
    let (code, text) = family(&["top20", "top50", "mine"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("`top20` was written as `top50`, and `top50` as `top20`"), "{text}");
    assert!(text.contains("`top50` was written as `top20`, and `top20` as `top50`"), "{text}");
    assert!(text.contains("family of 3: 2 problems"), "{text}");
    assert_eq!(qlua(&out, &["verify", "top20", "top50"]).status.code(), Some(0));
}

#[test]
fn a_base_that_is_quantised_or_no_directory_is_one_sentence() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let out = place.path().join("out");
    ascending_family(options(&demo.model, &demo.manifest, &out), &[50.0]).run(&Silent).unwrap();
    std::os::unix::fs::symlink("circle", place.path().join("circle")).unwrap();
    for (base, what) in [
        ("out/top50", "`out/top50` is quantised already"),
        ("/dev/null", "`/dev/null` is a device, not a directory"),
        ("circle", "`circle` is a link in a circle"),
        ("nowhere", "`nowhere` does not exist"),
    ] {
        let output = qlua(place.path(), &["verify", "out/top50", "--base", base]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), ""), "{text}");
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("qlua: error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(what), "{text}");
    }
}

#[test]
fn a_rerun_compares_hashes_and_repairs_what_is_damaged() {
    let place = Place::new();
    let sweep = || ascending_family(place.options(), &[20.0, 50.0]).run(&Silent);
    sweep().unwrap();
    let before = tree(&place.out);
    for name in [
        "tokenizer.json",
        "config.json",
        "model-00001-of-00003.safetensors",
        "layer-sensitivity/weight-error.json",
    ] {
        let path = place.out.join("top50").join(name);
        let mut bytes = fs::read(&path).unwrap();
        // In place, as a disk would damage it: size and names stay, and so do other names of the file.
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        let mode = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(&path, &bytes).unwrap();
        fs::set_permissions(&path, mode).unwrap();
        let outcome = sweep().unwrap();
        assert!(outcome.schemes.iter().any(|scheme| !scheme.up_to_date), "{name}");
        // A disk or an editor: nobody can tell, so that small files are kept.
        let aside = place.out.join("top50.kept");
        assert_eq!(
            fs::read(aside.join(name)).ok(),
            (!name.ends_with(".safetensors")).then_some(bytes),
            "{name}"
        );
        let _ = fs::remove_dir_all(aside);
        assert!(tree(&place.out) == before, "{name} is whole again");
    }
    fs::remove_file(place.out.join("top20/config.json")).unwrap();
    let inode = fs::metadata(place.out.join("top50")).unwrap().ino();
    let outcome = sweep().unwrap();
    assert_eq!(outcome.schemes.iter().map(|scheme| scheme.up_to_date).collect::<Vec<_>>(), [false, true]);
    assert!(tree(&place.out) == before && fs::metadata(place.out.join("top50")).unwrap().ino() == inode);
    // What somebody else has put there is not thrown away.
    fs::remove_file(place.out.join("top20/config.json")).unwrap();
    fs::write(place.out.join("top20/mine.txt"), "mine").unwrap();
    let error = sweep().unwrap_err();
    require_message(&error, &["top20` exists already, is damaged, and holds `mine.txt`"], "--overwrite");
    assert_eq!(fs::read_to_string(place.out.join("top20/mine.txt")).unwrap(), "mine");
}
