//! What the commands answer with `--json`, `-q`, `-v` and `--log`, against what the documentation says.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::ascending_family;
use common::place::Place;
use common::schema::{documented, keys};
use qlua::write::Silent;
use serde_json::{Value, json};

fn qlua(place: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
    command.current_dir(place).args(words).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The answer to `words`, which end with `--json`, and the text for people beside it.
fn answer(place: &Path, words: &[&str]) -> (Value, String) {
    let output = qlua(place, words);
    let said = text(&output.stderr);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words:?}: {said}"));
    (value, said)
}

/// Two schemes of the demo, of which something was measured.
fn schemes() -> Place {
    let place = Place::new();
    let family = ascending_family(place.options(), &[50.0, 100.0]);
    family.run(&Silent).unwrap();
    let report = family.report().unwrap();
    let bytes = report.sweeps[0].schemes[0].figures.bytes;
    let row = json!({
        "scheme": "top50", "kind": "text", "bytes": bytes, "kl": 1e-3, "kl_error": 1e-5, "perplexity": 12.5,
        "base_perplexity": 12.25, "agreement": 0.98, "samples": 4, "tokens": 170,
    });
    fs::write(place.out.join("quality.json"), json!({"base": "model", "rows": [row]}).to_string()).unwrap();
    place
}

#[test]
fn inspect_answers_as_documented() {
    let place = schemes();
    let (plain, said) = answer(place.path(), &["inspect", "model", "--json"]);
    assert!(said.contains("architecture:") && plain["quantisation"].is_null(), "{said}");
    let (scheme, _) = answer(place.path(), &["inspect", "out/top50", "--json"]);
    assert_eq!(scheme["quantisation"], "compressed-tensors");
    assert_eq!(keys(&[&plain, &scheme]), documented("json.md", "inspect DIR"));
    let (manifest, said) = answer(place.path(), &["inspect", "manifest.json", "--json"]);
    assert!(said.contains("candidates:"), "{said}");
    assert_eq!(keys(&[&manifest]), documented("json.md", "inspect MANIFEST"));
    let mut ranks: Vec<u64> =
        manifest["groups"].as_array().unwrap().iter().filter_map(|group| group["rank"].as_u64()).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, (1..=manifest["ranked"].as_u64().unwrap()).collect::<Vec<_>>());
}

#[test]
fn verify_answers_as_documented() {
    let place = schemes();
    let (sound, said) = answer(
        place.path(),
        &["verify", "out/top50", "out/top100", "nowhere", "--base", "model", "--family", "--json"],
    );
    assert!(said.contains("out/top50: ok") && said.contains("nowhere: could not be looked at"), "{said}");
    fs::write(place.out.join("top50/config.json"), "{}").unwrap();
    let (broken, said) = answer(place.path(), &["verify", "out/top50", "--json"]);
    assert!(said.contains("problem"), "{said}");
    assert_eq!(keys(&[&sound, &broken]), documented("json.md", "verify"));
}

#[test]
fn list_answers_as_documented() {
    let place = tempfile::tempdir().unwrap();
    let (list, said) = answer(place.path(), &["list", "--json"]);
    assert!(said.starts_with("scripts:\n"), "{said}");
    assert_eq!(keys(&[&list]), documented("json.md", "list"));
    let names = |kind: &str| {
        let all = list[kind].as_array().unwrap().iter();
        all.map(|one| format!("{}\n", one["name"].as_str().unwrap())).collect::<String>()
    };
    let quiet = text(&qlua(place.path(), &["-q", "list"]).stdout);
    assert_eq!(quiet, names("scripts") + &names("examples"), "with -q names alone");
}

#[test]
fn report_answers_as_documented_and_writes_nothing_then() {
    let place = schemes();
    let (report, said) = answer(place.path(), &["report", "out", "--json"]);
    assert!(said.contains("top50") && said.contains("score share"), "{said}");
    assert_eq!(keys(&[&report]), documented("json.md", "report"));
    assert!(!place.out.join("report.html").exists());
    let best = &report["sweeps"][0]["schemes"][0];
    assert!(best["least_score"].as_f64() <= best["score"].as_f64());
    let output = qlua(place.path(), &["report", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("the report is out/report.html\n"));
    assert!(place.out.join("report.md").exists());
    let output = qlua(place.path(), &["report", "model"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`model` holds no scheme that is on record\n  hint: "));
}

/// A table for a terminal is no wider than it, and what decides is in it.
#[test]
fn the_text_of_a_report_fits_eighty_columns() {
    let place = schemes();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
    let output =
        command.current_dir(place.path()).env("COLUMNS", "80").args(["report", "out"]).output().unwrap();
    let said = text(&output.stdout);
    let table: Vec<&str> =
        said.lines().filter(|line| line.starts_with("top") || line.starts_with("scheme")).collect();
    assert_eq!(table.len(), 3, "{said}");
    assert!(table.iter().all(|line| line.chars().count() <= 80), "{said}");
    assert!(
        table[0].contains("size") && table[0].contains("score share") && table[0].contains("KL"),
        "{said}"
    );
}

#[test]
fn quiet_leaves_only_what_is_wrong() {
    let place = schemes();
    for words in [
        &["-q", "verify", "out/top50"][..],
        &["verify", "out/top50", "-q"],
        &["inspect", "-q", "model"],
        &["report", "-q", "out"],
        &["clean", "-q", "out"],
        &["detach", "-q", "out/top100"],
    ] {
        let output = qlua(place.path(), words);
        assert_eq!(
            (output.status.code(), text(&output.stdout), text(&output.stderr)),
            (Some(0), String::new(), String::new()),
            "{words:?}"
        );
    }
    let output = qlua(place.path(), &["diff", "-q", "model", "out/top50"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), String::new()));
    fs::write(place.out.join("top50/config.json"), "{}").unwrap();
    let said = text(&qlua(place.path(), &["verify", "-q", "out/top50", "out/top100"]).stdout);
    assert!(said.contains("out/top50: ") && !said.contains("out/top100"), "{said}");
}

#[test]
fn every_command_says_more_when_asked_and_keeps_a_log() {
    let place = schemes();
    for words in [
        &["inspect", "model"][..],
        &["verify", "out/top50"],
        &["diff", "model", "model"],
        &["report", "out"],
        &["detach", "out/top50"],
        &["clean", "out"],
        &["list"],
        &["doc"],
        &["version"],
    ] {
        let log = place.path().join("log.txt");
        let output = qlua(place.path(), &[words, &["-v", "--log", "log.txt"]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
        let begin = format!("debug: {} runs on qlua ", words[0]);
        assert!(said.starts_with(&begin) && said.contains("debug: exit code 0 after "), "{said}");
        let kept = fs::read_to_string(&log).unwrap();
        let first = kept.lines().next().unwrap();
        assert!(
            first[20..].starts_with(' ') && first.contains(&begin),
            "the time, and what is said: {first}"
        );
        let shown = text(&output.stdout);
        let line = shown.lines().find(|line| !line.is_empty()).unwrap_or_default();
        assert!(kept.contains(line), "{words:?}: `{line}` is not in the log:\n{kept}");
        fs::remove_file(log).unwrap();
    }
}

/// A log has what `-q` keeps from the terminal, of scripts too, and of errors.
#[test]
fn a_log_has_what_was_not_said() {
    let place = schemes();
    let code = "qlua.log.info('quiet %d', 1) qlua.log.debug('deep') error('broken')";
    let output = qlua(place.path(), &["-q", "--log", "log.txt", "-e", code]);
    assert_eq!(output.status.code(), Some(1));
    let kept = fs::read_to_string(place.path().join("log.txt")).unwrap();
    for said in [" quiet 1\n", " debug: deep\n", " qlua: error: broken\n"] {
        assert!(kept.contains(said), "`{said}` is not in:\n{kept}");
    }
    assert!(!text(&output.stderr).contains("quiet 1"));
    let output = qlua(place.path(), &["--log", "out", "list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("the log `out` is "), "{}", text(&output.stderr));
}

/// Colours are for terminals: what another program reads has none, whatever the terminal is.
#[test]
fn pipes_get_no_colours() {
    let place = schemes();
    for words in [&["verify", "out/top50"][..], &["nothing"], &["-v", "list"]] {
        let output = qlua(place.path(), words);
        assert!(![output.stdout, output.stderr].concat().contains(&0x1b), "{words:?}");
    }
}
