//! Which schemes share what, and that sharing changes no tensor.

use qlua::dialect::DialectChoice;
use qlua::plan::ActivationsChoice;
use std::collections::BTreeMap;

use super::{alone, require_schemes, schemes, sweep, unique_bytes};
use crate::common::directory::{Directory, read_safetensors};
use crate::common::place::Place;
use crate::common::{ascending_family, layouts};
use qlua::job::{Family, FamilyOptions};
use qlua::write::{LinkChoice, Silent};

const POINTS: [f64; 10] = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0];

#[test]
fn nested_schemes_are_what_they_are_alone_and_take_what_was_foretold() {
    let place = Place::new();
    let family = ascending_family(place.options(), &POINTS);
    let planned = family.planned().unwrap();
    let foretold = planned.unique_bytes().unwrap();
    let outcome = family.run(&Silent).unwrap();
    require_schemes(&place.out, &alone(&place, &POINTS));
    assert_eq!((outcome.written_bytes, unique_bytes(&place.out)), (foretold, foretold));
    assert!(foretold < planned.copied_bytes().unwrap() / 4, "{foretold}");
}

#[test]
fn what_copies_take_is_foretold_too() {
    let place = Place::new();
    let family = ascending_family(FamilyOptions { link: LinkChoice::Copy, ..place.options() }, &[20.0, 60.0]);
    let planned = family.planned().unwrap();
    family.run(&Silent).unwrap();
    assert_eq!(planned.unique_bytes(), planned.copied_bytes());
    assert_eq!(planned.unique_bytes(), Some(unique_bytes(&place.out)));
}

#[test]
fn schemes_of_the_same_layers_are_said_to_be_the_same() {
    let place = Place::new();
    // Of 31 groups, one is the least there is.
    let notes = ascending_family(place.options(), &[1.0, 2.0, 50.0]).planned().unwrap().notes.clone();
    let same: Vec<&String> = notes.iter().filter(|note| note.contains("the same layers")).collect();
    assert_eq!(same, ["`top2` quantises the same layers as `top1`: their weights are the same"]);
}

/// Names and sizes to the last byte, in every dialect.
#[test]
fn files_are_what_was_foretold() {
    let place = Place::new();
    for (dialect, activations) in layouts() {
        let out = place.path().join(format!("{dialect}-{activations}"));
        let options = FamilyOptions {
            dialect: DialectChoice::Named(dialect),
            activations: ActivationsChoice::Named(activations),
            out: out.clone(),
            ..place.options()
        };
        let family = ascending_family(FamilyOptions { max_shard_size: 400_000, ..options }, &[20.0, 60.0]);
        let foretold = &family.planned().unwrap().schemes;
        for (written, foretold) in family.run(&Silent).unwrap().schemes.iter().zip(foretold) {
            let files = Directory(written.directory.clone()).weight_files();
            let found =
                files.iter().map(|f| (f.file_name().unwrap().to_str().unwrap(), f.metadata().unwrap()));
            let found: Vec<(String, u64)> = found.map(|(name, m)| (name.into(), m.len())).collect();
            let foretold: Vec<(String, u64)> =
                foretold.files.iter().map(|f| (f.file.clone(), f.bytes)).collect();
            assert_eq!(found, foretold);
        }
    }
}

/// Two buckets a point, and what is never quantised.
#[test]
fn a_nested_sweep_is_not_cut_into_dust() {
    let place = Place::new();
    sweep(place.options(), &POINTS);
    let mut files = BTreeMap::new();
    for directory in schemes(&place.out) {
        for file in Directory(directory).weight_files() {
            files.insert(blake3::hash(&std::fs::read(&file).unwrap()).to_string(), file);
        }
    }
    assert!(files.len() <= 2 * (POINTS.len() + 1), "{} files", files.len());
}

/// vLLM loads every tensor of a shard that it opens.
#[test]
fn no_shard_holds_a_tensor_that_its_scheme_does_not_use() {
    let place = Place::new();
    sweep(place.options(), &[25.0, 50.0, 75.0]);
    for directory in schemes(&place.out) {
        let directory = Directory(directory);
        let held: Vec<String> =
            directory.weight_files().iter().flat_map(|f| read_safetensors(f).into_keys()).collect();
        let index = directory.json("model.safetensors.index.json");
        let mut named: Vec<String> = index["weight_map"].as_object().unwrap().keys().cloned().collect();
        let mut held = held;
        held.sort();
        named.sort();
        assert_eq!(held, named);
    }
}

/// Each group in a pseudo-random set of the schemes, so that almost every group has a signature of its own.
#[test]
fn schemes_that_are_not_nested_are_what_they_are_alone_in_few_files() {
    let place = Place::new();
    let by_parity = |out: &str, names: &[usize]| {
        let out = place.path().join(out);
        let mut family = Family::open(FamilyOptions { out: out.clone(), ..place.options() }).unwrap();
        let groups = family.manifest().groups().to_vec();
        for &name in names {
            // SplitMix64's finaliser as a hash.
            let chosen = |index: usize| {
                let z = (index as u64 * 97 + name as u64 + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                ((z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40).is_multiple_of(3)
            };
            let keys: Vec<String> = groups
                .iter()
                .enumerate()
                .filter(|(index, group)| group.is_candidate() && chosen(*index))
                .map(|(_, group)| group.name.clone())
                .collect();
            let options = qlua::manifest::RankingOptions {
                include: Some(qlua::selector::Globs::new(keys.iter().map(String::as_str)).unwrap()),
                ..Default::default()
            };
            let selection = family.manifest().ranking(&options).unwrap().lowest(100.0).unwrap();
            family.add(&format!("scheme{name}"), selection).unwrap();
        }
        family.run(&Silent).unwrap();
        out
    };
    let names: Vec<usize> = (0..40).collect();
    let shared = by_parity("shared", &names);
    for name in [0, 17, 39] {
        let alone = by_parity(&format!("alone{name}"), &[name]);
        let tensors = |base: &std::path::Path| Directory(base.join(format!("scheme{name}"))).tensors();
        assert!(tensors(&shared) == tensors(&alone), "scheme{name}");
    }
    let most = schemes(&shared).into_iter().map(|d| Directory(d).weight_files().len()).max().unwrap();
    assert!(most <= 2 * (names.len() + 1) + 1, "{most} files in one scheme");
}

#[test]
fn large_buckets_are_split() {
    const LIMIT: u64 = 150_000;
    let place = Place::new();
    sweep(FamilyOptions { max_shard_size: LIMIT, ..place.options() }, &[30.0, 60.0]);
    require_schemes(&place.out, &alone(&place, &[30.0, 60.0]));
    for file in schemes(&place.out).into_iter().flat_map(|d| Directory(d).weight_files()) {
        let tensors = read_safetensors(&file);
        let bytes: usize = tensors.values().map(|t| t.bytes.len()).sum();
        assert!(bytes as u64 <= LIMIT || tensors.len() == 1, "{} holds {bytes} bytes", file.display());
    }
}

/// The provenance names every weight file with the hash that `b3sum` prints.
#[test]
fn recorded_hashes_are_those_of_the_files() {
    let place = Place::new();
    sweep(place.options(), &[50.0, 100.0]);
    for directory in schemes(&place.out) {
        let directory = Directory(directory);
        let provenance = directory.json("layer-sensitivity/provenance.json");
        let recorded: BTreeMap<String, String> = provenance["weights"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| (w["file"].as_str().unwrap().into(), w["blake3"].as_str().unwrap().into()))
            .collect();
        let found = directory.weight_files().into_iter().map(|f| {
            let hash = blake3::hash(&std::fs::read(&f).unwrap()).to_string();
            (f.file_name().unwrap().to_str().unwrap().to_string(), hash)
        });
        assert_eq!(recorded, found.collect());
        let source = &provenance["model"]["shards"][0];
        let path = place.model.0.join(source["file"].as_str().unwrap());
        assert_eq!(source["blake3"], blake3::hash(&std::fs::read(path).unwrap()).to_string());
    }
}
