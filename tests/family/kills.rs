//! Runs that are killed at any moment, and what the next run makes of it.

use qlua::dialect::{DialectChoice, DialectId};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{hashes, sweep};
use crate::common::place::{Place, require_message};
use crate::common::{ascending_family, options};
use qlua::job::FamilyOptions;
use qlua::write::{Progress, Silent};

const PLACE: &str = "QLUA_TEST_PLACE";
const KILLS: usize = 200;
const POINTS: [f64; 3] = [20.0, 50.0, 80.0];

/// Many small files, so that a kill finds some finished and some not.
fn many_files(options: FamilyOptions) -> FamilyOptions {
    FamilyOptions { max_shard_size: 100_000, ..options }
}

fn start(name: &str, place: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("kills::{name}"), "--ignored", "--nocapture"])
        .env(PLACE, place)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// In a child: its place and options; nothing when it was not started by a test of this file.
fn here() -> Option<FamilyOptions> {
    let place = PathBuf::from(std::env::var_os(PLACE)?);
    Some(many_files(options(&place.join("model"), &place.join("manifest.json"), &place.join("out"))))
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn undisturbed() {
    let Some(options) = here() else { return };
    sweep(options, &POINTS);
}

/// What came of runs that were killed: how many before their end, and how many were resumed.
#[derive(Default)]
struct Kills {
    killed: u32,
    resumed: u32,
}

/// Kills a run at each of `shares` of the time that it takes undisturbed, and lets the next one go on with what is there.
fn kill_at(shares: &[f64]) -> Kills {
    let place = Place::new();
    let begun = Instant::now();
    assert!(start("undisturbed", place.path()).wait().unwrap().success());
    let duration = begun.elapsed();
    let expected = hashes(&place.out);
    let mut kills = Kills::default();
    for share in shares {
        fs::remove_dir_all(&place.out).unwrap();
        let mut child = start("undisturbed", place.path());
        std::thread::sleep(duration.mul_f64(1.1 * share));
        child.kill().unwrap();
        kills.killed += u32::from(!child.wait().unwrap().success());
        let outcome = sweep(many_files(place.options()), &POINTS);
        kills.resumed += u32::from(outcome.resumed_bytes > 0 || outcome.reused_bytes > 0);
        assert!(hashes(&place.out) == expected, "killed at {share} of the run: {outcome:?}");
    }
    kills
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_resumed_to_the_same_bytes() {
    // A linear congruential generator: moments that are spread over the whole run, the same every time.
    let mut state = 7u64;
    let shares: [f64; KILLS] = std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    });
    let kills: Vec<Kills> = std::thread::scope(|scope| {
        // Two halves at once: most of the time, one waits for its disk or its child.
        let halves: Vec<_> = shares.chunks(KILLS / 2).map(|half| scope.spawn(|| kill_at(half))).collect();
        halves.into_iter().map(|half| half.join().expect("no round fails")).collect()
    });
    let killed: u32 = kills.iter().map(|half| half.killed).sum();
    let resumed: u32 = kills.iter().map(|half| half.resumed).sum();
    println!("{KILLS} kills, {killed} before the end, {resumed} runs went on with what was there");
    // How many depends on the machine.
    assert!(killed > 0 && resumed > 0, "{killed} {resumed}");
}

/// Ends the process once some shards are finished.
struct AbortLate(std::sync::atomic::AtomicU32);

impl Progress for AbortLate {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {
        if self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 20 {
            // The disk gets its share before the end.
            std::thread::sleep(Duration::from_millis(300));
            std::process::abort();
        }
    }
    fn end(&self) {}
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn aborted() {
    let Some(options) = here() else { return };
    let _ = ascending_family(options, &POINTS).run(&AbortLate(0.into()));
}

/// The name of the shards that the workplace below `out` holds, whole or not.
fn left(out: &Path) -> usize {
    let entries = fs::read_dir(out.join(".qlua.partial")).into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().ends_with(".safetensors")).count()
}

#[test]
fn finished_shards_are_not_written_again_and_damaged_ones_are() {
    let place = Place::new();
    assert!(!start("aborted", place.path()).wait().unwrap().success());
    assert!(left(&place.out) > 5);
    let options = many_files(place.options());
    let total = ascending_family(options.clone(), &POINTS).planned().unwrap().unique_bytes().unwrap();

    let journal = fs::read_to_string(place.out.join(".qlua.partial/journal.jsonl")).unwrap();
    let finished: Vec<serde_json::Value> =
        journal.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(finished.len() > 3, "{journal}");
    let key = finished[0]["key"].as_str().unwrap();
    let damaged = place.out.join(format!(".qlua.partial/{key}.safetensors"));
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let whole: u64 = finished[1..].iter().map(|f| f["bytes"].as_u64().unwrap()).sum();

    let outcome = sweep(options, &POINTS);
    assert_eq!((outcome.resumed_bytes, outcome.written_bytes), (whole, total - whole));
    let elsewhere = place.path().join("elsewhere");
    sweep(FamilyOptions { out: elsewhere.clone(), ..many_files(place.options()) }, &POINTS);
    assert_eq!(hashes(&place.out), hashes(&elsewhere));
}

#[test]
fn what_a_run_on_other_inputs_left_is_refused_and_never_mixed_in() {
    let place = Place::new();
    assert!(!start("aborted", place.path()).wait().unwrap().success());
    let before = left(&place.out);
    let other = || FamilyOptions {
        dialect: DialectChoice::Named(DialectId::ModelOpt),
        ..many_files(place.options())
    };
    let error = ascending_family(other(), &POINTS).run(&Silent).unwrap_err();
    assert_eq!(error.kind(), "exists");
    require_message(&error, &[".qlua.partial", "left by a run on other inputs"], "--overwrite");
    assert_eq!(left(&place.out), before, "what was left stays");
    let outcome = sweep(FamilyOptions { overwrite: true, ..other() }, &POINTS);
    assert_eq!(outcome.resumed_bytes, 0);
    assert_eq!(left(&place.out), 0);
}
