//! Two manifests against what their JSON says, read here without the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use qlua::diff::{GroupChange, GroupPart, ManifestDiff, diff_manifests};
use qlua::manifest::Manifest;
use serde_json::{Value, json};

fn compared(a: &Path, b: &Path) -> ManifestDiff {
    diff_manifests(&Manifest::open(a).unwrap(), &Manifest::open(b).unwrap()).unwrap()
}

/// The demo's manifest, one of the same model with other scores, and room for changes of the first.
pub(super) fn demo(place: &Path) -> (PathBuf, PathBuf) {
    let demo = qlua::demo::build(&place.join("demo")).unwrap();
    (demo.manifest, demo.second_manifest)
}

/// The manifest at `path`, changed.
fn edited(path: &Path, name: &str, edit: impl FnOnce(&mut Value)) -> PathBuf {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    let target = path.with_file_name(name);
    fs::write(&target, value.to_string()).unwrap();
    target
}

/// The scores of scored candidates, by group in the order of the file.
fn scores(path: &Path) -> Vec<(String, f64)> {
    let value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let groups = value["layer_sensitivity"].as_object().unwrap().iter();
    let quantises = |formats: &Value| {
        formats.as_array().unwrap().iter().any(|f| !f.as_str().unwrap().starts_with("NONE"))
    };
    groups
        .filter(|(_, group)| quantises(&group["formats"]))
        .map(|(name, group)| {
            let score =
                group["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).fold(0.0, f64::max);
            (name.trim_end_matches(".quant_recipe").to_string(), score)
        })
        .filter(|(_, score)| *score != 0.0)
        .collect()
}

/// Ranks from 1 for the least, ties in the order of the file.
fn ranks(scores: &[(String, f64)]) -> BTreeMap<&str, i64> {
    let mut order: Vec<&(String, f64)> = scores.iter().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    order.iter().zip(1..).map(|((name, _), rank)| (name.as_str(), rank)).collect()
}

#[test]
fn ranking_shifts_and_correlations_are_those_of_the_scores() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = demo(place.path());
    let found = compared(&first, &second);
    let (scores_a, scores_b) = (scores(&first), scores(&second));
    let (ranks_a, ranks_b) = (ranks(&scores_a), ranks(&scores_b));
    let count = ranks_a.len();
    assert!(count > 20 && found.ranked == count && !found.is_same(), "{count}");
    let mut moved = 0;
    for change in &found.changed {
        let name = change.name.as_str();
        assert_eq!(change.shift(), Some(ranks_b[name] - ranks_a[name]), "{name}");
        assert_eq!(change.parts.contains(&GroupPart::Rank), ranks_a[name] != ranks_b[name]);
        moved += usize::from(change.shift() != Some(0));
    }
    assert_eq!(moved, ranks_a.iter().filter(|(name, rank)| ranks_b[*name] != **rank).count());
    let shifts: Vec<i64> = found.changed.iter().map(|change| change.shift().unwrap_or(0).abs()).collect();
    assert!(shifts.is_sorted_by(|a, b| a >= b) && shifts[0] > 0, "{shifts:?}");
    // Without ties, both correlations follow from ranks alone.
    let pairs: Vec<(i64, i64)> = ranks_a.iter().map(|(name, rank)| (*rank, ranks_b[name])).collect();
    let n = count as f64;
    let squares: f64 = pairs.iter().map(|(a, b)| ((a - b) as f64).powi(2)).sum();
    let mut agreement = 0;
    for (at, one) in pairs.iter().enumerate() {
        agreement +=
            pairs[..at].iter().map(|other| ((one.0 - other.0) * (one.1 - other.1)).signum()).sum::<i64>();
    }
    let correlation = found.correlation.unwrap();
    assert_eq!(correlation.groups, count);
    assert!((correlation.spearman.unwrap() - (1.0 - 6.0 * squares / (n * (n * n - 1.0)))).abs() < 1e-12);
    assert!((correlation.kendall.unwrap() - agreement as f64 / (n * (n - 1.0) / 2.0)).abs() < 1e-12);
}

#[test]
fn the_same_manifest_in_another_layout_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (first, _) = demo(place.path());
    let compact = edited(&first, "compact.json", |_| ());
    assert_ne!(fs::read(&first).unwrap(), fs::read(&compact).unwrap());
    let found = compared(&first, &compact);
    assert!(found.is_same(), "{found:?}");
    let correlation = found.correlation.unwrap();
    assert_eq!((correlation.spearman, correlation.kendall), (Some(1.0), Some(1.0)));
}

#[test]
fn what_policies_do_not_read_is_compared_too() {
    let place = tempfile::tempdir().unwrap();
    let (first, _) = demo(place.path());
    type Edit<'e> = (&'e str, fn(&mut Value), &'e [&'e str], &'e [GroupPart]);
    let edits: [Edit; 4] = [
        (
            "a key of an entry",
            |value| {
                let groups = value["layer_sensitivity"].as_object_mut().unwrap();
                groups.values_mut().next().unwrap()["disabled"] = json!(9_007_199_254_740_993_u64);
            },
            &[],
            &[GroupPart::Others],
        ),
        (
            "a layer",
            |value| {
                let layers = value["layers"].as_object_mut().unwrap();
                layers.values_mut().next().unwrap()["quantized"] = json!(false);
            },
            &["layers"],
            &[],
        ),
        (
            "a place of the ranking",
            |value| value["sensitivity_ranking"][3]["importance"] = json!(77.0),
            &["sensitivity_ranking"],
            &[],
        ),
        ("nothing", |_| (), &[], &[]),
    ];
    for (what, edit, lists, parts) in edits {
        let found = compared(&first, &edited(&first, "edited.json", edit));
        assert_eq!(found.is_same(), what == "nothing", "{what}");
        assert_eq!(found.lists, lists, "{what}");
        let found: Vec<GroupPart> = found.changed.iter().flat_map(|change| change.parts.clone()).collect();
        assert_eq!(found, parts, "{what}");
    }
}

#[test]
fn each_part_of_a_group_that_differs_is_named() {
    let place = tempfile::tempdir().unwrap();
    let (first, _) = demo(place.path());
    let names: Vec<String> = scores(&first).into_iter().map(|(name, _)| name).collect();
    let key = |value: &Value, name: &str| {
        let groups = value["layer_sensitivity"].as_object().unwrap();
        groups.keys().find(|key| key.trim_end_matches(".quant_recipe") == name).unwrap().clone()
    };
    let changed = edited(&first, "changed.json", |value| {
        let keys: Vec<String> = names.iter().take(3).map(|name| key(value, name)).collect();
        let groups = value["layer_sensitivity"].as_object_mut().unwrap();
        let cost = groups[&keys[0]]["costs"][0].as_f64().unwrap();
        groups[&keys[0]]["costs"][0] = json!(cost * 2.0);
        let formats = groups[&keys[1]]["formats"].as_array_mut().unwrap();
        for format in formats.iter_mut().filter(|format| !format.as_str().unwrap().starts_with("NONE")) {
            *format = json!("NVFP4_DEFAULT_CFG(effective-bits: 4.5)");
        }
        groups.shift_remove(&keys[2]);
        value["autoquant_state"]["score"] = json!(123.5);
    });
    let found = compared(&first, &changed);
    let parts = |name: &str| -> &[GroupPart] {
        found
            .changed
            .iter()
            .find(|change| change.name == name)
            .map_or(&[], |change: &GroupChange| &change.parts)
    };
    assert!(parts(&names[0]).contains(&GroupPart::Costs), "{:?}", parts(&names[0]));
    assert!(
        parts(&names[1]).contains(&GroupPart::Formats) && parts(&names[1]).contains(&GroupPart::Candidate)
    );
    assert_eq!((&found.only_in_a, &found.only_in_b), (&vec![names[2].clone()], &vec![]));
    // Ranks are those among common groups: one that is missing moves no other.
    assert!(found.changed.iter().all(|change| change.shift().unwrap_or(0) == 0), "{:?}", found.changed);
    assert_eq!(found.keys.iter().map(|key| key.path.as_str()).collect::<Vec<_>>(), ["autoquant_state.score"]);
    let new = found.formats.iter().find(|format| format.name == "NVFP4_DEFAULT_CFG").unwrap();
    assert_eq!((new.a, new.b), (0, 1));
}

#[test]
fn manifests_without_anything_in_common_are_compared_all_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (first, _) = demo(place.path());
    let group = |name: &str| {
        json!({"layer_sensitivity": {name: {
            "formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
            "scores": [0.5, 0.0],
            "costs": [8.0, 16.0],
        }}})
    };
    let other = place.path().join("other.json");
    fs::write(&other, group("nowhere.q").to_string()).unwrap();
    let found = compared(&other, &first);
    assert_eq!((found.correlation, found.ranked, found.only_in_a.len()), (None, 0, 1));
    assert!(!found.is_same() && found.changed.is_empty());
}
