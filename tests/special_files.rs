//! Pipes, sockets, devices and directories under the names of files, and files that are far too large: one sentence, at once.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::directory::INDEX;
use common::place::Place;

/// Far more than anything here takes, and far less than for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs so far.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// Runs qlua, which must end by itself.
fn qlua(place: &Place, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
    command.args(words).current_dir(place.path()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("{words:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("special files: {} runs, 0 hung", RUNS.fetch_add(1, Ordering::Relaxed) + 1);
    child.wait_with_output().unwrap()
}

fn policy<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let words =
        ["all_layers_topx", "--model", "model", "--manifest", "manifest.json", "--top", "50", "--out", "out"];
    [&words[..], more].concat()
}

/// Fails unless the last run ended with `code` and one sentence that holds `parts`.
fn require(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("qlua: error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    for part in parts {
        assert!(errors[0].contains(part), "`{part}` is not in: {}", errors[0]);
    }
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Puts something else than a file at `path`, and says what it is called.
fn put(kind: &str, path: &Path) -> Option<std::os::unix::net::UnixListener> {
    let _ = fs::remove_file(path);
    match kind {
        "a pipe" => pipe(path),
        "a directory" => fs::create_dir(path).unwrap(),
        "a device" => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        _ => return Some(std::os::unix::net::UnixListener::bind(path).unwrap()),
    }
    None
}

#[test]
fn what_is_no_regular_file_is_named_before_it_blocks_or_fills_the_memory() {
    for kind in ["a pipe", "a socket", "a device", "a directory"] {
        let place = Place::new();
        let shard = place.model.weight_files()[0].clone();
        let files: [(PathBuf, &str); 6] = [
            (place.model.file("config.json"), "config.json"),
            (place.model.file(INDEX), INDEX),
            (shard.clone(), shard.file_name().unwrap().to_str().unwrap()),
            (place.model.file("tokenizer.json"), "tokenizer.json"),
            (place.manifest.clone(), "manifest.json"),
            (place.path().join("amax.json"), "amax.json"),
        ];
        for (path, name) in files {
            // A directory among the files beside the weights is a folder that comes along.
            if (kind, name) == ("a directory", "tokenizer.json") {
                continue;
            }
            let aside = place.path().join("aside");
            let was_there = path.exists();
            if was_there {
                fs::rename(&path, &aside).unwrap();
            }
            let _socket = put(kind, &path);
            let is_option = ["manifest.json", "amax.json"].contains(&name);
            let more: &[&str] = if name == "amax.json" { &["--amax", "amax.json"] } else { &[] };
            let expected: &[&str] = if is_option { &[name, "a file that is there"] } else { &[name, kind] };
            for dry in [&["--dry-run"][..], &[]] {
                require(
                    &qlua(&place, &policy(&[more, dry].concat())),
                    if is_option { 2 } else { 1 },
                    expected,
                );
                assert!(!place.out.exists(), "{kind} {name}");
            }
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            if was_there {
                fs::rename(&aside, &path).unwrap();
            }
        }
        let dry = qlua(&place, &policy(&["--dry-run"]));
        assert!(dry.status.success(), "{}", String::from_utf8_lossy(&dry.stderr));
    }
}

#[test]
fn scripts_modules_and_what_scripts_read_are_regular_files_too() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    pipe(&at("pipe.lua"));
    pipe(&at("pipe"));
    require(&qlua(&place, &["pipe.lua"]), 1, &["`pipe.lua` is a pipe, not a regular file"]);
    require(&qlua(&place, &["pipe"]), 2, &["there is no script or command `pipe`", "a pipe"]);
    fs::write(at("main.lua"), "require 'pipe'").unwrap();
    require(&qlua(&place, &["main.lua"]), 1, &["pipe.lua` is a pipe, not a regular file"]);
    for (code, what) in [
        ("qlua.fs.read('pipe')", "is a pipe"),
        ("qlua.json.read('pipe')", "is a pipe"),
        ("qlua.fs.read('/dev/zero')", "is a device"),
        ("qlua.manifest.open('pipe')", "is a pipe"),
        (
            "qlua.fs.write('pipe', 'x', { overwrite = true })",
            "is a pipe, and only regular files are replaced",
        ),
        ("qlua.fs.write('/dev/null', 'x', { overwrite = true })", "is a device, and only regular files"),
    ] {
        require(&qlua(&place, &["-e", code]), 1, &[what]);
    }
    require(&qlua(&place, &["inspect", "pipe"]), 1, &["pipe"]);
}

#[test]
fn what_stands_in_the_place_of_a_checkpoint_is_called_what_it_is() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    pipe(&at("pipe"));
    let _socket = put("a socket", &at("socket"));
    std::os::unix::fs::symlink("circle", at("circle")).unwrap();
    for (path, what) in [
        ("pipe", "`pipe` is a pipe, not a directory"),
        ("socket", "`socket` is a socket, not a directory"),
        ("/dev/zero", "`/dev/zero` is a device, not a directory"),
        ("circle", "`circle` is a link in a circle"),
        ("manifest.json", "`manifest.json` is a file, not a directory"),
    ] {
        require(&qlua(&place, &["verify", "model", "--base", path]), 1, &[what]);
        require(&qlua(&place, &["detach", path]), 1, &[what]);
        let looked = qlua(&place, &["verify", path]);
        let text = String::from_utf8_lossy(&looked.stdout);
        assert!(looked.status.code() == Some(1) && text.contains(what), "{text}");
    }
}

#[test]
fn what_is_there_already_is_not_read_when_it_is_no_file() {
    let place = Place::new();
    assert!(qlua(&place, &policy(&[])).status.success());
    pipe(&place.out.join("report.html"));
    require(&qlua(&place, &policy(&["--overwrite"])), 1, &["report.html` is a pipe, not a regular file"]);
}

#[test]
fn files_that_are_far_too_large_are_not_read() {
    let place = Place::new();
    let config = place.model.file("config.json");
    for (path, name, limit) in [
        (config.clone(), "config.json", "the most that a configuration may have"),
        (place.model.file(INDEX), INDEX, "the most that an index may have"),
        (place.manifest.clone(), "manifest.json", "the most that a manifest or amax file may have"),
    ] {
        let aside = place.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        // Sparse: it takes nothing of the disk.
        fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
        require(&qlua(&place, &policy(&["--dry-run"])), 1, &[name, "is larger than", limit]);
        fs::rename(&aside, &path).unwrap();
    }
    fs::File::create(place.path().join("large.lua")).unwrap().set_len(1 << 42).unwrap();
    require(&qlua(&place, &["large.lua"]), 1, &["large.lua", "is larger than"]);
}

/// What a hundred expressions of a stranger's would take without a bound is 0.9 GB.
#[test]
fn the_expressions_of_a_configuration_are_bounded_together() {
    let place = Place::new();
    assert!(qlua(&place, &policy(&["--dialect", "compressed-tensors"])).status.success());
    let scheme = fs::read_dir(&place.out).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let directory = common::directory::Directory(scheme);
    let expressions: Vec<String> = (0..100).map(|number| format!(r"re:\w{{150}}{number}")).collect();
    directory.edit_json("config.json", |config| {
        let ignore = config["quantization_config"]["ignore"].as_array_mut().unwrap();
        ignore.extend(expressions.into_iter().map(Into::into));
    });
    let words = ["-v", env!("CARGO_BIN_EXE_qlua"), "verify", "--headers", directory.0.to_str().unwrap()];
    let Ok(output) = Command::new("/usr/bin/time").args(words).output() else {
        eprintln!("SKIPPED: there is no /usr/bin/time, and this test needs it");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    let resident =
        text.lines().find_map(|line| line.trim().strip_prefix("Maximum resident set size (kbytes): "));
    let resident: u64 = resident.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!(resident < 250_000, "{resident} kB");
    assert!(String::from_utf8_lossy(&output.stdout).contains("not_checked"), "{output:?}");
}
