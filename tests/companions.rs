//! What comes along from a source directory, what is left behind, and what cannot be copied.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use common::ascending_family;
use common::place::{Place, export, require_message, require_sentence};
use qlua::job::{FamilyOptions, Writer, WriterOptions};
use qlua::model::Model;
use qlua::write::Silent;

fn put(base: &Path, names: &[&str]) {
    for name in names {
        let path = base.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("content of {name}")).unwrap();
    }
}

const TRAVELLING: [&str; 12] = [
    "LICENCE-COMMUNITY",
    "README.md",
    "images/overview.webp",
    "speakers.pt",
    "filters.npz",
    "tokeniser.model.v7",
    "bpe.ranks",
    "modelling_own.py",
    "own_code/layers/__init__.py",
    "own_code/layers/gate.py",
    "voice-adapter/adapter_config.json",
    "voice-adapter/adapter_model.safetensors",
];
const LEFT: [&str; 9] = [
    "flax_model.msgpack",
    "pytorch_model-00001-of-00001.bin",
    "pytorch_model.bin.index.json",
    "quants/model-q8.gguf",
    "original/consolidated.00.pth",
    "own_code/__pycache__/gate.pyc",
    ".gitignore",
    "adapter_config.json",
    "adapter_model.safetensors",
];

#[test]
fn everything_beside_the_weights_comes_along_and_one_line_says_what_does_not() {
    let place = Place::new();
    put(&place.model.0, &TRAVELLING);
    put(&place.model.0, &LEFT);
    let odd = OsStr::from_bytes(b"caf\xe9.txt");
    fs::write(place.model.0.join(odd), "odd").unwrap();
    fs::write(place.model.0.join("modules.json"), r#"[{"idx": 0, "path": "3_Dense"}]"#).unwrap();
    put(&place.model.0, &["3_Dense/config.json", "3_Dense/model.safetensors"]);

    // A model card would stand in the place of the README.
    let options = || FamilyOptions { card: false, ..place.options() };
    let planned = ascending_family(options(), &[50.0]).planned().unwrap();
    let said: Vec<&String> = planned.notes.iter().filter(|note| note.contains("left behind")).collect();
    let [said] = said[..] else { panic!("{:?}", planned.notes) };
    for name in ["`.gitignore`", "`adapter_config.json`", "`original`", "`flax_model.msgpack`"] {
        assert!(said.contains(name), "{said}");
    }
    let written = export(options(), &[50.0], &Silent).unwrap().remove(0).directory;
    for name in TRAVELLING.iter().chain(&["3_Dense/config.json", "3_Dense/model.safetensors"]) {
        assert_eq!(fs::read_to_string(written.join(name)).unwrap(), format!("content of {name}"));
    }
    assert_eq!(fs::read_to_string(written.join(odd)).unwrap(), "odd");
    for name in LEFT {
        assert!(!written.join(name).exists(), "{name}");
    }
    // The run finds its own directory again.
    assert!(export(options(), &[50.0], &Silent).unwrap()[0].up_to_date);
}

#[test]
fn what_the_base_checkpoint_lacks_is_said_of_its_schemes() {
    let place = Place::new();
    let run = |out: &str| {
        let words = [
            "all_layers_topx",
            "--model",
            "model",
            "--manifest",
            "manifest.json",
            "--top",
            "10",
            "--out",
            out,
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        let output = command.args(words).current_dir(place.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let of_base = "of their base checkpoint";
    assert!(!run("whole").contains(of_base));
    fs::remove_file(place.model.0.join("preprocessor_config.json")).unwrap();
    let said = run("without");
    let why = "config.json has a vision_config, and nothing says how images are prepared";
    let line = format!("the schemes have 1 problem of their base checkpoint: missing_file: {why}\n");
    assert!(said.contains(&line), "{said}");
}

#[test]
fn a_plain_source_leaves_nothing_behind_to_speak_of() {
    let place = Place::new();
    let planned = ascending_family(place.options(), &[50.0]).planned().unwrap();
    assert!(!planned.notes.iter().any(|note| note.contains("left behind")), "{:?}", planned.notes);
}

#[test]
fn what_cannot_be_copied_is_refused_by_name_before_the_pass() {
    for (name, problem) in [
        ("merges.txt", "is a link to `blobs/gone`, which is not there"),
        ("code/gate.fifo", "is no file that can be copied"),
        ("service.socket", "is no file that can be copied"),
        ("assets/up", "is a link to a folder that it lies in"),
    ] {
        let place = Place::new();
        let path = place.model.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match name.rsplit('.').next().unwrap() {
            "txt" => {
                fs::remove_file(&path).ok();
                symlink("blobs/gone", &path).unwrap();
            }
            "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            "socket" => drop(UnixListener::bind(&path).unwrap()),
            _ => symlink("..", &path).unwrap(),
        }
        let family = ascending_family(place.options(), &[50.0]);
        for error in [family.check().unwrap_err(), family.run(&Silent).unwrap_err()] {
            require_sentence(&error);
            require_message(&error, &[name, problem], "put the file itself there");
        }
        assert!(!place.out.exists(), "{name}");
        let options = WriterOptions {
            out: place.out.clone(),
            overwrite: false,
            companions: true,
            max_shard_size: 5_000_000_000,
            threads: 2,
        };
        let model = Model::open(&place.model.0).unwrap();
        let mut writer = Writer::new(options, Some(model.into())).unwrap();
        writer.copy("model.norm.weight").unwrap();
        require_message(&writer.finish(&Silent).unwrap_err(), &[name, problem], "put the file itself there");
        assert!(!place.out.exists(), "{name}");
    }
}

#[test]
fn a_dangling_link_that_would_be_left_behind_is_in_nobodys_way() {
    let place = Place::new();
    symlink("../../blobs/gone", place.model.0.join("model.gguf")).unwrap();
    export(place.options(), &[50.0], &Silent).unwrap();
}

#[test]
fn another_name_of_a_companion_makes_another_directory() {
    let place = Place::new();
    put(&place.model.0, &["notes-a.txt"]);
    export(place.options(), &[50.0], &Silent).unwrap();
    fs::rename(place.model.0.join("notes-a.txt"), place.model.0.join("notes-b.txt")).unwrap();
    let error = export(place.options(), &[50.0], &Silent).unwrap_err();
    require_message(&error, &["was made from other inputs"], "--overwrite");
}
