//! What shards and directories depend on, as hashes: equal keys mean equal bytes.

use std::fmt::Write as _;

use crate::record::Source;
use crate::write::content::{Content, OutputTensor};

/// Changes whenever the same inputs would give other bytes than before.
const CODEC: &str = "qlua 2";

/// The key of a shard or scheme that consists of `tensors` (in any order): their names, forms, dtypes and shapes, which
/// weights share a scale and how they are encoded, and the values of given scales. Weights themselves are not in it: it holds for one
/// source.
pub(crate) fn content_key<'a>(tensors: impl IntoIterator<Item = &'a OutputTensor>) -> String {
    let mut sorted: Vec<&OutputTensor> = tensors.into_iter().collect();
    sorted.sort_by(|a, b| (&a.spec.name, a.form()).cmp(&(&b.spec.name, b.form())));
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{CODEC}\n").as_bytes());
    let mut text = String::new();
    for tensor in sorted {
        let OutputTensor { spec, content } = tensor;
        text.clear();
        let form = tensor.form().id();
        let _ = write!(text, "{:?} {form} {} {:?} ", spec.name, spec.dtype, spec.shape);
        match content {
            Content::InputScale { scale, .. } => {
                let _ = write!(text, "given {:?}", scale.bytes());
            }
            Content::Bytes(_) => text.push_str("unchanged"),
            Content::Cast(tensor) => {
                let _ = write!(text, "cast from {}", tensor.dtype());
            }
            Content::Dequantised { codes, .. } => {
                let _ = write!(text, "dequantised from {}", codes.dtype());
            }
            Content::Codes(member) | Content::WeightScale(member) => {
                let group = &member.group;
                let names: Vec<&String> = group.weights.iter().map(|(name, _)| name).collect();
                let _ = write!(text, "{} of {names:?} {}", member.index, group.encoding);
            }
        }
        text.push('\n');
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The key of everything that a scheme directory is made from: the source, the other files, and the content of its tensors.
/// `files` are hashes of whatever else goes into it.
pub(crate) fn inputs_key(scheme: &str, model: &Source, files: &[String], content: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    let shards = model.shards.iter().map(|s| s.blake3.as_str());
    let files = files.iter().map(String::as_str);
    for part in [scheme, &model.config_sha256, content].into_iter().chain(shards).chain(files) {
        hasher.update(part.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}
