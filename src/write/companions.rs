//! The files beside the weights: tokenizer, processor, chat template, generation config, and `config.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoint::HF_QUANT_CONFIG;
use crate::error::{Error, Result};

/// Endings of files that models need beside their weights.
const ENDINGS: [&str; 7] = ["json", "jinja", "txt", "model", "tiktoken", "py", "jsonl"];
/// Names without such an ending that travel with a model.
const NAMES: [&str; 2] = ["LICENSE", "NOTICE"];
/// A folder that newer Transformers saves named chat templates in.
const FOLDERS: [&str; 1] = ["additional_chat_templates"];

/// The files of `directory` that every checkpoint made from it needs, as paths relative to it, sorted. Weights, indices,
/// `config.json`, quantisation configurations (also those that only end in `hf_quant_config.json`, of which loaders
/// tolerate one at the top) and model cards are not among them.
///
/// # Errors
/// [`Error::Io`].
pub fn companion_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in list(directory)? {
        let path = directory.join(&name);
        if path.is_dir() {
            if FOLDERS.contains(&name.as_str()) {
                files.extend(list(&path)?.into_iter().map(|inner| Path::new(&name).join(inner)));
            }
            continue;
        }
        let ending = Path::new(&name).extension().and_then(|e| e.to_str()).unwrap_or("");
        let excluded =
            name == "config.json" || name.ends_with(HF_QUANT_CONFIG) || name.ends_with(".index.json");
        if !excluded && (ENDINGS.contains(&ending) || NAMES.contains(&name.as_str())) {
            files.push(PathBuf::from(name));
        }
    }
    files.sort();
    Ok(files)
}

fn list(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io("read", directory, e))?.file_name();
        names.extend(name.into_string().ok().filter(|n| !n.starts_with('.')));
    }
    names.sort();
    Ok(names)
}

/// Copies the content of `from` to `to`, following symlinks; permissions follow the umask, not the source.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    let mut source = fs::File::open(from).map_err(|e| Error::io("read", from, e))?;
    let mut target = fs::File::create_new(to).map_err(|e| Error::io("create", to, e))?;
    std::io::copy(&mut source, &mut target).map_err(|e| Error::io("write", to, e))?;
    Ok(())
}

/// `config.json` byte for byte, with `quantization_config` added as its last entry.
///
/// # Errors
/// [`Error::Format`] when `text` (of `path`) is no JSON object, or has such an entry already.
pub fn with_quantization_config(path: &Path, text: &[u8], value: &Value) -> Result<Vec<u8>> {
    let original: Value = crate::json::parse(path, text)?;
    let Some(fields) = original.as_object() else {
        return Err(Error::format(path, "is not a JSON object"));
    };
    if fields.contains_key("quantization_config") {
        return Err(Error::format(path, "has a `quantization_config` already"));
    }
    let close = text.iter().rposition(|b| *b == b'}').unwrap_or(text.len());
    let body_end = text[..close].iter().rposition(|b| !b.is_ascii_whitespace()).map_or(0, |i| i + 1);
    let indent = indentation(text);
    let block = reindent(&serde_json::to_string_pretty(value).unwrap_or_default(), &indent);
    let mut out = text[..body_end].to_vec();
    if !fields.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(format!("\n{indent}\"quantization_config\": {block}\n").as_bytes());
    out.extend_from_slice(&text[close..]);
    Ok(out)
}

/// The white space before the first key.
fn indentation(text: &[u8]) -> String {
    let first_key = text.iter().position(|b| *b == b'"').unwrap_or(0);
    let line = text[..first_key].iter().rposition(|b| *b == b'\n').map_or(first_key, |i| i + 1);
    let indent = String::from_utf8_lossy(&text[line..first_key]).into_owned();
    if !indent.is_empty() && indent.chars().all(char::is_whitespace) { indent } else { "  ".into() }
}

/// Lines of two-space JSON, each level indented by `step` and the whole moved right by one `step`.
fn reindent(block: &str, step: &str) -> String {
    let mut out = String::new();
    for (number, line) in block.lines().enumerate() {
        let level = (line.len() - line.trim_start().len()) / 2;
        if number > 0 {
            out.push('\n');
            out.push_str(&step.repeat(level + 1));
        }
        out.push_str(line.trim_start());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_rest_of_config_json_stays_byte_for_byte() {
        let text = b"{\n    \"a\": 1e-05,\n    \"b\": {\"c\": [1,2]}\n}\n";
        let added = json!({"ignore": ["x"], "n": null});
        let out = with_quantization_config(Path::new("config.json"), text, &added).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(
            out,
            "{\n    \"a\": 1e-05,\n    \"b\": {\"c\": [1,2]},\n    \"quantization_config\": {\n        \"ignore\": [\n            \"x\"\n        ],\n        \"n\": null\n    }\n}\n"
        );
        let parsed: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(parsed["quantization_config"], added);
    }

    #[test]
    fn one_line_and_empty_objects_work_too() {
        for text in ["{}", "{\"a\":{\"b\":1}}", "{ }"] {
            let out = with_quantization_config(Path::new("c"), text.as_bytes(), &json!({"q": 1})).unwrap();
            let parsed: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(parsed["quantization_config"]["q"], 1);
        }
        assert!(
            with_quantization_config(Path::new("c"), b"{\"quantization_config\":null}", &json!({})).is_err()
        );
    }

    #[test]
    fn weights_and_foreign_configurations_do_not_travel() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "config.json",
            "tokenizer.json",
            "merges.txt",
            "chat_template.jinja",
            "old_hf_quant_config.json",
            "README.md",
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin.index.json",
            "LICENSE",
            ".hidden.json",
        ] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("additional_chat_templates")).unwrap();
        fs::write(dir.path().join("additional_chat_templates/tool.jinja"), "x").unwrap();
        let files = companion_files(dir.path()).unwrap();
        let files: Vec<_> = files.iter().map(|f| f.to_str().unwrap()).collect();
        assert_eq!(
            files,
            [
                "LICENSE",
                "additional_chat_templates/tool.jinja",
                "chat_template.jinja",
                "merges.txt",
                "tokenizer.json"
            ]
        );
    }
}
