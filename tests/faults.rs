//! Disks that fail: each call that writes fails once, as on a full or a broken disk. The run ends with a sentence or does
//! without, nothing that is half written gets its name, and the next run makes the same bytes.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::runs::{Runs, SMALL, rounds, stderr};

const POINTS: [&str; 2] = ["50", "80"];
/// A device without space and one that is broken.
const ERRORS: [i32; 2] = [libc::ENOSPC, libc::EIO];

/// The library that makes calls fail, or nothing, said loudly, where there is no C compiler.
fn library(directory: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/fail.c");
    let made = directory.join("fail.so");
    let made_by = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&made)
        .arg(source)
        .arg("-ldl")
        .status();
    if made_by.is_ok_and(|status| status.success()) {
        return Some(made);
    }
    eprintln!("SKIPPED: there is no C compiler, and this test makes a library that fails");
    None
}

/// A run in which the calls from the `at`-th on fail, `calls` of them.
fn run(runs: &Runs, library: &Path, at: u64, calls: u64, error: i32) -> Output {
    let command = &mut runs.command(&[&["policy.lua"], &POINTS[..]].concat());
    command
        .env("LD_PRELOAD", library)
        .env("FAIL_BELOW", runs.out())
        .env("FAIL_ON", runs.path().join("calls"));
    let numbers = [("FAIL_AT", at), ("FAIL_FOR", calls), ("FAIL_WITH", error as u64)];
    command.envs(numbers.map(|(name, number)| (name, number.to_string())));
    command.output().unwrap()
}

/// What of the published directories differs from `expected`: each is whole or not there.
fn half_published(runs: &Runs, expected: &BTreeMap<String, String>) -> Vec<String> {
    let found = if runs.out().exists() { runs.hashes() } else { BTreeMap::new() };
    let published = POINTS.iter().filter(|point| runs.out().join(format!("top{point}")).exists());
    let of = |all: &BTreeMap<String, String>, prefix: &str| -> BTreeMap<String, String> {
        let own = all.iter().filter(|(name, _)| name.starts_with(prefix));
        own.map(|(name, hash)| (name.clone(), hash.clone())).collect()
    };
    let differs = |point: &&str| {
        let prefix = format!("top{point}/");
        of(&found, &prefix) != of(expected, &prefix)
    };
    published.filter(|point| differs(point)).map(|point| format!("top{point}")).collect()
}

/// Lets at most `most` of the calls fail, spread over the whole run, with each error, once or for good. Gives how many runs
/// there were, how many of them ended with an error, and how many ended wrong, with what was wrong printed.
fn break_disks(most: u64) -> Option<(u32, u32, u32)> {
    let runs = Runs::new(&SMALL);
    let library = library(runs.path())?;
    let undisturbed = run(&runs, &library, 0, 0, 0);
    assert!(undisturbed.status.success(), "{}", stderr(&undisturbed));
    let expected = runs.hashes();
    let calls: u64 = fs::read_to_string(runs.path().join("calls")).unwrap().trim().parse().unwrap();
    assert!(calls > 50, "only {calls} calls write, so the library is not asked");
    let (mut tried, mut failed, mut wrong) = (0, 0, 0);
    for step in 0..most.min(calls) {
        let at = 1 + step * calls / most.min(calls);
        let (error, for_good) = (ERRORS[step as usize % 2], step % 4 < 2);
        runs.reset();
        let output = run(&runs, &library, at, if for_good { u64::MAX / 4 } else { 1 }, error);
        let said = stderr(&output);
        let mut problems = half_published(&runs, &expected);
        if output.status.success() && runs.hashes() != expected {
            problems.push("ended well with other bytes".into());
        }
        let is_sentence = said.lines().filter(|line| line.starts_with("qlua: error: ")).count() == 1;
        if !output.status.success() && (output.status.code() != Some(1) || !is_sentence) {
            problems.push(format!("ended with {}", output.status));
        }
        let again = run(&runs, &library, 0, 0, 0);
        if !again.status.success() || runs.hashes() != expected || !runs.hidden().is_empty() {
            problems.push(format!("the next run: {} {:?} {}", again.status, runs.hidden(), stderr(&again)));
        }
        tried += 1;
        failed += u32::from(!output.status.success());
        if !problems.is_empty() {
            wrong += 1;
            println!("call {at} of {calls}, error {error}, for good: {for_good}: {problems:?}\n{said}");
        }
    }
    Some((tried, failed, wrong))
}

#[test]
fn a_disk_that_fails_at_any_call_leaves_nothing_half_written() {
    let Some((tried, failed, wrong)) = break_disks(40) else { return };
    assert_eq!(wrong, 0);
    assert!(failed > tried / 2, "{failed} of {tried}");
}

#[test]
#[ignore = "long: QLUA_FAULTS calls that fail, 400 unless it is set"]
fn every_call_that_writes_fails_once() {
    let Some((tried, failed, wrong)) = break_disks(rounds("QLUA_FAULTS", 400).into()) else { return };
    println!(
        "faults: {tried} failing calls, {wrong} wrong ({failed} runs ended with an error, the others did without)"
    );
    assert_eq!(wrong, 0);
}
