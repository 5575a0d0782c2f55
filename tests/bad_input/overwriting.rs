//! What of an old scheme directory is qlua's own when it is replaced, and what is somebody's work: its record decides.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::common::directory::Directory;
use crate::common::place::{Place, export, require_message};
use crate::common::{ascending_family, tree};
use crate::outputs::{Notes, foreseen};
use qlua::job::FamilyOptions;
use qlua::write::Silent;

fn overwriting(place: &Place) -> FamilyOptions {
    FamilyOptions { overwrite: true, ..place.options() }
}

/// A place with the scheme `top50`.
fn with_scheme() -> (Place, Directory) {
    let place = Place::new();
    let scheme = export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory;
    (place, Directory(scheme))
}

fn names(directory: &Path) -> Vec<String> {
    tree(directory).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn files_with_names_like_those_of_qlua_are_kept_unless_they_are_on_record() {
    let (place, scheme) = with_scheme();
    let before = tree(&scheme.0);
    let mine = [
        ".qlua-notes",
        "hf_quant_config.json.orig",
        "layer-sensitivity/mine_coverage_from_baseline.json",
        "model-00009-of-00009.safetensors",
        "model.safetensors",
    ];
    for name in mine {
        assert!(!scheme.file(name).exists(), "{name} is none of the scheme's");
        fs::write(scheme.file(name), name).unwrap();
    }
    let notes = Notes::default();
    export(overwriting(&place), &[50.0], &notes).unwrap();
    let aside = place.out.join("top50.kept");
    let kept = tree(&aside);
    assert_eq!(kept, mine.map(|name| (name.to_string(), name.as_bytes().to_vec())));
    let expected = format!(
        "5 files that qlua did not write were moved from `{}` to `{}`",
        scheme.0.display(),
        aside.display()
    );
    assert!(notes.said().contains(&expected), "{}", notes.said());
    assert!(tree(&scheme.0) == before);
}

#[test]
fn files_that_somebody_edited_are_kept_and_damaged_shards_are_not() {
    let (place, scheme) = with_scheme();
    let before = tree(&scheme.0);
    scheme.edit_json("config.json", |config| config["mine"] = "edited".into());
    let edited = fs::read(scheme.file("config.json")).unwrap();
    // The same size, other content.
    let mut text = fs::read(scheme.file("layer-sensitivity/per-layer-sensitivity.md")).unwrap();
    text.reverse();
    fs::write(scheme.file("layer-sensitivity/per-layer-sensitivity.md"), &text).unwrap();
    fs::write(scheme.file("notes.txt"), "mine").unwrap();
    let shard = scheme.weight_files().remove(0);
    fs::remove_file(&shard).unwrap();
    fs::write(&shard, "damaged").unwrap();
    let notes = Notes::default();
    export(overwriting(&place), &[50.0], &notes).unwrap();
    let aside = place.out.join("top50.kept");
    assert_eq!(names(&aside), ["config.json", "layer-sensitivity/per-layer-sensitivity.md", "notes.txt"]);
    assert_eq!(fs::read(aside.join("config.json")).unwrap(), edited);
    let expected =
        "1 file that qlua did not write and 2 that were changed since qlua wrote them were moved from `";
    assert!(notes.said().contains(expected), "{}", notes.said());
    assert!(tree(&scheme.0) == before);
}

#[test]
fn companions_that_are_no_longer_part_of_the_model_are_not_kept() {
    let place = Place::new();
    fs::create_dir(place.model.file("templates")).unwrap();
    for name in ["CITATION.txt", "templates/one.jinja"] {
        fs::write(place.model.file(name), "theirs").unwrap();
    }
    export(place.options(), &[50.0], &Silent).unwrap();
    let scheme = place.out.join("top50");
    assert!(scheme.join("templates/one.jinja").is_file());
    fs::remove_file(place.model.file("CITATION.txt")).unwrap();
    fs::remove_dir_all(place.model.file("templates")).unwrap();
    // A folder of the scheme's whose files somebody removed is empty, and is still the scheme's.
    fs::remove_file(scheme.join("templates/one.jinja")).unwrap();
    let notes = Notes::default();
    export(overwriting(&place), &[50.0], &notes).unwrap();
    assert_eq!(fs::read_dir(&place.out).unwrap().count(), 1, "{}", notes.said());
    assert!(!notes.said().contains("moved"), "{}", notes.said());
    assert!(!scheme.join("templates").exists() && !scheme.join("CITATION.txt").exists());
}

/// A link in the place of a folder of the scheme's is nobody's mistake.
#[test]
fn links_of_somebody_are_kept_as_links() {
    let place = Place::new();
    fs::create_dir(place.model.file("templates")).unwrap();
    fs::write(place.model.file("templates/one.jinja"), "theirs").unwrap();
    export(place.options(), &[50.0], &Silent).unwrap();
    let scheme = place.out.join("top50");
    fs::rename(scheme.join("templates"), place.path().join("elsewhere")).unwrap();
    symlink(place.path().join("elsewhere"), scheme.join("templates")).unwrap();
    export(overwriting(&place), &[50.0], &Silent).unwrap();
    assert!(place.out.join("top50.kept/templates").is_symlink());
    assert!(
        place.path().join("elsewhere/one.jinja").is_file() && scheme.join("templates/one.jinja").is_file()
    );
}

/// Records of older releases name weights alone, and one that was changed says nothing that can be believed.
#[test]
fn without_a_record_of_all_files_their_names_decide() {
    for is_old in [true, false] {
        let (place, scheme) = with_scheme();
        scheme.edit_json("layer-sensitivity/provenance.json", |record| {
            let Value::Object(fields) = record else { panic!("a record has fields") };
            match is_old {
                true => ["files", "seal"].map(|field| fields.shift_remove(field)),
                false => [fields.insert("inputs".into(), "other".into()), None],
            };
        });
        fs::write(scheme.file("model-00009-of-00009.safetensors"), "of an older run").unwrap();
        fs::write(scheme.file("notes.txt"), "mine").unwrap();
        export(overwriting(&place), &[50.0], &Silent).unwrap();
        assert_eq!(names(&place.out.join("top50.kept")), ["notes.txt"]);
    }
}

#[test]
fn a_repair_keeps_what_was_edited() {
    let (place, scheme) = with_scheme();
    let before = tree(&scheme.0);
    scheme.edit_json("config.json", |config| config["mine"] = "edited".into());
    let edited = fs::read(scheme.file("config.json")).unwrap();
    let notes = Notes::default();
    export(place.options(), &[50.0], &notes).unwrap();
    assert!(tree(&scheme.0) == before);
    assert_eq!(fs::read(place.out.join("top50.kept/config.json")).unwrap(), edited);
    assert!(
        notes.said().contains("1 file that was changed since qlua wrote it was moved from `"),
        "{}",
        notes.said()
    );
}

/// To replace the link would leave what it leads to behind, and to write through it is not what moves a directory whole.
#[test]
fn a_link_to_a_scheme_is_not_replaced() {
    let (place, scheme) = with_scheme();
    let elsewhere = place.path().join("elsewhere");
    fs::rename(&scheme.0, &elsewhere).unwrap();
    symlink(&elsewhere, &scheme.0).unwrap();
    let parts = [&scheme.0.display().to_string(), "is a link to `", "elsewhere`, so it is not replaced"];
    let error = place.refused_with(overwriting(&place));
    assert_eq!(error.kind(), "exists");
    require_message(&error, &parts, "remove the link");
    assert_eq!(foreseen(overwriting(&place)).to_string(), error.to_string());
    let written = export(place.options(), &[50.0], &Silent).unwrap();
    assert!(written[0].up_to_date, "what it leads to is the scheme");
    // Nor is it repaired through the link.
    fs::remove_file(elsewhere.join("config.json")).unwrap();
    require_message(&place.refused(), &parts, "remove the link");
    fs::remove_dir_all(&elsewhere).unwrap();
    let error = place.refused();
    require_message(&error, &["top50` exists already"], "it is a link, and --overwrite replaces none");
}

#[test]
fn an_output_directory_that_is_a_link_to_nothing_is_named_before_anything_is_done() {
    let place = Place::new();
    symlink("gone", &place.out).unwrap();
    let parts = [&format!("`{}` is a link to `gone`, which is not there", place.out.display())[..]];
    for out in [place.out.clone(), place.out.join("deeper/still")] {
        for overwrite in [false, true] {
            let options = || FamilyOptions { out: out.clone(), overwrite, ..place.options() };
            let error = place.refused_with(options());
            assert_eq!(error.kind(), "refused");
            require_message(&error, &parts, "make what it leads to");
            foreseen(options());
        }
    }
    fs::create_dir(place.path().join("gone")).unwrap();
    ascending_family(place.options(), &[50.0]).run(&Silent).unwrap();
    assert!(place.path().join("gone/top50/config.json").is_file(), "a link to a directory is that directory");
}
