//! What `qlua diff` says, and its exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::common::directory::{Directory, Raw};
use super::common::schema::{documented, keys};
use super::{odd, scheme};
use qlua::dialect::DialectId;
use qlua::plan::Activations;

fn diff(place: &Path, words: &[&str]) -> Output {
    let words = [&["diff", "--threads", "2"], words].concat();
    Command::new(env!("CARGO_BIN_EXE_qlua")).current_dir(place).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

#[test]
fn a_scheme_and_its_base_differ_and_the_same_directory_does_not() {
    let place = tempfile::tempdir().unwrap();
    let (scheme, model) = scheme(place.path(), DialectId::Universal, Activations::Static);
    let [a, b] = [&model, &scheme].map(|directory| directory.0.to_str().unwrap());
    let output = diff(place.path(), &[a, b]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for part in [
        "differ: ",
        "BF16 → F8_E4M3",
        "quantization_config",
        "modules, the worst first",
        "SQNR (dB)",
        "--json has all",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(text.lines().count() < 90, "a bounded number of rows: {}", text.lines().count());
    let output = diff(place.path(), &[b, b]);
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains("the same: "), "{}", said(&output));

    let output = diff(place.path(), &[a, b, "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let answer = answer(&output);
    assert_eq!((&answer["kind"], &answer["same"]), (&json!("checkpoints"), &json!(false)));
    assert_eq!(
        answer["modules"].as_array().unwrap().len() as u64,
        answer["weights"]["other_values"].as_u64().unwrap()
    );
}

/// Python writes integers of any length, and reads them back digit by digit.
#[test]
fn integers_that_no_machine_word_holds_are_compared_by_their_digits() {
    let place = tempfile::tempdir().unwrap();
    let directory = |name: &str, seed: &str| {
        let made = odd(place.path(), name, &json!({}), &[("m.weight", Raw::bf16(&[1], &[1.0]))]);
        fs::write(made.file("config.json"), format!("{{\"seeds\": [1, {seed}], \"other\": {seed}}}"))
            .unwrap();
        made.0.display().to_string()
    };
    let a = directory("a", "340282366920938463463374607431768211456");
    let b = directory("b", "340282366920938463463374607431768211457");
    let same = directory("same", "340282366920938463463374607431768211456");
    let text = said(&diff(place.path(), &[&a, &b]));
    assert!(text.contains("68211456") && text.contains("68211457"), "{text}");
    assert_eq!(diff(place.path(), &[&a, &same]).status.code(), Some(0));
    let answer = answer(&diff(place.path(), &[&a, &b, "--json"]));
    let changes = answer["configuration"].as_array().unwrap();
    let paths: Vec<&str> = changes.iter().map(|change| change["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["seeds[1]", "other"]);
    assert_eq!(changes[1]["b"], "340282366920938463463374607431768211457");

    let (first, _) = super::manifests::demo(place.path());
    let manifest = |name: &str, seed: &str| {
        let text = fs::read_to_string(&first).unwrap().replacen('{', &format!("{{\"seed\": {seed},"), 1);
        let target = first.with_file_name(name);
        fs::write(&target, text).unwrap();
        target.display().to_string()
    };
    let (a, b) = (manifest("a.json", "18446744073709551616"), manifest("b.json", "18446744073709551617"));
    let output = diff(place.path(), &[&a, &b]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("709551616") && text.contains("709551617"), "{text}");
}

/// Tensors without a dot in their names belong to no module: the table names them instead.
#[test]
fn no_row_of_modules_is_without_a_name() {
    let place = tempfile::tempdir().unwrap();
    let weights = |value: f32, count: usize| {
        let names = ["alone", "besides", "m.weight"].into_iter().take(count);
        names.map(|name| (name, Raw::bf16(&[1], &[value]))).collect::<Vec<_>>()
    };
    for (count, expected) in [(1, vec!["alone"]), (3, vec!["alone and 1 more", "m"])] {
        let made = |name: &str, value: f32| {
            odd(place.path(), &format!("{name}{count}"), &json!({}), &weights(value, count)).0
        };
        let (a, b) = (made("a", 1.0), made("b", 2.0));
        let text = said(&diff(place.path(), &[a.to_str().unwrap(), b.to_str().unwrap()]));
        let table = text.split("modules, the worst first\n").nth(1).unwrap();
        let rows = table.lines().skip(1).take_while(|line| line.starts_with("  "));
        let mut names: Vec<&str> = rows.map(|row| row[2..].split("  ").next().unwrap().trim()).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{text}");
    }
}

#[test]
fn the_json_has_the_keys_that_the_documentation_lists() {
    let place = tempfile::tempdir().unwrap();
    let (scheme, model) = scheme(place.path(), DialectId::Universal, Activations::Static);
    let copy = Directory::copy(&model.0, &place.path().join("copy"));
    fs::write(copy.file("tokenizer.json"), "{}").unwrap();
    fs::write(copy.file("generation_config.json"), "{\"a\": 1}").unwrap();
    copy.edit_json("config.json", |config| config["model_type"] = json!("other"));
    let name = |directory: &Directory| directory.0.to_str().unwrap().to_string();
    let mut found = keys(&[&answer(&diff(place.path(), &[&name(&copy), &name(&scheme), "--json"]))]);
    // What an array of strings holds is no key; what changed in a configuration is no schema.
    found.retain(|path| !path.starts_with("configuration[].a.") && !path.starts_with("configuration[].b."));
    found.retain(|path| !path.starts_with("configuration[].b[") && !path.starts_with("configuration[].a["));
    assert_eq!(found, documented("diff.md", "Checkpoints"));

    let (first, second) = super::manifests::demo(place.path());
    let second = {
        let mut value: Value = serde_json::from_slice(&fs::read(&second).unwrap()).unwrap();
        value["scheme"]["name"] = json!("other");
        let groups = value["layer_sensitivity"].as_object_mut().unwrap();
        let last = groups.keys().next_back().unwrap().clone();
        groups.shift_remove(&last);
        let target = second.with_file_name("changed.json");
        fs::write(&target, value.to_string()).unwrap();
        target
    };
    let output = diff(place.path(), &[first.to_str().unwrap(), second.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let mut found = keys(&[&answer(&output)]);
    found.retain(|path| !path.starts_with("keys[].a.") && !path.starts_with("keys[].b."));
    assert_eq!(found, documented("diff.md", "Manifests"));
}

#[test]
fn manifests_are_shown_with_the_groups_that_move_furthest() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = super::manifests::demo(place.path());
    let [a, b] = [&first, &second].map(|path| path.to_str().unwrap());
    let output = diff(place.path(), &[a, b]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("rank correlation: Spearman ")
            && text.contains("groups, those that move furthest first"),
        "{text}"
    );
    let output = diff(place.path(), &[a, a]);
    assert_eq!((output.status.code(), said(&output).contains("the same: ")), (Some(0), true));
}

#[test]
fn what_cannot_be_compared_is_one_sentence_with_a_hint() {
    let place = tempfile::tempdir().unwrap();
    let (first, _) = super::manifests::demo(place.path());
    let manifest = first.to_str().unwrap();
    let model = place.path().join("demo/model");
    let model = model.to_str().unwrap();
    let weights = fs::read_dir(model).unwrap().map(|entry| entry.unwrap().path());
    let weights = weights.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).min().unwrap();
    fs::create_dir(place.path().join("empty")).unwrap();
    fs::write(place.path().join("coverage.json"), "{\"coverage\": 1}").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&[model, manifest], 2, "is a directory and `"),
        (&[manifest, model], 2, "is a directory and `"),
        (&[model, "nowhere"], 1, "`nowhere` does not exist"),
        (&["empty", model], 1, "`empty` holds no config.json"),
        (&[manifest, "coverage.json"], 1, "coverage.json"),
        (&[weights.to_str().unwrap(), manifest], 2, "is a weight file, not a manifest"),
        (&["pipe", manifest], 1, "is a pipe"),
        (&[model], 2, "`B` is missing"),
    ];
    for (words, code, part) in cases {
        let output = diff(place.path(), words);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert!(text.contains(part), "`{part}` is not in: {text}");
        assert!(
            output.stdout.is_empty() && text.contains("hint: ")
                || words.len() == 1
                || part == "coverage.json",
            "{text}"
        );
    }
}

#[test]
fn names_of_strangers_are_written_out() {
    let place = tempfile::tempdir().unwrap();
    let name = "evil\u{1b}[2J\u{202e}.weight";
    let weights = |value: f32| [(name, Raw::bf16(&[1], &[value]))];
    let a = odd(place.path(), "a", &json!({"k\u{1b}]0;x\u{7}": "v\u{1b}[31m\nline"}), &weights(1.0));
    let b = odd(place.path(), "b", &json!({"k\u{1b}]0;x\u{7}": 2}), &weights(2.0));
    fs::write(a.file("file\u{1b}[1m"), "").unwrap();
    let output = diff(place.path(), &[a.0.to_str().unwrap(), b.0.to_str().unwrap()]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
    assert!(text.contains("evil\\u{1b}[2J\\u{202e}"), "{text}");
}
