//! Sensitivity manifests.

use qlua::diff::diff_manifests;
use qlua::json;
use qlua::manifest::{Correlation, Manifest, RankingOptions};
use serde_json::Value;

use super::require_message;

pub fn check(bytes: &[u8]) {
    let manifest = match Manifest::parse("m.json", bytes) {
        Ok(manifest) => manifest,
        Err(error) => return require_message(&error),
    };
    assert_eq!(manifest.bytes(), bytes);
    assert!(!manifest.groups().is_empty());
    for group in manifest.groups() {
        let formats = group.formats.len();
        assert!(formats > 0 && group.scores.len() == formats && group.costs.len() == formats);
        assert!(!group.members.is_empty());
        assert_eq!(manifest.group(&group.name).map(|found| &found.name), Some(&group.name));
        assert_eq!(manifest.group(&group.key()).map(|found| &found.name), Some(&group.name));
    }
    require_same_when_written_anew(&manifest, bytes);
    require_nested(&manifest);
    if let Ok(found) = Correlation::of(&manifest, &manifest) {
        assert!(found.spearman.is_none_or(|r| (r - 1.0).abs() < 1e-9), "{found:?}");
        assert!(found.kendall.is_none_or(|r| (r - 1.0).abs() < 1e-9), "{found:?}");
    }
    match diff_manifests(&manifest, &manifest) {
        Ok(found) => assert!(found.is_same(), "{found:?}"),
        Err(error) => require_message(&error),
    }
}

/// Parsed, written in another layout and parsed again, it is the same.
fn require_same_when_written_anew(manifest: &Manifest, bytes: &[u8]) {
    let text = json::without_mark(bytes);
    let Ok(value) = json::parse::<Value>(manifest.path(), text) else { return };
    let written = value.to_string().into_bytes();
    let again = Manifest::parse("m.json", written).expect("what was parsed is parsed again");
    let group = |manifest: &Manifest| format!("{:?}", manifest.groups());
    assert_eq!(group(manifest), group(&again));
    assert_eq!(manifest.published_ranking(), again.published_ranking());
    assert_eq!((manifest.layers(), manifest.version()), (again.layers(), again.version()));
    assert_eq!(format!("{:?}", manifest.formats()), format!("{:?}", again.formats()));
}

/// Each coverage point holds the one below it, and what it leaves out is the rest.
fn require_nested(manifest: &Manifest) {
    let ranking = match manifest.ranking(&RankingOptions::default()) {
        Ok(ranking) => ranking,
        Err(error) => return require_message(&error),
    };
    let mut before: Vec<String> = Vec::new();
    for percent in [0.5, 30.0, 60.0, 100.0] {
        let selection = ranking.lowest(percent).expect("a percentage");
        let selected: Vec<String> = selection.selected().map(|group| group.name.clone()).collect();
        assert_eq!(selected.len() + selection.dropped().count(), ranking.len());
        assert!(before.iter().all(|name| selected.contains(name)));
        before = selected;
    }
    assert_eq!(before.len(), ranking.len());
}
