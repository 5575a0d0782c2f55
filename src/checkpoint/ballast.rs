//! What of a source directory does not belong into a checkpoint that is made from it, told by names.

use std::ffi::OsStr;

use super::{HF_QUANT_CONFIG, RECORDS};

/// Endings of files of weights, in the formats of whatever framework.
const WEIGHTS: [&str; 24] = [
    "safetensors",
    "bin",
    "pth",
    "ckpt",
    "gguf",
    "ggml",
    "onnx",
    "onnx_data",
    "h5",
    "keras",
    "msgpack",
    "tflite",
    "pb",
    "ot",
    "nemo",
    "engine",
    "plan",
    "mlmodel",
    "mlpackage",
    "mlmodelc",
    "pdparams",
    "pdiparams",
    "npz",
    "pt",
];
/// Of these endings only files with one of these stems are weights: voices, filter banks and speaker tables have them too.
const SOMETIMES: [(&str, &[&str]); 2] = [
    ("pt", &["model", "pytorch_model", "consolidated", "weights", "optimizer", "scheduler"]),
    ("npz", &["model", "weights"]),
];
/// Folders of weights in other formats, of caches and of the records of training.
const FOLDERS: [&str; 12] = [
    "original",
    "metal",
    "onnx",
    "openvino",
    "coreml",
    "gguf",
    "ggml",
    "__pycache__",
    "runs",
    "wandb",
    "mlruns",
    "logs",
];
/// Beginnings of the names of folders that training leaves.
const FOLDERS_OF_TRAINING: [&str; 2] = ["checkpoint-", "global_step"];
/// Files that training leaves.
const FILES_OF_TRAINING: [&str; 4] =
    ["training_args.bin", "trainer_state.json", "rng_state.pth", "zero_to_fp32.py"];

/// Whether `name` is that of a file of weights, or of their index.
pub(super) fn is_weights(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    if is_index(&name) {
        return true;
    }
    // `model.onnx_data_1`, `model.onnx.data`.
    if name.contains(".onnx_data") || name.contains(".onnx.data") {
        return true;
    }
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let begins = |stems: &[&str]| {
        let rest = |start: &&str| stem.strip_prefix(*start).map(str::to_string);
        stems.iter().filter_map(rest).any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    WEIGHTS.contains(&ending)
        && SOMETIMES.iter().find(|(of, _)| *of == ending).is_none_or(|(_, stems)| begins(stems))
}

/// Whether the lower-case `name` is that of an index of weights, such as `pytorch_model.bin.index.json` or
/// `model.safetensors.index.fp16.json`.
fn is_index(name: &str) -> bool {
    let is_of_weights =
        |before: &str| before.rsplit('.').next().is_some_and(|ending| WEIGHTS.contains(&ending));
    let before =
        name.strip_suffix(".json").and_then(|name| name.split_once(".index").map(|(before, _)| before));
    before.is_some_and(is_of_weights)
}

/// Whether a file or folder of this name is kept for its own tool alone: what begins with a dot, caches, other formats and
/// what training leaves.
pub(super) fn is_ballast(name: &OsStr, is_folder: bool) -> bool {
    let name = name.to_string_lossy();
    let is_of = |folder: &&str| name.eq_ignore_ascii_case(folder);
    name.starts_with('.')
        || match is_folder {
            true => {
                FOLDERS.iter().any(is_of) || FOLDERS_OF_TRAINING.iter().any(|start| name.starts_with(start))
            }
            false => FILES_OF_TRAINING.contains(&&*name) || name.starts_with("events.out.tfevents"),
        }
}

/// Whether a file or folder of this name at the top is made anew for every checkpoint.
pub(super) fn is_made_anew(name: &OsStr) -> bool {
    name == "config.json" || name == RECORDS || name.to_string_lossy().ends_with(HF_QUANT_CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_told_from_what_has_the_same_ending() {
        for weights in [
            "model-00001-of-00002.safetensors",
            "pytorch_model.bin",
            "consolidated.00.pth",
            "consolidated.pt",
            "weights.00.npz",
            "tf_model.h5",
            "Q4_K_M.GGUF",
            "decoder.onnx_data_1",
            "pytorch_model.bin.index.json",
            "model.safetensors.index.fp16.json",
        ] {
            assert!(is_weights(OsStr::new(weights)), "{weights}");
        }
        for other in [
            "voices.pt",
            "modeling.pt",
            "mel_filters.npz",
            "tokenizer.model",
            "vocab.index.json",
            "faiss.index",
            "LICENSE",
        ] {
            assert!(!is_weights(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn caches_other_formats_and_records_of_training_are_ballast() {
        for (name, is_folder) in [
            (".gitattributes", false),
            (".cache", true),
            ("original", true),
            ("checkpoint-500", true),
            ("trainer_state.json", false),
        ] {
            assert!(is_ballast(OsStr::new(name), is_folder), "{name}");
        }
        assert!(!is_ballast(OsStr::new("original"), false) && !is_ballast(OsStr::new("assets"), true));
    }
}
