//! What vLLM and SGLang call the layers of a model, and what they make of a name in a list, where that is known to differ
//! from the names in memory, which Transformers compares with. Parts of fused layers have names of their own here; which
//! engine asks for the parts and which for the whole differs from one reader of lists to the next.

use super::engine::Engine;
use crate::model::bare_name;

/// How an engine names the layers of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Below `model.layers`, as everywhere.
    Text,
    /// Qwen2-VL and Qwen2.5-VL.
    Qwen2Vl,
    /// Qwen3-VL; SGLang's vision tower has no quantised layers there.
    Qwen3Vl,
}

impl Spelling {
    /// That of an architecture with a vision tower; nothing where it is not known.
    pub fn of_vision_model(architecture: Option<&str>) -> Option<Self> {
        match architecture? {
            "Qwen2VLForConditionalGeneration" | "Qwen2_5_VLForConditionalGeneration" => {
                Some(Spelling::Qwen2Vl)
            }
            "Qwen3VLForConditionalGeneration" => Some(Spelling::Qwen3Vl),
            _ => None,
        }
    }

    /// What `engine` calls the layer that Transformers calls `in_memory`; nothing when it never quantises that layer, or
    /// its name is not known.
    pub fn layer(self, engine: Engine, in_memory: &str) -> Option<String> {
        let inner = bare_name(in_memory);
        let is_language = inner.starts_with("layers.");
        match (self, engine) {
            (_, Engine::Transformers) => Some(in_memory.into()),
            (Spelling::Text, _) => in_memory.starts_with("model.layers.").then(|| in_memory.into()),
            (_, Engine::Vllm) => Some(name_in_vllm(in_memory)),
            (Spelling::Qwen2Vl, _) if is_language => Some(format!("model.{inner}")),
            (Spelling::Qwen3Vl, _) if is_language => Some(format!("model.language_model.{inner}")),
            (Spelling::Qwen2Vl, _) if inner.starts_with("visual.") => Some(inner.into()),
            _ => None,
        }
    }

    /// What `engine` makes of an entry of a list before it compares; a regular expression begins with `re:`.
    pub fn entry(self, engine: Engine, entry: &str) -> String {
        match (self, engine) {
            (Spelling::Text, _) | (_, Engine::Transformers) => entry.into(),
            (_, Engine::Vllm) if entry.starts_with("re:") => entry.into(),
            (_, Engine::Vllm) => renamed(entry),
            (_, Engine::Sglang) => renamed(&entry.replacen("attn.qkv", "attn.qkv_proj", 1)),
        }
    }
}

/// vLLM's name of a layer of a model with a vision tower.
fn name_in_vllm(in_memory: &str) -> String {
    match in_memory.strip_prefix("model.language_model.") {
        Some(rest) => format!("language_model.model.{rest}"),
        None => match in_memory.strip_prefix("model.visual.") {
            Some(rest) => format!("visual.{rest}"),
            None => in_memory.into(),
        },
    }
}

/// What the name mappers of Qwen's models with a vision tower make of an entry.
fn renamed(entry: &str) -> String {
    const PREFIXES: [(&str, &str); 4] = [
        ("model.language_model.", "language_model.model."),
        ("model.visual.", "visual."),
        ("lm_head.", "language_model.lm_head."),
        ("model.", "language_model.model."),
    ];
    let new = PREFIXES.iter().find_map(|(from, to)| Some(format!("{to}{}", entry.strip_prefix(from)?)));
    new.unwrap_or_else(|| entry.into())
}
