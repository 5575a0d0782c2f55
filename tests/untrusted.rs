//! Text of strangers (names in manifests and files, messages of scripts) where it is shown, and files of theirs where names of
//! qlua's own are meant.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::place::Place;
use serde_json::{Value, json};

/// Clears a screen, reorders what follows, ends a cell and a line, and is markup.
const HOSTILE: &str = "evil\u{1b}[2J\u{202e}\u{9b}31m|`x`<b>\n| forged | 1 |";

fn command(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
    command.args(words).current_dir(directory).stdin(Stdio::null());
    command
}

fn qlua(directory: &Path, words: &[&str]) -> Output {
    command(directory, words).output().unwrap()
}

/// Everything that qlua writes to a terminal that is its standard output and standard error.
fn on_terminal(directory: &Path, words: &[&str]) -> String {
    let (mut terminal, mut inner) = (0, 0);
    // SAFETY: both places are there, and nothing else is asked for; the descriptors are owned from here on.
    let (mut terminal, inner) = unsafe {
        let null = std::ptr::null_mut();
        assert_eq!(libc::openpty(&mut terminal, &mut inner, null, null.cast(), null.cast()), 0);
        (File::from_raw_fd(terminal), File::from_raw_fd(inner))
    };
    let mut command = command(directory, words);
    command.stdout(inner.try_clone().unwrap()).stderr(inner);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    // Linux says so when the last process with the other end is gone.
    let _ = terminal.read_to_end(&mut bytes);
    child.wait().unwrap();
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    // Two words of qlua's own have a colour there, and nothing else.
    let own =
        |text: String, word: &str, colour: u8| text.replace(&format!("\x1b[{colour}m{word}\x1b[0m"), word);
    own(own(text, "qlua: error:", 31), "warning:", 33)
}

/// Fails when anything in `text` would act on a terminal.
fn require_harmless(text: &str) {
    let acting: Vec<char> = text
        .chars()
        .filter(|c| c.is_control() && *c != '\n' && *c != '\t' || ('\u{202a}'..='\u{202e}').contains(c))
        .collect();
    assert!(acting.is_empty(), "{acting:?} in {text:?}");
}

/// The demo with a manifest that has a group of a hostile name, the most sensitive of all.
fn hostile() -> Place {
    let place = Place::new();
    let mut manifest: Value = serde_json::from_slice(&fs::read(&place.manifest).unwrap()).unwrap();
    let groups = manifest["layer_sensitivity"].as_object_mut().unwrap();
    groups.insert(
        format!("{HOSTILE}.quant_recipe"),
        json!({"formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)"], "scores": [1e6], "costs": [100.0]}),
    );
    fs::write(&place.manifest, manifest.to_string()).unwrap();
    place
}

#[test]
fn the_name_of_a_directory_says_nothing_of_another() {
    let place = Place::new();
    let forged = "one\nforged: ok";
    fs::create_dir(place.path().join(forged)).unwrap();
    for words in [["verify"], ["clean"], ["detach"]] {
        for directory in [forged, "missing\nforged: ok"] {
            let output = qlua(place.path(), &[&words[..], &[directory]].concat());
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(said.contains(r"\nforged: ok"), "{said}");
            assert!(!said.lines().any(|line| line.starts_with("forged")), "{said}");
        }
    }
}

#[test]
fn one_directory_that_cannot_be_detached_keeps_nobody_from_the_others() {
    let place = Place::new();
    let output = qlua(place.path(), &["detach", "missing", "model", "gone"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "model: shares no file\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`missing` does not exist") && said.contains("`gone` does not exist"), "{said}");
}

#[test]
fn names_of_a_manifest_do_nothing_to_a_terminal_a_table_or_an_error() {
    let place = hostile();
    let inspected = qlua(place.path(), &["inspect", "manifest.json"]);
    let text = String::from_utf8(inspected.stdout).unwrap();
    require_harmless(&text);
    let row = text.lines().find(|line| line.contains("evil")).unwrap();
    assert!(row.contains(r"evil\u{1b}[2J\u{202e}\u{9b}31m\|\`x\`&lt;b>"), "{row}");
    assert!(!text.lines().any(|line| line.starts_with("| forged")), "{text}");
    require_harmless(&on_terminal(place.path(), &["inspect", "manifest.json"]));

    // It is in no checkpoint.
    let words = ["all_layers_topx", "--model", "model", "--manifest", "manifest.json", "--out", "out"];
    let refused = String::from_utf8(qlua(place.path(), &words).stderr).unwrap();
    require_harmless(&refused);
    let lines: Vec<&str> = refused.lines().filter(|line| line.contains("evil")).collect();
    assert!(
        lines.len() == 1 && lines[0].starts_with("qlua: error: ") && lines[0].contains(r"\n| forged"),
        "{refused}"
    );
}

#[test]
fn reports_hold_hostile_names_as_text() {
    let place = hostile();
    let script = "local family = qlua.export.family{ manifest = 'manifest.json', out = 'out' }\n\
                  family:add('all', family.manifest:ranking():lowest(100))\n\
                  print(family:report())\n";
    fs::write(place.path().join("report.lua"), script).unwrap();
    let output = qlua(place.path(), &["report.lua"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["report.html", "report.md"] {
        let text = fs::read_to_string(place.out.join(name)).unwrap();
        assert!(text.contains("evil"), "{name}");
        require_harmless(&text);
        assert!(!text.contains("<b>"), "{name}");
    }
    let markdown = fs::read_to_string(place.out.join("report.md")).unwrap();
    let row = markdown.lines().find(|line| line.contains("evil")).unwrap();
    assert!(row.starts_with("| ") && row.contains(r"\|\`x\`&lt;b>"), "{row}");
}

#[test]
fn what_scripts_say_does_nothing_to_a_terminal_and_a_pipe_gets_every_byte() {
    let place = tempfile::tempdir().unwrap();
    let script = "print('a\\27[31mb')\nio.write('c\\xff\\u{202e}d\\n', 5, '\\n')\nio.stderr:write('e\\27f\\n')\n\
                  qlua.log.warn('g\\27[2J\\nqlua: error: forged')\nerror('h\\27\\nqlua: error: forged', 0)\n";
    fs::write(place.path().join("say.lua"), script).unwrap();
    let shown = on_terminal(place.path(), &["say.lua"]);
    require_harmless(&shown);
    for part in [
        r"a\u{1b}[31mb",
        r"c\xff\u{202e}d",
        "5\n",
        r"e\u{1b}f",
        r"warning: g\u{1b}[2J",
        r"qlua: error: h\u{1b}",
    ] {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
    assert!(!shown.contains("\nqlua: error: forged"), "{shown}");
    let piped = qlua(place.path(), &["say.lua"]);
    assert_eq!(piped.stdout, b"a\x1b[31mb\nc\xff\xe2\x80\xaed\n5\n");
    let log: String =
        String::from_utf8_lossy(&piped.stderr).lines().filter(|line| line.contains('g')).collect();
    require_harmless(&log);
}

#[test]
fn names_of_files_are_shown_harmlessly() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("x\u{1b}]0;title\u{7}");
    fs::create_dir(&folder).unwrap();
    for words in [["inspect", folder.to_str().unwrap()], ["verify", folder.to_str().unwrap()]] {
        let output = qlua(place.path(), &words);
        assert_ne!(output.status.code(), Some(0));
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        require_harmless(&text);
        assert!(text.contains(r"x\u{1b}]0;title\u{7}"), "{text}");
    }
}

#[test]
fn a_built_in_script_wins_over_a_file_of_its_bare_name() {
    let place = tempfile::tempdir().unwrap();
    for name in ["all_layers_topx", "mine"] {
        fs::write(place.path().join(name), "print('the file')").unwrap();
    }
    let out = |words: &[&str]| String::from_utf8(qlua(place.path(), words).stdout).unwrap();
    assert!(out(&["all_layers_topx", "--help"]).contains("--manifest"));
    assert_eq!(out(&["./all_layers_topx"]), "the file\n");
    assert_eq!(out(&["mine"]), "the file\n");
}

#[test]
fn writing_a_file_keeps_its_mode_and_the_link_to_it() {
    let place = tempfile::tempdir().unwrap();
    let (file, link) = (place.path().join("file"), place.path().join("link"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    for (name, content) in [("file", "new"), ("link", "newer")] {
        let code = format!("qlua.fs.write('{name}', '{content}', {{ overwrite = true }})");
        assert!(qlua(place.path(), &["-e", &code]).status.success());
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(link.is_symlink());
    }
}

#[test]
fn everything_that_is_written_follows_the_umask_shared_or_not() {
    let place = Place::new();
    let run = "umask 027 && exec \"$0\" all_layers_topx --model model --manifest manifest.json --out out --top 50,100 --link \"$1\"";
    for link in ["hardlink", "copy"] {
        let shell = Command::new("sh")
            .args(["-c", run, env!("CARGO_BIN_EXE_qlua"), link])
            .current_dir(place.path())
            .output()
            .unwrap();
        assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
        let mut seen = 0;
        for (name, mode) in common::place::modes(&place.out) {
            assert_eq!(mode & 0o027, 0, "{name} has {mode:o}");
            assert_eq!(mode & 0o440, 0o440, "{name} has {mode:o}");
            seen += 1;
        }
        assert!(seen > 10);
        fs::remove_dir_all(&place.out).unwrap();
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused_before_anything_is_built() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("notes.txt"), "notes").unwrap();
    let long = "x".repeat(101);
    for words in [
        ["--suffix", ".."],
        ["--suffix", "."],
        ["--suffix", "a/../b"],
        ["--suffix", ".hidden"],
        ["--suffix", "a\\b"],
        ["--suffix", "a\nb"],
        ["--suffix", "a\u{202e}b"],
        ["--suffix", &long],
        ["--state", "notes.txt"],
        ["--state", "/dev/null"],
        ["--format-from", ""],
    ] {
        let output = qlua(place.path(), &[&["all_layers_topx"], &words[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.contains(words[0]) && text.contains("hint: "), "{words:?}: {text}");
        require_harmless(&text);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "{words:?}");
    }
}
