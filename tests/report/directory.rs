//! The report over a directory: whatever runs wrote the schemes, and the same as the runs themselves say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use qlua::dialect::DialectChoice;
use qlua::job::{Family, FamilyOptions, report_directory, write_report};
use qlua::manifest::{Group, RankingOptions};
use qlua::model::Tower;
use qlua::report::sweep::SweepReport;
use qlua::write::{HashedFile, Silent};

use crate::common::ascending_family;
use crate::common::place::Place;
use crate::common::report::{of_family, of_two_families};

fn names(sweep: &SweepReport) -> Vec<&str> {
    sweep.schemes.iter().map(|scheme| scheme.name.as_str()).collect()
}

/// What is read back from directories against what was planned from the base checkpoint before any of them was there.
#[test]
fn what_is_read_back_is_what_was_planned() {
    let dialects = [
        DialectChoice::Auto,
        DialectChoice::Named(qlua::dialect::DialectId::CompressedTensors),
        DialectChoice::Named(qlua::dialect::DialectId::ModelOpt),
        DialectChoice::Named(qlua::dialect::DialectId::Fp8Block),
    ];
    for dialect in dialects {
        let place = Place::new();
        let family =
            ascending_family(FamilyOptions { dialect, ..place.options() }, &[10.0, 40.0, 70.0, 100.0]);
        let planned = of_family(&family);
        family.run(&Silent).unwrap();
        fs::remove_dir_all(&place.model.0).unwrap();
        let mut found = report_directory(&place.out).unwrap();
        assert_eq!((found.sweeps.len(), found.notes.len()), (1, 0), "{dialect}: {:?}", found.notes);
        let found = found.sweeps.remove(0);
        assert_eq!(found.groups, planned.groups, "{dialect}");
        assert_eq!(found.schemes, planned.schemes, "{dialect}");
        assert_eq!(found.frontier, planned.frontier, "{dialect}");
        assert_eq!((found.base_bytes, found.facts), (planned.base_bytes, planned.facts), "{dialect}");
        assert_eq!(found.sharing, planned.sharing, "{dialect}");
    }
}

/// A run with one scheme once replaced the report of ten by its own row.
#[test]
fn a_later_run_keeps_the_rows_of_the_earlier() {
    let place = Place::new();
    let first = ascending_family(place.options(), &[10.0, 50.0, 100.0]);
    first.run(&Silent).unwrap();
    first.write_report(&first.report().unwrap()).unwrap();
    let later = ascending_family(place.options(), &[30.0]);
    later.run(&Silent).unwrap();
    let report = later.report().unwrap();
    assert_eq!(names(&report.sweeps[0]), ["top10", "top30", "top50", "top100"]);
    let [page, text] = later.write_report(&report).unwrap();
    let (page, text) = (fs::read(page).unwrap(), fs::read(text).unwrap());
    let again = write_report(&place.out, &report_directory(&place.out).unwrap()).unwrap();
    assert_eq!(again.map(|path| fs::read(path).unwrap()), [page, text], "`qlua report` says the same");
}

#[test]
fn families_of_one_manifest_are_one_sweep_with_two_labels() {
    let place = tempfile::tempdir().unwrap();
    let report = of_two_families(place.path());
    let [sweep] = &report.sweeps[..] else { panic!("{} sweeps", report.sweeps.len()) };
    let labels: Vec<(String, usize)> =
        sweep.families().into_iter().map(|family| (family.label, family.schemes.len())).collect();
    assert_eq!(labels, [("all_layers".to_string(), 5), ("lm_only".to_string(), 5)]);
    let (html, text) = (report.to_html(), report.to_markdown());
    assert!(html.contains("id=\"families\"") && text.contains("## Families side by side"));
    for said in ["qlua all_layers_topx --top 20..100:20 --out 'my schemes'", "vllm serve ./fp8_autoquant_"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("/usr/bin"), "the program by its name alone");
    let plain = html.replace("<wbr/>", "");
    assert!(plain.contains("vllm serve ./fp8_autoquant_lm_only_top20_coco2017"), "a line for each scheme");
}

/// Two base checkpoints: sizes are of one picture, groups and scores are not.
#[test]
fn schemes_of_other_bases_are_another_sweep() {
    let (place, other) = (Place::new(), Place::new());
    let mut config: serde_json::Value =
        serde_json::from_slice(&fs::read(other.model.file("config.json")).unwrap()).unwrap();
    config["note"] = "another".into();
    fs::write(other.model.file("config.json"), config.to_string()).unwrap();
    ascending_family(place.options(), &[50.0]).run(&Silent).unwrap();
    let options = FamilyOptions { out: place.out.clone(), ..other.options() };
    let mut family = Family::open(options).unwrap();
    let selection = family.manifest().ranking(&Default::default()).unwrap().lowest(70.0).unwrap();
    family.add("other_top70", selection).unwrap();
    family.run(&Silent).unwrap();
    let report = report_directory(&place.out).unwrap();
    let all: Vec<Vec<&str>> = report.sweeps.iter().map(names).collect();
    assert_eq!(all, [["other_top70"], ["top50"]]);
    let html = report.to_html();
    assert!(html.contains("id=\"sweep-1\"") && html.contains("id=\"sweep-2\""));
    super::parsed(&html);
}

/// Every family can be found in a picture by its mark, however many there are.
#[test]
fn families_have_marks_of_their_own() {
    let place = tempfile::tempdir().unwrap();
    let mut report = of_two_families(place.path());
    for (at, scheme) in report.sweeps[0].schemes.iter_mut().enumerate() {
        scheme.family = at;
    }
    let html = report.to_html();
    let (_, legend) = html.split_once("<ul class=\"legend\">").unwrap();
    let (legend, _) = legend.split_once("</ul>").unwrap();
    let marks: Vec<&str> =
        legend.split("class=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    let different: BTreeSet<&str> = marks.iter().copied().collect();
    assert_eq!((marks.len(), different.len()), (10, 10), "{marks:?}");
    for mark in marks {
        let class = mark.strip_prefix("key ").unwrap();
        assert!(html.contains(&format!("<circle class=\"{class}\"")), "{class}");
    }
    let text = report.to_text(80);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// A sweep of many families has a title that can be read, and each sweep is told apart where there are several.
#[test]
fn many_families_are_counted_in_titles() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut report = of_two_families(place.path());
    report.sweeps.extend(of_two_families(other.path()).sweeps);
    for (at, scheme) in report.sweeps[0].schemes.iter_mut().enumerate() {
        scheme.family = at;
    }
    let text = report.to_text(80).replace('\n', " ");
    assert!(text.contains(" and 7 more families: 10 schemes from "), "{text}");
    assert!(report.to_markdown().contains(" and 7 more families: 10 schemes from "));
}

/// What was changed since it was written is not shown as if it were what was written.
#[test]
fn a_scheme_that_was_changed_is_left_out_and_said_to_be() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        // Loaders would take layers for FP8 that are not: the line that serves it would not.
        ("config.json` was changed since it was written", |scheme| {
            let path = scheme.join("config.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen("\"ignore\"", "\"ignored\"", 1)).unwrap();
        }),
        ("was changed since it was written", |scheme| {
            let path = scheme.join("layer-sensitivity/top50_coverage_from_baseline.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen("\"top_percent\": 50", "\"top_percent\": 51", 1)).unwrap();
        }),
        ("has another size than on record", |scheme| {
            let shard = fs::read_dir(scheme)
                .unwrap()
                .map(|e| e.unwrap().path())
                .find(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
            let shard = shard.unwrap();
            let bytes = fs::read(&shard).unwrap();
            fs::remove_file(&shard).unwrap();
            fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("was changed since it was written", |scheme| {
            let path = scheme.join("layer-sensitivity/provenance.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen("\"dialect\": \"universal\"", "\"dialect\": \"modelopt\"", 1))
                .unwrap();
        }),
        ("the manifest that it was selected by is not among its records", |scheme| {
            fs::remove_file(scheme.join("layer-sensitivity/manifest.json")).unwrap();
        }),
    ];
    for (expected, damage) in damages {
        let place = Place::new();
        ascending_family(place.options(), &[50.0, 100.0]).run(&Silent).unwrap();
        damage(&place.out.join("top50"));
        let report = report_directory(&place.out).unwrap();
        assert_eq!(names(&report.sweeps[0]), ["top100"], "{expected}");
        let [note] = &report.notes[..] else { panic!("{:?}", report.notes) };
        assert!(note.starts_with("`top50` is left out: ") && note.contains(expected), "{note}");
        assert!(!note.contains(place.out.to_str().unwrap()), "{note}");
        assert!(report.to_html().contains("left out") && report.to_markdown().contains("left out"));
    }
}

/// Policies over one ranking are told apart by who made them.
#[test]
fn a_policy_is_a_family_of_its_own() {
    let place = Place::new();
    for (policy, name) in [("scripts/a.lua", "a"), ("scripts/b.lua", "b")] {
        let mut options = place.options();
        options.request.policy = Some(HashedFile::of(policy, b""));
        let mut family = Family::open(options).unwrap();
        let predicate = |group: &Group| Ok(group.tower() == Tower::Language);
        let ranking = RankingOptions { predicate: Some(&predicate), ..Default::default() };
        let selection = family.manifest().ranking(&ranking).unwrap().lowest(40.0).unwrap();
        family.add(name, selection).unwrap();
        family.run(&Silent).unwrap();
    }
    assert_eq!(report_directory(&place.out).unwrap().sweeps[0].families().len(), 2);
}

#[test]
fn a_directory_without_schemes_is_refused() {
    let place = Place::new();
    let error = report_directory(place.path()).unwrap_err();
    crate::common::place::require_message(&error, &["holds no scheme that is on record"], "--out");
}
