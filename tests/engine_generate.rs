//! Generation: the golden answers of Transformers, and token by token against the whole sequence anew.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::directory::Directory;
use common::place::{Place, export};
use common::shared;
use qlua::checkpoint::Checkpoint;
use qlua::engine::inputs::{Processor, end_tokens};
use qlua::engine::{Cpu, Forgotten, Generation, Network, NetworkRun, Sample, Unobserved};
use qlua::write::Silent;
use serde_json::{Value, json};

/// A picture that is part of the tests.
fn picture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/inputs/pictures/shrunk.png")
}

/// The logits after `sample`, from all of it at once.
fn logits_of_whole(network: &Network, sample: &Sample) -> Vec<f32> {
    let samples = [sample.clone()];
    let run = NetworkRun::new(network, &Cpu, &samples).unwrap();
    let hidden = run.forward(&mut Unobserved, &mut Forgotten).unwrap();
    let logits = run.logits(&hidden, &mut Unobserved).unwrap().remove(0);
    logits[logits.len() - network.vocabulary()..].to_vec()
}

fn first_of_largest(logits: &[f32]) -> u32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|logit| *logit == largest).unwrap() as u32
}

/// Generates `steps` tokens after `prompt`; the worst difference between logits of each step and those of the whole sequence anew,
/// and the largest magnitude among the latter.
fn difference_from_whole(checkpoint: &Checkpoint, prompt: &Sample, steps: usize) -> (f32, f32) {
    let network = Network::open(checkpoint).unwrap();
    let mut generation = Generation::begin(&network, &Cpu, prompt).unwrap();
    let mut sample = prompt.clone();
    let (mut worst, mut size) = (0.0f32, 0.0f32);
    for _ in 0..steps {
        let (whole, grown) = (logits_of_whole(&network, &sample), generation.logits());
        assert_eq!(whole.len(), grown.len());
        for (whole, grown) in whole.iter().zip(&grown) {
            worst = worst.max((whole - grown).abs());
            size = size.max(whole.abs());
        }
        let token = generation.likeliest().unwrap();
        assert_eq!(token, first_of_largest(&grown));
        sample.tokens.push(token);
        generation.push(token).unwrap();
    }
    (worst, size)
}

fn generated(checkpoint: &Checkpoint, prompt: &Sample, ends: &[u32], most: usize) -> Vec<u32> {
    let network = Network::open(checkpoint).unwrap();
    let mut generation = Generation::begin(&network, &Cpu, prompt).unwrap();
    generation.greedy(ends, most).map(Result::unwrap).collect()
}

#[test]
fn each_token_sees_what_it_would_see_in_the_whole_sequence() {
    let place = Place::new();
    let checkpoint = Checkpoint::open(&place.model.0).unwrap();
    let processor = Processor::open(&checkpoint).unwrap();
    let prompts = [
        processor.plain_prompt("a").unwrap(),
        processor.prompt("Two dogs?", None).unwrap(),
        processor.prompt("What is this?", Some(&picture())).unwrap(),
    ];
    for (number, prompt) in prompts.iter().enumerate() {
        let (worst, size) = difference_from_whole(&checkpoint, prompt, 4);
        println!("prompt {number}: logits up to {size} differ by {worst:.1e}");
        assert!(worst <= 1e-5 * size.max(1.0), "prompt {number}: logits up to {size} differ by {worst}");
    }
}

#[test]
fn an_answer_stops_at_a_token_that_ends_it_or_when_there_are_enough() {
    let place = Place::new();
    let checkpoint = Checkpoint::open(&place.model.0).unwrap();
    let prompt = Processor::open(&checkpoint).unwrap().prompt("Go on.", None).unwrap();
    let free = generated(&checkpoint, &prompt, &[], 5);
    assert_eq!(free.len(), 5);
    let first = free.iter().position(|token| *token == free[3]).unwrap();
    assert_eq!(generated(&checkpoint, &prompt, &[100_000, free[3]], 5), free[..=first]);
    assert_eq!(generated(&checkpoint, &prompt, &[], 2), free[..2]);
    assert!(generated(&checkpoint, &prompt, &[], 0).is_empty());

    let network = Network::open(&checkpoint).unwrap();
    let mut generation = Generation::begin(&network, &Cpu, &prompt).unwrap();
    let error = generation.push(512).unwrap_err();
    assert_eq!(error.to_string(), "the vocabulary of 512 has no token 512");
    let empty = Sample::default();
    assert!(Generation::begin(&network, &Cpu, &empty).is_err());
}

#[test]
fn what_ends_an_answer_is_said_by_either_configuration() {
    let place = Place::new();
    let ends = || end_tokens(&Checkpoint::open(&place.model.0).unwrap());
    assert_eq!(ends().unwrap(), [258, 256]);
    let say =
        |value: Value| place.model.edit_json("generation_config.json", |file| file["eos_token_id"] = value);
    say(json!(7));
    assert_eq!(ends().unwrap(), [7]);
    for wrong in [json!("</s>"), json!([1, -2]), json!({"a": 1})] {
        say(wrong);
        assert!(ends().unwrap_err().to_string().contains("that is no token and no list of them"));
    }
    fs::remove_file(place.model.file("generation_config.json")).unwrap();
    assert_eq!(ends().unwrap(), [258]);
    place.model.edit_json("config.json", |file| {
        file.as_object_mut().unwrap().remove("eos_token_id");
        file["text_config"] = json!({"eos_token_id": [3, 4]});
    });
    assert_eq!(ends().unwrap(), [3, 4]);
    place.model.edit_json("config.json", |file| file["text_config"] = Value::Null);
    assert!(ends().unwrap().is_empty());
}

/// Rounded inputs differ by whole codes where sums differ in their last bits, so that only about the same comes out.
#[test]
fn schemes_generate() {
    let place = Place::new();
    let written = export(place.options(), &[60.0], &Silent).unwrap();
    let checkpoint = Checkpoint::open(&written[0].directory).unwrap();
    let prompt = Processor::open(&checkpoint).unwrap().prompt("What is this?", Some(&picture())).unwrap();
    let (worst, size) = difference_from_whole(&checkpoint, &prompt, 3);
    println!("logits up to {size} differ by {worst:.1e}");
    assert!(worst <= 0.05 * size, "logits up to {size} differ by {worst}");
}

fn run(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qlua")).args(words).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_script_answers_and_says_what_it_cannot() {
    let place = Place::new();
    let base = place.path();
    let picture = picture();
    let image = picture.to_str().unwrap();
    let answered = |words: &[&str]| {
        let output = run(base, words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let said = answered(&["generate", "model", "--prompt", "Hi", "-n", "3"]);
    assert_eq!(said, answered(&["generate", "model", "--prompt=Hi", "--tokens", "3"]));
    assert!(said.ends_with('\n'));
    answered(&["generate", "model", "-n", "1", "--image", image]);
    answered(&["generate", "model", "-n", "1", "--plain", "--prompt", "Once"]);

    let refused = |words: &[&str], code: i32, part: &str| {
        let output = run(base, words);
        let error = text(&output.stderr);
        assert!(output.status.code() == Some(code) && error.contains(part), "{words:?}: {error}");
        assert!(output.stdout.is_empty() && !error.contains("stack traceback"), "{words:?}: {error}");
    };
    refused(&["generate"], 2, "`DIR` is missing");
    refused(&["generate", "model", "-n", "0"], 2, "--tokens");
    refused(&["generate", "model", "--image", "nothing.png"], 2, "nothing.png");
    refused(&["generate", "model", "--plain", "--image", image], 2, "an image needs the chat template");
    fs::remove_file(place.model.file("chat_template.json")).unwrap();
    place.model.edit_json("tokenizer_config.json", |file| {
        file.as_object_mut().unwrap().remove("chat_template");
    });
    refused(&["generate", "model"], 1, "has no chat template");
    fs::remove_file(place.model.file("tokenizer.json")).unwrap();
    refused(&["generate", "model"], 1, "holds no tokenizer.json");
}

/// Weights that are not finite give logits that are not.
#[test]
fn a_model_that_computes_no_numbers_is_refused() {
    let place = Place::new();
    place.model.edit_tensors(|tensors| {
        let norm = tensors.get_mut("model.norm.weight").unwrap();
        norm.bytes[..2].copy_from_slice(&0x7fc0u16.to_le_bytes());
    });
    let checkpoint = Checkpoint::open(&place.model.0).unwrap();
    let prompt = Processor::open(&checkpoint).unwrap().plain_prompt("a").unwrap();
    let network = Network::open(&checkpoint).unwrap();
    let error = Generation::begin(&network, &Cpu, &prompt).unwrap().likeliest().unwrap_err();
    assert!(error.to_string().contains("logits after 1 tokens are not finite"), "{error}");
}

/// How many of the golden answers an unoptimised build has time for.
const MOST: usize = if cfg!(debug_assertions) { 2 } else { usize::MAX };

fn golden_answers(kind: &str) -> Option<(PathBuf, Vec<[String; 2]>)> {
    let model = shared("golden/tiny-qwen2_5-vl")?;
    let mut answers: Value =
        serde_json::from_slice(&fs::read(shared("golden/modelopt/generated.json")?).unwrap()).unwrap();
    let answers: Vec<[String; 2]> = serde_json::from_value(answers[kind].take()).unwrap();
    assert!(!answers.is_empty());
    Some((model, answers.into_iter().take(MOST).collect()))
}

fn answers_alike(model: &Path, prompt: impl Fn(&Processor, &str) -> Sample, answers: &[[String; 2]]) {
    let checkpoint = Checkpoint::open(model).unwrap();
    let processor = Processor::open(&checkpoint).unwrap();
    let ends = end_tokens(&checkpoint).unwrap();
    for [asked, expected] in answers {
        let tokens = generated(&checkpoint, &prompt(&processor, asked), &ends, 64);
        assert_eq!(&processor.tokenizer().decode(&tokens, false).unwrap(), expected, "{asked}");
    }
}

#[test]
fn texts_are_continued_as_transformers_does() {
    let Some((model, answers)) = golden_answers("text") else { return };
    answers_alike(&model, |processor, text| processor.plain_prompt(text).unwrap(), &answers);
}

#[test]
fn pictures_are_described_as_transformers_does() {
    let Some((model, answers)) = golden_answers("vlm") else { return };
    let prompt = |processor: &Processor, image: &str| {
        processor.prompt("Describe the image.", Some(&model.join(image))).unwrap()
    };
    answers_alike(&model, prompt, &answers);
}

#[test]
fn a_scheme_of_the_golden_model_describes_a_picture() {
    let Some((model, answers)) = golden_answers("vlm") else { return };
    let Some(manifest) = shared("golden/modelopt/autoquant_all_layers.json") else { return };
    let place = tempfile::tempdir().unwrap();
    let model = Directory::copy(&model, &place.path().join("model"));
    let options = common::options(&model.0, &manifest, &place.path().join("out"));
    let written = export(options, &[50.0], &Silent).unwrap();
    let image = model.file(&answers[0][0]);
    let output = run(
        place.path(),
        &["generate", written[0].directory.to_str().unwrap(), "--image", image.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    println!("{said}");
    assert!(said.starts_with("There is a "), "{said}");
}
