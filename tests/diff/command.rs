//! What `qlua diff` says, and its exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::common::directory::{Directory, Raw};
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

/// The keys of every object in `value`, by the path of the object; elements of lists are one path.
fn schema(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                schema(&path, value, found);
                found.insert(path);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| schema(&format!("{path}[]"), value, found)),
        _ => {}
    }
}

/// The paths that `docs/diff.md` lists for one kind, in lines such as ``- `modules[].tensors[].role`: …``.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diff.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("- "));
    let names = lines.flat_map(|line| line.split(':').next().unwrap().split('`').skip(1).step_by(2));
    names.map(str::to_string).collect()
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

#[test]
fn the_json_has_the_keys_that_the_documentation_lists() {
    let place = tempfile::tempdir().unwrap();
    let (scheme, model) = scheme(place.path(), DialectId::Universal, Activations::Static);
    let copy = Directory::copy(&model.0, &place.path().join("copy"));
    fs::write(copy.file("tokenizer.json"), "{}").unwrap();
    fs::write(copy.file("generation_config.json"), "{\"a\": 1}").unwrap();
    copy.edit_json("config.json", |config| config["model_type"] = json!("other"));
    let name = |directory: &Directory| directory.0.to_str().unwrap().to_string();
    let mut found = BTreeSet::new();
    schema("", &answer(&diff(place.path(), &[&name(&copy), &name(&scheme), "--json"])), &mut found);
    // What an array of strings holds is no key; what changed in a configuration is no schema.
    found.retain(|path| !path.starts_with("configuration[].a.") && !path.starts_with("configuration[].b."));
    found.retain(|path| !path.starts_with("configuration[].b[") && !path.starts_with("configuration[].a["));
    assert_eq!(found, documented("Checkpoints"));

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
    let mut found = BTreeSet::new();
    let output = diff(place.path(), &[first.to_str().unwrap(), second.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(3));
    schema("", &answer(&output), &mut found);
    found.retain(|path| !path.starts_with("keys[].a.") && !path.starts_with("keys[].b."));
    assert_eq!(found, documented("Manifests"));
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
