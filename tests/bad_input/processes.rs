//! What needs a process of its own: a full disk, an interruption, a run that is killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::place::{Place, export, require_message, require_sentence, snapshot};
use crate::common::{ascending_family, options};
use qlua::job::FamilyOptions;
use qlua::write::{Progress, Silent};

const PLACE: &str = "QLUA_TEST_PLACE";

/// Runs the ignored test `name` of this binary on `place`, inside `wrapper`.
fn child(name: &str, place: &Path, wrapper: &[&str]) -> Output {
    let program = std::env::current_exe().unwrap();
    let mut words = wrapper.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    words.push(program.display().to_string());
    let name = format!("processes::{name}");
    Command::new(&words[0])
        .args(&words[1..])
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .env(PLACE, place)
        .output()
        .unwrap()
}

fn require_success(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// In a child: its place and options; nothing when it was not started by a test of this file.
fn here() -> Option<(PathBuf, FamilyOptions)> {
    let place = PathBuf::from(std::env::var_os(PLACE)?);
    let options = options(&place.join("model"), &place.join("manifest.json"), &place.join("out"));
    Some((place, options))
}

/// Does something once, when the first bytes of a scheme are written.
struct OnFirstWrite<F: Fn() + Sync>(F);

impl<F: Fn() + Sync> Progress for OnFirstWrite<F> {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {
        (self.0)();
    }
    fn end(&self) {}
}

#[test]
fn an_interruption_leaves_no_half_scheme() {
    let place = Place::new();
    require_success(&child("interrupted", place.path(), &[]));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn interrupted() {
    let Some((place, options)) = here() else { return };
    let out = place.join("new/out");
    let before = snapshot(&place.join("model"));
    let request = OnFirstWrite(qlua::interrupt::request);
    let error = export(FamilyOptions { out: out.clone(), ..options }, &[50.0], &request).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), ("interrupted", "interrupted"));
    assert_eq!(snapshot(&place.join("model")), before);
    // A shard may have been finished by then, which the next run takes over; without one, nothing is left at all.
    let left: Vec<_> = fs::read_dir(&out).into_iter().flatten().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == ".qlua.partial"), "{left:?}");
    assert_eq!(place.join("new").exists(), !left.is_empty());
}

/// Asks to stop once the first shard is on record. One thread makes shards of one block each, so when the second block is
/// made the first shard is complete, and another thread puts it on record: that is waited for, however long it takes.
struct AfterFirstShard {
    journal: PathBuf,
    blocks: AtomicUsize,
}

impl Progress for AfterFirstShard {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {
        if self.blocks.fetch_add(1, Ordering::Relaxed) == 0 {
            return;
        }
        while fs::read_to_string(&self.journal).unwrap_or_default().lines().count() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        qlua::interrupt::request();
    }
    fn end(&self) {}
}

#[test]
fn an_interruption_keeps_finished_shards_for_the_next_run_and_no_half_scheme() {
    let place = Place::new();
    require_success(&child("interrupted_later", place.path(), &[]));
    let options = FamilyOptions { max_shard_size: 50_000, ..place.options() };
    let outcome = ascending_family(options, &[20.0, 50.0]).run(&Silent).unwrap();
    assert!(outcome.resumed_bytes > 0, "{outcome:?}");
    let mut names: Vec<_> = fs::read_dir(&place.out).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["top20", "top50"]);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn interrupted_later() {
    let Some((place, options)) = here() else { return };
    let out = options.out.clone();
    let source = snapshot(&place.join("model"));
    let journal = out.join(".qlua.partial/journal.jsonl");
    let later = AfterFirstShard { journal, blocks: AtomicUsize::new(0) };
    let options = FamilyOptions { max_shard_size: 50_000, threads: 1, ..options };
    let error = export(options, &[20.0, 50.0], &later).unwrap_err();
    assert_eq!(error.kind(), "interrupted");
    let names: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [".qlua.partial"]);
    assert_eq!(snapshot(&place.join("model")), source);
}

/// A file system of its own in a mount namespace of its own: it goes away with the child.
fn on_small_disk(name: &str, megabytes: u32, place: &Path) {
    on_disk(name, megabytes, "true", place);
}

/// The same after the command `then`, which has the file system at `$D`.
fn on_disk(name: &str, megabytes: u32, then: &str, place: &Path) {
    let script = format!(
        "D='{}' && mount -t tmpfs -o size={megabytes}m none \"$D\" && mkdir \"$D/disk\" && {then} && exec \"$@\"",
        place.join("small").display()
    );
    fs::create_dir(place.join("small")).unwrap();
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let probe =
        Command::new(unshare[0]).args(&unshare[1..]).args(["sh", "-c", &script, "sh", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no small file system can be mounted here, and this test needs one");
        return;
    }
    require_success(&child(name, place, &[&unshare[..], &["sh", "-c", &script, "sh"]].concat()));
}

#[test]
fn a_disk_that_is_too_small_is_noticed_before_anything_is_written() {
    let place = Place::new();
    on_small_disk("small_disk", 1, place.path());
}

#[test]
#[ignore = "run by another test in a file system of its own"]
fn small_disk() {
    let Some((place, options)) = here() else { return };
    let disk = place.join("small/disk");
    let options = FamilyOptions { out: disk.join("out"), ..options };
    let foreseen = ascending_family(options.clone(), &[50.0]).check().unwrap_err();
    let error = export(options, &[50.0], &Silent).unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert_eq!(foreseen.to_string(), error.to_string(), "a dry run says the same");
    require_message(
        &error,
        &["the output needs", "MB", &disk.display().to_string(), "free"],
        "free some space",
    );
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
}

#[test]
fn room_is_looked_for_beside_finished_schemes_too() {
    let place = Place::new();
    on_small_disk("filled_disk", 5, place.path());
}

#[test]
#[ignore = "run by another test in a file system of its own"]
fn filled_disk() {
    let Some((place, options)) = here() else { return };
    let options = FamilyOptions { out: place.join("small/disk/out"), ..options };
    ascending_family(options.clone(), &[10.0]).run(&Silent).unwrap();
    let before = snapshot(&options.out);
    let family = ascending_family(options.clone(), &[10.0, 50.0, 100.0]);
    let error = family.check().err().unwrap();
    require_message(&error, &["the output needs", "free"], "free some space");
    assert_eq!(family.run(&Silent).unwrap_err().to_string(), error.to_string());
    assert_eq!(snapshot(&options.out), before);
    // What the finished scheme has needs no room.
    let family = ascending_family(options, &[10.0, 12.0]);
    family.check().unwrap();
    family.run(&Silent).unwrap();
}

/// The superuser may remove what others may not, so another user has to try.
#[test]
fn schemes_of_another_user_that_cannot_be_replaced_are_found_by_the_dry_run() {
    let place = Place::new();
    export(place.options(), &[50.0], &Silent).unwrap();
    let open = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(place.path(), 0o755);
    open(&place.out, 0o777);
    let other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut probe = Command::new(other[0]);
    let program = std::env::current_exe().unwrap();
    let may = probe.args(&other[1..]).arg(&program).arg("--list").output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no test can be run as another user here");
        return;
    }
    let before = snapshot(&place.out);
    require_success(&child("as_another_user", place.path(), &other));
    assert_eq!(snapshot(&place.out), before);
    // Where the old directory itself may be written to, what lies below may not.
    open(&place.out.join("top50"), 0o777);
    require_success(&child("as_another_user", place.path(), &other));
    // Nor is it theirs where only owners remove.
    open(&place.out, 0o1777);
    open(&place.out.join("top50/layer-sensitivity"), 0o777);
    require_success(&child("as_another_user", place.path(), &other));
}

#[test]
#[ignore = "run by another test as another user"]
fn as_another_user() {
    let Some((_, options)) = here() else { return };
    let family = ascending_family(FamilyOptions { overwrite: true, ..options }, &[50.0]);
    let error = family.check().err().unwrap();
    require_message(&error, &["top50` cannot be replaced: this user may not remove"], "have its owner");
    assert_eq!(family.run(&Silent).unwrap_err().to_string(), error.to_string());
}

#[test]
fn a_read_only_file_system_is_found_by_the_dry_run_and_by_the_run() {
    let place = Place::new();
    on_disk("read_only_disk", 12, "mount -o remount,ro \"$D\"", place.path());
}

#[test]
#[ignore = "run by another test in a file system of its own"]
fn read_only_disk() {
    let Some((place, options)) = here() else { return };
    let disk = place.join("small/disk");
    let options = FamilyOptions { out: disk.join("out"), ..options };
    let foreseen = ascending_family(options.clone(), &[50.0]).check().unwrap_err();
    let error = export(options, &[50.0], &Silent).unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert_eq!(foreseen.to_string(), error.to_string(), "a dry run says the same");
    require_message(
        &error,
        &["nothing can be written to `", &disk.display().to_string(), "Read-only file system"],
        "another --out",
    );
}

#[test]
fn a_disk_that_fills_up_while_writing_is_named_and_nothing_is_left() {
    let place = Place::new();
    on_small_disk("filling_disk", 12, place.path());
}

#[test]
#[ignore = "run by another test in a file system of its own"]
fn filling_disk() {
    let Some((place, options)) = here() else { return };
    let disk = place.join("small/disk");
    let source = snapshot(&place.join("model"));
    let somebody = disk.join("somebody-elses");
    // As if another process took the rest of the disk while the first bytes were written.
    let fill = OnFirstWrite(|| {
        let _ = fs::write(&somebody, vec![1; 12 << 20]);
    });
    let options = FamilyOptions { out: disk.join("new/out"), max_shard_size: 500_000, ..options };
    let error = export(options, &[50.0], &fill).unwrap_err();
    assert_eq!(error.kind(), "io");
    require_sentence(&error);
    require_message(&error, &["cannot write `", ".safetensors`", "No space left"], "nothing was left behind");
    let names: Vec<_> = fs::read_dir(&disk).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["somebody-elses"]);
    assert_eq!(snapshot(&place.join("model")), source);
}
