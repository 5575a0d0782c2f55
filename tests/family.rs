//! Families on disk: shards that schemes share, runs that add to others, runs that are killed.

mod common;

#[path = "family/detach.rs"]
mod detach;
#[path = "family/extension.rs"]
mod extension;
#[path = "family/kills.rs"]
mod kills;
#[path = "family/links.rs"]
mod links;
#[path = "family/on_disk.rs"]
mod on_disk;
#[path = "family/shard_size.rs"]
mod shard_size;
#[path = "family/sharing.rs"]
mod sharing;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::directory::{Directory, Tensors};
use common::place::Place;
use common::{ascending_family, tree};
use qlua::job::{FamilyOptions, Outcome};
use qlua::verify::{Depth, verify};
use qlua::write::Silent;

/// Runs the sweep `percents`.
fn sweep(options: FamilyOptions, percents: &[f64]) -> Outcome {
    ascending_family(options, percents).run(&Silent).unwrap()
}

/// The tensors of each scheme when it is written alone, into a place of its own: what sharing must not change.
fn alone(place: &Place, percents: &[f64]) -> BTreeMap<String, Tensors> {
    let base = tempfile::tempdir().unwrap();
    let tensors = |percent: &f64| {
        let out = base.path().join(percent.to_string());
        let outcome = sweep(FamilyOptions { out, ..place.options() }, &[*percent]);
        let written = &outcome.schemes[0];
        (written.name.clone(), Directory(written.directory.clone()).tensors())
    };
    percents.iter().map(tensors).collect()
}

/// The scheme directories below `out`, which holds nothing else, sorted.
fn schemes(out: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(out).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    found
}

/// Fails unless every scheme below `out` holds the tensors of `expected` and passes all checks.
fn require_schemes(out: &Path, expected: &BTreeMap<String, Tensors>) {
    let found = schemes(out);
    let names: BTreeSet<String> =
        found.iter().map(|d| d.file_name().unwrap().to_str().unwrap().to_string()).collect();
    assert_eq!(names, expected.keys().cloned().collect());
    for directory in found {
        let name = directory.file_name().unwrap().to_str().unwrap();
        assert_eq!(verify(&directory, Depth::Full).unwrap(), [], "{name}");
        assert!(Directory(directory.clone()).tensors() == expected[name], "{name} has other tensors");
    }
}

/// Bytes of all weight files below `out`, each file counted once however many names it has.
fn unique_bytes(out: &Path) -> u64 {
    let mut files = BTreeMap::new();
    for directory in schemes(out) {
        for file in Directory(directory).weight_files() {
            let metadata = file.metadata().unwrap();
            files.insert((metadata.dev(), metadata.ino()), metadata.len());
        }
    }
    files.values().sum()
}

/// Every file below `out` with the hash of its content.
fn hashes(out: &Path) -> BTreeMap<String, String> {
    tree(out).into_iter().map(|(name, content)| (name, blake3::hash(&content).to_string())).collect()
}
