//! The model card of a scheme: what the Hugging Face Hub reads of it, what people read, and that it is a file like any other.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::place::{Place, export};
use qlua::dialect::{DialectChoice, DialectId};
use qlua::job::{FamilyOptions, refresh_card};
use qlua::verify::{Depth, verify};
use qlua::write::{Amended, Request, Silent};

const BASE_CARD: &str = "---\nlicense: other\nlicense_link: LICENSE\nlanguage:\n- en\npipeline_tag: image-text-to-text\n\
                         tags:\n- multimodal\nbase_model: some/parent\n---\n# The base\n";

fn card_of(options: FamilyOptions) -> String {
    let written = export(options, &[50.0], &Silent).unwrap().remove(0).directory;
    fs::read_to_string(written.join("README.md")).unwrap()
}

/// The lines between the first two rules.
fn front_matter(card: &str) -> Vec<&str> {
    let mut lines = card.lines();
    assert_eq!(lines.next(), Some("---"), "{card}");
    lines.take_while(|line| *line != "---").collect()
}

#[test]
fn a_card_says_what_the_hub_reads_and_what_was_done() {
    let place = Place::new();
    fs::write(place.model.file("README.md"), BASE_CARD).unwrap();
    let command =
        ["/opt/bin/qlua", "all_layers_topx", "--model", "/data/models/Tiny", "--manifest=/data/m.json"];
    let request = Request { command: command.map(String::from).into(), policy: None };
    let card = card_of(FamilyOptions { request, ..place.options() });
    assert_eq!(
        front_matter(&card),
        [
            "library_name: transformers",
            "license: other",
            "license_link: LICENSE",
            "language:",
            "- en",
            "pipeline_tag: image-text-to-text",
            "tags:",
            "- fp8",
            "- compressed-tensors",
            "- modelopt",
            "- qlua",
        ]
    );
    for said in [
        "# top50\n",
        "FP8 (E4M3) with a scale for each tensor and static activations",
        "vLLM:\n```sh\nvllm serve ./top50\n```",
        "SGLang:\n```sh\npython -m sglang.launch_server --model-path ./top50\n```",
        "qlua all_layers_topx --model Tiny --manifest=m.json\n",
        concat!("With qlua ", env!("CARGO_PKG_VERSION")),
        "from the scores of `manifest.json`",
        "Not measured",
    ] {
        assert!(card.contains(said), "{said}: {card}");
    }
    for never in ["/data", "/opt", "some/parent", "# The base", &place.path().display().to_string()] {
        assert!(!card.contains(never), "{never}: {card}");
    }
}

#[test]
fn each_dialect_says_its_libraries_and_who_reads_it() {
    let place = Place::new();
    for (dialect, libraries) in [
        (DialectId::CompressedTensors, vec!["- compressed-tensors"]),
        (DialectId::ModelOpt, vec!["- modelopt"]),
        (DialectId::Fp8Block, vec![]),
    ] {
        let out = place.path().join(dialect.to_string());
        let options = FamilyOptions { out, dialect: DialectChoice::Named(dialect), ..place.options() };
        let card = card_of(options);
        let front = front_matter(&card);
        let at = front.iter().position(|line| *line == "- fp8").unwrap();
        assert_eq!(front[at + 1..front.len() - 1], libraries, "{card}");
        let reads = |name: &str| card.contains(&format!("{name}:\n```"));
        let refuses = |name: &str| card.contains(&format!("{name} does not read it: "));
        for engine in ["vLLM", "SGLang", "Transformers"] {
            assert!(reads(engine) != refuses(engine), "{dialect} {engine}: {card}");
        }
    }
}

#[test]
fn a_card_is_on_record_and_checked_like_any_file() {
    let place = Place::new();
    fs::write(place.model.file("README.md"), BASE_CARD).unwrap();
    let directory = export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory;
    let record = fs::read_to_string(directory.join("layer-sensitivity/provenance.json")).unwrap();
    assert!(record.contains("\"README.md\""));
    let codes = || -> Vec<String> {
        let problems = verify(&directory, Depth::Full).unwrap();
        problems.iter().map(|problem| problem.to_string()).filter(|said| said.contains("README.md")).collect()
    };
    assert_eq!(codes(), Vec::<String>::new());
    let card = fs::read_to_string(directory.join("README.md")).unwrap();
    fs::write(directory.join("README.md"), card.replace("vllm serve", "vllm  serve")).unwrap();
    assert_eq!(codes().len(), 1);
    fs::remove_file(directory.join("README.md")).unwrap();
    assert_eq!(codes().len(), 1);
    // The next run puts it right, with the same bytes.
    export(place.options(), &[50.0], &Silent).unwrap();
    assert_eq!(fs::read_to_string(directory.join("README.md")).unwrap(), card);
    assert!(export(place.options(), &[50.0], &Silent).unwrap()[0].up_to_date);
    // What does not change the weights changes the card all the same: then it is another scheme.
    fs::write(place.model.file("README.md"), BASE_CARD.replace("other", "mit")).unwrap();
    assert!(export(place.options(), &[50.0], &Silent).is_err());
}

#[test]
fn without_a_card_the_readme_is_that_of_the_base() {
    let place = Place::new();
    fs::write(place.model.file("README.md"), BASE_CARD).unwrap();
    let base = place.path().to_path_buf();
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(&base).output().unwrap()
    };
    let export = |out: &str, more: &[&str]| {
        let words = [
            "all_layers_topx",
            "--model",
            "model",
            "--manifest",
            "manifest.json",
            "--top",
            "50",
            "--device",
            "cpu",
            "--threads",
            "2",
            "--out",
            out,
        ];
        run(&[&words[..], more].concat())
    };
    let scheme = "fp8_autoquant_all_layers_top50_coco2017";
    assert!(export("with", &[]).status.success());
    assert!(export("without", &["--no-card"]).status.success());
    let read = |out: &str| fs::read_to_string(base.join(out).join(scheme).join("README.md")).unwrap();
    assert_eq!(read("without"), BASE_CARD);
    assert!(read("with").contains("qlua all_layers_topx --model model --manifest manifest.json"));
    // Both are what their base makes of them; the base's own card is not missed, and not taken for the scheme's.
    for out in ["with", "without"] {
        let output = run(&["verify", &format!("{out}/{scheme}"), "--base", "model"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    // Asked for otherwise, what is there is another scheme.
    let output = export("with", &["--no-card"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("was made from other inputs"));
}

#[test]
fn quality_that_was_measured_is_on_the_next_card() {
    let place = Place::new();
    let written = export(place.options(), &[50.0], &Silent).unwrap().remove(0);
    let record: serde_json::Value = serde_json::from_slice(
        &fs::read(written.directory.join("layer-sensitivity/provenance.json")).unwrap(),
    )
    .unwrap();
    let rows = |scheme: &str, inputs: &str| measured(scheme, written.bytes, inputs, 12.5);
    let again = || card_of(FamilyOptions { overwrite: true, ..place.options() });
    fs::write(place.out.join("quality.json"), rows("top50", record["inputs"].as_str().unwrap())).unwrap();
    let card = again();
    assert!(card.contains("| 64 of text |") && card.contains("12.500") && card.contains("97"), "{card}");
    // Rows of another scheme of the name are not this one's.
    fs::write(place.out.join("quality.json"), rows("top50", "another")).unwrap();
    assert!(again().contains("Not measured"));
}

/// What was measured of `scheme`, as `qlua evaluate` writes it.
fn measured(scheme: &str, bytes: u64, inputs: &str, perplexity: f64) -> String {
    serde_json::json!({"base": "model", "rows": [{
        "scheme": scheme, "kind": "text", "bytes": bytes, "inputs": inputs, "kl": 0.0125, "kl_error": 0.001,
        "perplexity": perplexity, "base_perplexity": 12.25, "agreement": 0.97, "samples": 64, "tokens": 4096,
    }]})
    .to_string()
}

#[test]
fn what_is_measured_later_comes_to_the_card_and_to_the_record_together() {
    let place = Place::new();
    let written = export(place.options(), &[50.0], &Silent).unwrap().remove(0);
    let card = written.directory.join("README.md");
    let record = written.directory.join("layer-sensitivity/provenance.json");
    let next = written.directory.join("layer-sensitivity/.provenance.json.next");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let inputs = serde_json::from_str::<serde_json::Value>(&read(&record)).unwrap()["inputs"]
        .as_str()
        .unwrap()
        .to_string();
    let measure = |perplexity| {
        fs::write(place.out.join("quality.json"), measured("top50", written.bytes, &inputs, perplexity))
            .unwrap();
    };
    let is_sound = || verify(&written.directory, Depth::Full).unwrap().is_empty();
    let before = [&card, &record].map(|path| read(path));
    assert_eq!(refresh_card(&written.directory).unwrap(), Amended::Same);
    measure(12.5);
    assert_eq!(refresh_card(&written.directory).unwrap(), Amended::Written);
    let after = [&card, &record].map(|path| read(path));
    assert!(
        after[0].contains("| 64 of text |")
            && after[0].contains("12.500")
            && !after[0].contains("Not measured")
    );
    assert!(is_sound() && refresh_card(&written.directory).unwrap() == Amended::Same);
    // It is the card that the scheme has when it is written now, and the record says nothing else of anything else.
    assert_eq!(card_of(FamilyOptions { overwrite: true, ..place.options() }), after[0]);
    assert_eq!(read(&record), after[1]);
    let differing = |a: &str, b: &str| a.lines().zip(b.lines()).filter(|(a, b)| a != b).count();
    assert_eq!(before[1].lines().count(), after[1].lines().count());
    assert_eq!(differing(&before[1], &after[1]), 3, "bytes and hash of the card, and the seal");
    assert!(export(place.options(), &[50.0], &Silent).unwrap()[0].up_to_date);
    // Killed between the two: verify names the card, and the next who comes concludes it.
    fs::write(&record, &before[1]).unwrap();
    fs::write(&next, &after[1]).unwrap();
    let named = verify(&written.directory, Depth::Full).unwrap();
    assert!(named.len() == 1 && named[0].to_string().contains("README.md"), "{named:?}");
    assert_eq!(refresh_card(&written.directory).unwrap(), Amended::Same);
    assert!(is_sound() && !next.exists() && read(&record) == after[1]);
    // Killed before the first: the new record is of no use, and nothing is wrong.
    fs::write(&next, &before[1]).unwrap();
    assert!(is_sound() && refresh_card(&written.directory).unwrap() == Amended::Same && !next.exists());
    // What somebody has changed stays, and so does what lies there then.
    let edited = after[0].replace("## How it was made", "## My notes");
    fs::write(&card, &edited).unwrap();
    measure(13.5);
    assert_eq!(refresh_card(&written.directory).unwrap(), Amended::Changed);
    assert_eq!((read(&card), read(&record)), (edited, after[1].clone()));
    let hidden = fs::read_dir(&written.directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(hidden.filter(|name| name.starts_with('.')).count(), 0);
}

#[test]
fn a_scheme_without_a_card_of_its_own_gets_none() {
    let place = Place::new();
    fs::write(place.model.file("README.md"), BASE_CARD).unwrap();
    let written =
        export(FamilyOptions { card: false, ..place.options() }, &[50.0], &Silent).unwrap().remove(0);
    assert_eq!(refresh_card(&written.directory).unwrap(), Amended::Absent);
    assert_eq!(refresh_card(&place.model.0).unwrap(), Amended::Absent);
    assert_eq!(fs::read_to_string(written.directory.join("README.md")).unwrap(), BASE_CARD);
}

#[test]
fn of_a_card_that_is_no_yaml_nothing_comes_along_and_that_is_said() {
    let place = Place::new();
    fs::write(place.model.file("README.md"), "---\nlicense: mit\nthis is: no: key\n---\n").unwrap();
    let family = common::ascending_family(place.options(), &[50.0]);
    let notes = family.planned().unwrap().notes.clone();
    let said = "the model card `README.md` of the base checkpoint is not understood as YAML in line 3, so nothing of it comes along";
    assert!(notes.iter().any(|note| note == said), "{notes:?}");
    assert!(!card_of(place.options()).contains("license"));
}

/// As huggingface_hub reads it, whose expression begins with `\s*---`.
#[test]
fn front_matter_may_follow_blank_lines() {
    let place = Place::new();
    fs::write(place.model.file("README.md"), "\n  \n---\nlicense: mit\n---\n# Base\n").unwrap();
    assert!(front_matter(&card_of(place.options())).contains(&"license: mit"));
    fs::write(place.model.file("README.md"), "\n\n---\nlicense: mit\nthis is: no: key\n---\n").unwrap();
    let notes = common::ascending_family(place.options(), &[50.0]).planned().unwrap().notes.clone();
    assert!(notes.iter().any(|note| note.contains("not understood as YAML in line 5")), "{notes:?}");
}

#[test]
fn a_card_is_not_taken_for_the_base_of_another_checkpoint() {
    let place = Place::new();
    let directory = export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory;
    assert!(Path::new(&directory).join("README.md").exists());
    fs::copy(directory.join("README.md"), place.model.file("README.md")).unwrap();
    let out = place.path().join("again");
    let card = card_of(FamilyOptions { out, ..place.options() });
    assert_eq!(card, fs::read_to_string(directory.join("README.md")).unwrap());
}
