//! What must hold of every input that comes from elsewhere, with the seeds of the fuzz targets and mutations of them. The
//! properties are those that `fuzz/` looks for inputs against by itself.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

#[path = "properties/mod.rs"]
mod properties;

/// What is done to a seed.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, &'static str),
    Exchange(Index, Index),
}

/// Pieces that parsers care about.
const PIECES: [&str; 16] = [
    "NaN",
    "-Infinity",
    "null",
    "\"",
    "\\u0000",
    "{}",
    "[]",
    "1e308",
    "18446744073709551615",
    "-1",
    "..",
    "\u{202e}",
    "*",
    "re:",
    "\n",
    ",",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (any::<Index>(), 1usize..40).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (any::<Index>(), 1usize..40).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        (any::<Index>(), prop::sample::select(&PIECES[..]))
            .prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Mutation::Exchange(one, other)),
    ]
}

fn mutated(seed: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for mutation in mutations {
        let index = |at: &Index| at.index(bytes.len() + 1).min(bytes.len());
        match mutation {
            Mutation::Flip(at, bits) => {
                let at = index(at);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
            }
            Mutation::Remove(at, count) => {
                let at = index(at);
                bytes.drain(at..bytes.len().min(at + count));
            }
            Mutation::Repeat(at, count) => {
                let at = index(at);
                let part = bytes[at..bytes.len().min(at + count)].to_vec();
                bytes.splice(at..at, part);
            }
            Mutation::Insert(at, piece) => {
                let at = index(at);
                bytes.splice(at..at, piece.bytes());
            }
            Mutation::Exchange(one, other) if !bytes.is_empty() => {
                let (one, other) = (one.index(bytes.len()), other.index(bytes.len()));
                bytes.swap(one, other);
            }
            Mutation::Exchange(..) => {}
        }
    }
    bytes
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/properties/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Checks every seed of `target`, some bytes that are none, and so many mutations.
fn hold(target: &str, check: fn(&[u8]), cases: u32) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has seeds");
    seeds.iter().for_each(|seed| check(seed));
    for bytes in [&b""[..], b"{", b"[]", b"{}", b"\xff\xfe\x00", b"null"] {
        check(bytes);
    }
    // `PROPTEST_CASES=100000` looks further, each time elsewhere.
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let cases = asked.unwrap_or(cases);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = match asked {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let inputs = (any::<Index>(), prop::collection::vec(mutation(), 1..6));
    let outcome = runner.run(&inputs, |(seed, mutations)| {
        check(&mutated(&seeds[seed.index(seeds.len())], &mutations));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{target}: {error}"));
}

macro_rules! properties {
    ($($name:ident: $target:ident, $cases:literal mutations;)+) => {
        $(#[test]
        fn $name() {
            hold(stringify!($target), properties::$target::check, $cases);
        })+

        #[test]
        fn every_fuzz_target_is_checked_here() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            if !folder.exists() {
                eprintln!("SKIPPED: the fuzz targets are no part of a package");
                return;
            }
            let mut targets: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
                .collect();
            targets.sort();
            let mut checked = [$(stringify!($target)),+];
            checked.sort();
            assert_eq!(targets, checked);
        }
    };
}

// As many as take a second; the fuzz targets have all the time in the world.
properties! {
    manifests_are_read_or_refused: manifest, 40 mutations;
    headers_are_read_or_refused: header, 500 mutations;
    indices_are_read_or_refused: index, 500 mutations;
    configurations_are_read_or_refused: config, 150 mutations;
    configurations_of_modelopt_are_read_or_refused: hf_quant_config, 50 mutations;
    coverage_manifests_are_read_or_refused: coverage, 30 mutations;
    records_are_read_or_refused: provenance, 30 mutations;
    declared_options_are_read_or_refused: options, 300 mutations;
    expressions_are_read_or_refused: expression, 150 mutations;
}
