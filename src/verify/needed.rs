//! Files that others name, without which a loader fails or falls back to something else.

use serde_json::Value;

use super::{Code, Problem};
use crate::dialect::CONFIG;
use crate::input::InputKind;
use crate::json;
use crate::model::Model;
use crate::record::FileInDirectory;

/// What makes a tokenizer whole, any of them.
const VOCABULARIES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
];
const TOKENIZER: &str = "tokenizer_config.json";
/// What says how images are prepared, any of them.
const PROCESSORS: [&str; 4] = [
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "image_processor_config.json",
];

/// Files that are missing by what others say.
pub(super) fn check(model: &Model, files: &[FileInDirectory]) -> Vec<Problem> {
    let has = |name: &str| files.iter().any(|found| found.name == name);
    let ends =
        |ending: &str| files.iter().any(|found| !found.name.contains('/') && found.name.ends_with(ending));
    let mut problems = Vec::new();
    let mut missing =
        |file: &str, message: String| problems.push(Problem::new(Code::MissingFile, file, message));
    if has(TOKENIZER) {
        let of_code = ends(".tiktoken") || ends(".model") || ends("_tokenizer.py") || has("tekken.json");
        if !VOCABULARIES.iter().any(|name| has(name)) && !of_code && !ends(".py") {
            missing("tokenizer.json", format!("there is a {TOKENIZER} and no vocabulary beside it"));
        } else if has("vocab.json")
            && !has("tokenizer.json")
            && !has("merges.txt")
            && !ends(".py")
            && !ends(".model")
        {
            missing("merges.txt", "there is a vocab.json, and neither merges.txt nor tokenizer.json".into());
        }
        let has_tower = model.config().get("vision_config").is_some_and(Value::is_object);
        if has_tower && !PROCESSORS.iter().any(|name| has(name)) && !ends(".py") {
            let message =
                "config.json has a vision_config, and nothing says how images are prepared".to_string();
            missing(PROCESSORS[0], message);
        }
    }
    for (file, config) in [(CONFIG, Some(model.config().clone())), (TOKENIZER, read(model, TOKENIZER))] {
        let Some(config) = config else { continue };
        for module in code_modules(&config) {
            let code = format!("{module}.py");
            if !has(&code) {
                missing(&code, format!("`{code}` is missing, and auto_map of {file} names it"));
            }
        }
    }
    let folders = read(model, "modules.json");
    for path in
        folders.iter().filter_map(Value::as_array).flatten().filter_map(|entry| entry["path"].as_str())
    {
        if !path.is_empty() && !model.directory().join(path).is_dir() {
            missing(path, format!("the folder `{path}` is missing, and modules.json names it"));
        }
    }
    problems
}

fn read(model: &Model, name: &str) -> Option<Value> {
    let path = model.directory().join(name);
    path.is_file().then(|| json::read(&path, InputKind::Configuration).ok()).flatten()
}

/// The modules of this directory that `auto_map` names.
fn code_modules(config: &Value) -> Vec<String> {
    let mut modules: Vec<String> = Vec::new();
    let values = config["auto_map"].as_object().into_iter().flatten().map(|(_, value)| value);
    let names = values.flat_map(|value| match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
        value => value.as_str().into_iter().collect(),
    });
    // What has `--` in it lies in another repository.
    for name in names.filter(|name| !name.contains("--")) {
        if let Some((module, _)) = name.split_once('.') {
            let module = module.to_string();
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
    }
    modules
}
