//! What holds for all that a sandbox does, and not for the script's own code alone: real time, and bytes that are written.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::{Place, SLACK, for_all, judge};

/// A checkpoint of one tensor that takes hours to read and no place on the disk.
fn make_huge(directory: &Path) {
    fs::create_dir(directory).unwrap();
    fs::write(directory.join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    let bytes = 1u64 << 40;
    let header = format!(
        "{{\"a.weight\": {{\"dtype\": \"BF16\", \"shape\": [{}, 1024], \"data_offsets\": [0, {bytes}]}}}}",
        bytes / 2048
    );
    let mut file = File::create(directory.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + bytes).unwrap();
}

#[test]
fn a_single_call_without_end_is_ended_too() {
    let place = Place::new();
    for name in ["read/huge", "read/twin"] {
        make_huge(&place.path().join(name));
    }
    let codes = [
        ("verify", "qlua.verify.directory('read/huge')"),
        ("protected calls", "while true do pcall(qlua.verify.directory, 'read/huge') end"),
        ("diff", "qlua.checkpoint.diff('read/huge', 'read/twin')"),
        ("weights", "qlua.manifest.from_weights(qlua.checkpoint.open('read/huge'), 'write/m.json')"),
        ("a loop", "while true do end"),
        ("a pattern", "('a'):rep(1e5):find('.-.-.-.-b')"),
    ];
    for_all(&codes, |(name, code)| {
        let begun = Instant::now();
        let limits = ["--seconds", "1000", "--total-seconds", "1", "--write-limit", "1TiB"];
        let roots = ["--sandbox", "--read", "read", "--write", "write"];
        let output = place.run(&[&roots[..], &limits, &["-e", code]].concat());
        judge(name, &output)?;
        let err = String::from_utf8_lossy(&output.stderr);
        let is_said =
            err.contains("used up the 1 s that all of it may take") && err.contains("--total-seconds N");
        match output.status.code() == Some(1) && is_said && begun.elapsed() < SLACK {
            true => Ok(()),
            false => Err(format!("{name}: {:?} after {:?}\n{err}", output.status, begun.elapsed())),
        }
    });
}

/// The sum of all files below `directory`, and their names.
fn written(directory: &Path) -> (u64, Vec<String>) {
    let files = fs::read_dir(directory).unwrap().flatten();
    let files: Vec<_> = files.filter(|file| file.file_type().unwrap().is_file()).collect();
    let names = files.iter().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    (files.iter().map(|file| file.metadata().unwrap().len()).sum(), names)
}

#[test]
fn a_script_writes_no_more_than_it_may() {
    let codes = [
        ("new files", "for i = 1, 1e9 do qlua.fs.write('write/f' .. i, ('x'):rep(1 << 20)) end"),
        ("one file", "while true do qlua.fs.write('write/f', ('x'):rep(1 << 20), { overwrite = true }) end"),
        (
            "protected calls",
            "local i = 0 while true do i = i + 1 pcall(qlua.json.write, 'write/f' .. i, { ('x'):rep(1 << 20) }) end",
        ),
        ("checkpoints", "for i = 1, 1e9 do qlua.checkpoint.demo('write/demo' .. i) end"),
        ("standard output", "while true do print(('x'):rep(1 << 20)) end"),
    ];
    for_all(&codes, |(name, code)| {
        let place = Place::new();
        for link in ["write/up", "write/link", "write/dangling"] {
            fs::remove_file(place.path().join(link)).unwrap();
        }
        let limits =
            ["--sandbox", "--write", "write", "--seconds", "100", "--write-limit", "16MiB", "-e", code];
        let mut output = place.run(&limits);
        let flood = output.stdout.len();
        output.stdout.clear();
        judge(name, &output)?;
        let err = String::from_utf8_lossy(&output.stderr);
        let is_said = err.contains("wrote more than the 16 MiB that it may write")
            && err.contains("--write-limit SIZE");
        let (bytes, names) = written(&place.path().join("write"));
        let is_clean = !names.iter().any(|name| name.starts_with(".qlua-"));
        // It is looked at every 20 milliseconds.
        let is_held = bytes < 256 << 20 && flood < 1 << 30;
        match output.status.code() == Some(1) && is_said && is_held && is_clean {
            true => Ok(()),
            false => {
                Err(format!("{name}: {:?}, {bytes} bytes, {flood} said, {names:?}\n{err}", output.status))
            }
        }
    });
    // What it may write it writes, and by default that is half of what is free.
    let place = Place::new();
    let write = "qlua.fs.write('write/f', ('x'):rep(1 << 20))";
    for limits in [&["--write-limit", "3MiB"][..], &[]] {
        let output = place.run(&[&["--sandbox", "--write", "write"][..], limits, &["-e", write]].concat());
        assert!(output.status.success(), "{output:?}");
        fs::remove_file(place.path().join("write/f")).unwrap();
    }
}
