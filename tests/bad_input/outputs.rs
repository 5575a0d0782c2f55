//! Outputs in the wrong place, or where something is already.

use qlua::dialect::{DialectChoice, DialectId};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;

use serde_json::json;

use crate::common::directory::Directory;
use crate::common::place::{Place, export, require_message};
use crate::common::tree;
use qlua::job::FamilyOptions;
use qlua::write::{LinkChoice, PartialDirectory, Progress, Silent};

/// Overwriting would cost the source, so it is asked for in every case.
#[test]
fn outputs_that_touch_a_source_are_refused_however_they_are_spelled() {
    let place = Place::new();
    let base = place.path();
    Directory::copy(&place.model.0, &base.join("nest/top50/deep/baseline"));
    Directory::copy(&place.model.0, &base.join("copy"));
    fs::rename(base.join("copy"), base.join("model/top50")).unwrap();
    fs::create_dir(base.join("elsewhere")).unwrap();
    symlink(&place.model.0, base.join("elsewhere/top50")).unwrap();
    symlink(base.join("model"), base.join("link")).unwrap();
    symlink("link", base.join("link2")).unwrap();
    for (out, model, relation) in [
        ("model", "model/top50", "is the source"),
        ("elsewhere", "model", "is the source"),
        ("link2", "model/top50", "is the source"),
        ("model", "model", "lies inside the source"),
        ("link/sub/deeper", "model", "lies inside the source"),
        ("out/../model", "model", "lies inside the source"),
        ("elsewhere/../link2/.", "model", "lies inside the source"),
        ("nest", "nest/top50/deep/baseline", "contains the source"),
        ("nest/top50/deep/../..", "nest/top50/deep/baseline", "contains the source"),
    ] {
        let (out, model) = (base.join(out), base.join(model));
        let options =
            FamilyOptions { out: out.clone(), model: Some(model), overwrite: true, ..place.options() };
        let error = place.refused_with(options);
        assert_eq!(error.kind(), "refused", "{error}");
        require_message(&error, &[&out.display().to_string(), relation, "never written to"], "another --out");
    }
}

#[test]
fn a_baseline_is_a_source_too() {
    let place = Place::new();
    let options = FamilyOptions { out: place.path().join("nest"), ..place.options() };
    let baseline = export(options.clone(), &[50.0], &Silent).unwrap().remove(0).directory;
    let options = FamilyOptions { baseline: Some(baseline), overwrite: true, ..options };
    require_message(&place.refused_with(options), &["is the source"], "another --out");
}

#[test]
fn an_output_beside_the_model_with_a_name_that_begins_alike_is_fine() {
    let place = Place::new();
    let out = place.path().join("model-fp8");
    let written = export(FamilyOptions { out, ..place.options() }, &[50.0], &Silent).unwrap();
    assert!(written[0].directory.join("config.json").exists());
}

#[test]
fn what_exists_is_kept_unless_it_is_a_checkpoint_and_overwriting_was_asked_for() {
    let place = Place::new();
    export(place.options(), &[50.0], &Silent).unwrap();
    let scheme = place.out.join("top50");
    let first = tree(&scheme);
    let other = FamilyOptions { dialect: DialectChoice::Named(DialectId::ModelOpt), ..place.options() };
    let error = place.refused_with(other);
    assert_eq!(error.kind(), "exists");
    require_message(&error, &[&scheme.display().to_string(), "exists already"], "--overwrite");

    fs::write(scheme.join("notes.txt"), "mine").unwrap();
    fs::create_dir_all(scheme.join("eval/empty")).unwrap();
    fs::write(scheme.join("eval/scores.json"), "{}").unwrap();
    symlink("notes.txt", scheme.join("link")).unwrap();
    let notes = Notes::default();
    export(FamilyOptions { overwrite: true, ..place.options() }, &[50.0], &notes).unwrap();
    assert_eq!(tree(&scheme), first, "the new directory holds nothing of the old one");
    let aside = place.out.join("top50.kept");
    assert_eq!(fs::read_to_string(aside.join("notes.txt")).unwrap(), "mine");
    assert_eq!(fs::read_link(aside.join("link")).unwrap().to_str(), Some("notes.txt"));
    assert!(aside.join("eval/empty").is_dir() && aside.join("eval/scores.json").is_file());
    assert_eq!(fs::read_dir(&aside).unwrap().count(), 3, "and nothing that qlua wrote");
    let said = notes.said();
    assert!(said.contains("4 files that qlua did not write") && said.contains("top50.kept"), "{said}");

    fs::write(scheme.join("more.txt"), "").unwrap();
    export(FamilyOptions { overwrite: true, ..place.options() }, &[50.0], &Silent).unwrap();
    assert!(place.out.join("top50.kept-2/more.txt").is_file(), "what was kept before stays");
    export(FamilyOptions { overwrite: true, ..place.options() }, &[50.0], &Silent).unwrap();
    assert_eq!(fs::read_dir(&place.out).unwrap().count(), 3, "nothing is kept where there is nothing");

    // Neither a configuration nor a record of a scheme.
    fs::remove_file(scheme.join("config.json")).unwrap();
    fs::remove_dir_all(scheme.join("layer-sensitivity")).unwrap();
    let overwriting = || FamilyOptions { overwrite: true, ..place.options() };
    let error = place.refused_with(overwriting());
    require_message(
        &error,
        &["top50` is no checkpoint directory, so it is not replaced"],
        "remove it yourself",
    );

    fs::remove_dir_all(&scheme).unwrap();
    fs::write(&scheme, "notes").unwrap();
    let error = place.refused_with(overwriting());
    require_message(&error, &["top50` is no directory, so it is not replaced"], "remove it yourself");
    fs::remove_file(&scheme).unwrap();
    fs::create_dir(&scheme).unwrap();
    export(overwriting(), &[50.0], &Silent).unwrap();
    assert_eq!(tree(&scheme), first, "an empty directory is nobody's work");
}

/// Somebody's checkpoint of a scheme's name.
#[test]
fn a_checkpoint_that_qlua_did_not_write_is_never_replaced() {
    let place = Place::new();
    Directory::copy(&place.model.0, &place.out.join("top50"));
    let options = FamilyOptions { overwrite: true, ..place.options() };
    let error = place.refused_with(options.clone());
    assert_eq!(error.kind(), "exists");
    require_message(&error, &["top50` is no scheme that qlua wrote, so it is not replaced"], "move it away");
    assert_eq!(foreseen(options).to_string(), error.to_string());
}

/// What is said while a family is written.
#[derive(Default)]
pub struct Notes(Mutex<Vec<String>>);

impl Notes {
    pub fn said(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Progress for Notes {
    fn begin(&self, _: &str, _: u64) {}
    fn note(&self, sentence: &str) {
        self.0.lock().unwrap().push(sentence.into());
    }
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// A failed overwrite must not cost the directory that was there.
#[test]
fn a_failed_overwrite_leaves_the_old_directory() {
    let place = Place::new();
    export(place.options(), &[50.0], &Silent).unwrap();
    place.model.edit_tensors(|tensors| {
        for tensor in tensors.values_mut() {
            tensor.bytes[..2].copy_from_slice(&half::bf16::NAN.to_le_bytes());
        }
    });
    let error = place.refused_with(FamilyOptions { overwrite: true, ..place.options() });
    assert_eq!(error.kind(), "tensor");
}

#[test]
fn a_parent_that_is_a_file_is_named() {
    let place = Place::new();
    let error = place.refused_with(FamilyOptions { out: place.manifest.join("out"), ..place.options() });
    assert_eq!(error.kind(), "refused");
    require_message(
        &error,
        &["nothing can be written to `", "manifest.json`: it is no directory"],
        "another --out",
    );
}

/// What the check before a dry run says, which is the run's own sentence.
pub fn foreseen(options: FamilyOptions) -> qlua::error::Error {
    let foreseen = crate::common::ascending_family(options.clone(), &[50.0]).check().unwrap_err();
    let met = export(options, &[50.0], &Silent).unwrap_err();
    assert_eq!(foreseen.to_string(), met.to_string());
    foreseen
}

#[test]
fn a_dry_run_finds_the_file_in_the_way_and_what_another_run_left() {
    let place = Place::new();
    let options = FamilyOptions { out: place.manifest.join("out"), ..place.options() };
    require_message(&foreseen(options), &["it is no directory"], "another --out");

    // A run on other inputs that was stopped after its first shard.
    let left = place.out.join(".qlua.partial");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join(".qlua-lock"), "").unwrap();
    fs::write(left.join("k.safetensors"), "b").unwrap();
    let shard = json!({"key": "k", "bytes": 1, "blake3": "b", "errors": {}, "source": "s"});
    fs::write(left.join("journal.jsonl"), format!("{}\n{shard}\n", json!({"inputs": "others"}))).unwrap();
    require_message(&foreseen(place.options()), &["was left by a run on other inputs"], "repeat that run");
    assert!(foreseen(place.options()).to_string().contains(".qlua.partial"));
}

#[test]
fn a_dry_run_finds_what_lies_where_unfinished_work_goes_and_nothing_of_it_is_touched() {
    for name in [".qlua.partial", ".top50.partial"] {
        let place = Place::new();
        let (path, mine) = (place.out.join(name), place.path().join("mine"));
        fs::create_dir_all(&place.out).unwrap();
        fs::create_dir(&mine).unwrap();
        let lies = |what: &str| {
            require_message(&foreseen(place.options()), &[name, what], "another --out");
            assert!(path.symlink_metadata().is_ok(), "{name}: {what}");
        };
        symlink(&mine, &path).unwrap();
        lies("is a symbolic link");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        lies("is no directory");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("notes"), "mine").unwrap();
        lies("was not made by qlua");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        fs::remove_file(path.join("notes")).unwrap();
        export(place.options(), &[50.0], &Silent).unwrap();
    }
}

#[test]
fn a_report_is_written_through_no_link() {
    let place = Place::new();
    let family = crate::common::ascending_family(place.options(), &[50.0]);
    family.run(&Silent).unwrap();
    let mine = place.path().join("mine");
    fs::write(&mine, "mine").unwrap();
    symlink(&mine, place.out.join(".report.html.partial")).unwrap();
    assert!(family.write_report(&family.report().unwrap()).is_err());
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
}

#[test]
fn a_scheme_that_another_process_is_writing_is_left_to_it() {
    let place = Place::new();
    let running = PartialDirectory::begin(&place.out.join("top50"), false).unwrap();
    let error = place.refused();
    assert_eq!(error.kind(), "exists");
    require_message(&error, &["top50` is being written by another process"], "wait for it");
    drop(running);
    assert!(!place.out.exists());
}

/// Neither is found while bytes are written.
#[test]
fn a_dry_run_finds_paths_that_no_system_takes() {
    let place = Place::new();
    let before = place.snapshot();
    let out = place.path().join("a".repeat(300)).join("out");
    let error = foreseen(FamilyOptions { out, ..place.options() });
    require_message(&error, &["has 300 bytes, and the file system takes 255"], "shorter --out");
    let out = place.path().join(vec!["a".repeat(200); 21].join("/"));
    let error = foreseen(FamilyOptions { out, ..place.options() });
    require_message(&error, &["with what goes into it, and the system takes 4095"], "shorter --out");
    assert_eq!(place.snapshot(), before);
}

#[test]
fn a_dry_run_tries_the_links_that_a_run_needs() {
    let place = Place::new();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    fs::write(&a, "content").unwrap();
    if reflink_copy::reflink(&a, &b).is_ok() {
        eprintln!("SKIPPED: this file system can reflink, and this test needs one that cannot");
        return;
    }
    let before = place.snapshot();
    let options = FamilyOptions { link: LinkChoice::Reflink, ..place.options() };
    let family = crate::common::ascending_family(options, &[20.0, 50.0]);
    let error = family.check().err().unwrap();
    require_message(&error, &["cannot reflink files of", &place.path().display().to_string()], "--link auto");
    assert_eq!(place.snapshot(), before, "nothing is left behind");
    assert_eq!(family.run(&Silent).unwrap_err().to_string(), error.to_string());
    assert_eq!(place.snapshot(), before, "and nothing was written");
    // A scheme alone has its files to itself.
    let options = FamilyOptions { link: LinkChoice::Reflink, ..place.options() };
    export(options, &[50.0], &Silent).unwrap();
}
