//! The model card of a scheme: what the Hugging Face Hub reads of it, what people read, and that it is a file like any other.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::place::{Place, export};
use qlua::dialect::{DialectChoice, DialectId};
use qlua::job::FamilyOptions;
use qlua::verify::{Depth, verify};
use qlua::write::{Request, Silent};

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
    let rows = |scheme: &str, inputs: &str| {
        serde_json::json!({"base": "model", "rows": [{
            "scheme": scheme, "kind": "text", "bytes": written.bytes, "inputs": inputs, "kl": 0.0125, "kl_error": 0.001,
            "perplexity": 12.5, "base_perplexity": 12.25, "agreement": 0.97, "samples": 64, "tokens": 4096,
        }]})
        .to_string()
    };
    let again = || card_of(FamilyOptions { overwrite: true, ..place.options() });
    fs::write(place.out.join("quality.json"), rows("top50", record["inputs"].as_str().unwrap())).unwrap();
    let card = again();
    assert!(card.contains("| 64 of text |") && card.contains("12.500") && card.contains("97"), "{card}");
    // Rows of another scheme of the name are not this one's.
    fs::write(place.out.join("quality.json"), rows("top50", "another")).unwrap();
    assert!(again().contains("Not measured"));
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
