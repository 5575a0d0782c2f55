//! What vLLM and SGLang make of an `ignore` list of compressed-tensors, where their names are known to differ from those in
//! memory, which Transformers compares with.
//!
//! vLLM asks for every part of a fused layer. SGLang asks for the fused layer by its own name, unless the class of the model
//! says what it is made of; where that class renames entries, it renames plain ones into something that its own layers of
//! the language model are not called. Both leave regular expressions as they are, but for SGLang's `attn.qkv`.

use std::collections::HashSet;

use regex::Regex;

use crate::dialect::engine::Engine;
use crate::model::{Model, bare_name, fused_group};

/// Names and patterns of `ignore` or `targets`: `re:` begins a regular expression, which matches from the start.
#[derive(Default)]
pub(super) struct Matcher {
    pub names: Vec<String>,
    set: HashSet<String>,
    patterns: Vec<Regex>,
    pub broken: Vec<String>,
}

impl Matcher {
    pub fn new<'a>(entries: impl Iterator<Item = &'a str>) -> Self {
        let mut matcher = Matcher::default();
        for entry in entries {
            match entry.strip_prefix("re:") {
                None => {
                    matcher.names.push(entry.into());
                    matcher.set.insert(entry.into());
                }
                Some(pattern) => match Regex::new(&format!("^(?:{pattern})")) {
                    Ok(regex) => matcher.patterns.push(regex),
                    Err(_) => matcher.broken.push(entry.into()),
                },
            }
        }
        matcher
    }

    pub fn matches(&self, name: &str) -> bool {
        self.set.contains(name) || self.patterns.iter().any(|p| p.is_match(name))
    }

    /// As SGLang compares: a plain entry is also the end of a name, from one of its dots on.
    fn matches_end(&self, name: &str) -> bool {
        let mut ends = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        self.matches(name) || ends.any(|end| self.set.contains(end))
    }
}

/// How an engine names the layers of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Below `model.layers`, as everywhere.
    Text,
    /// Qwen2-VL and Qwen2.5-VL.
    Qwen2Vl,
    /// Qwen3-VL; SGLang's vision tower has no quantised layers there.
    Qwen3Vl,
}

/// SGLang's classes of language models that do not say what their fused layers are made of, by its source.
const UNEXPLAINED: [&str; 15] = [
    "CohereForCausalLM",
    "Cohere2ForCausalLM",
    "Glm4ForCausalLM",
    "GraniteForCausalLM",
    "Lfm2ForCausalLM",
    "LlamaForCausalLM",
    "Ministral3ForCausalLM",
    "MistralForCausalLM",
    "Olmo2ForCausalLM",
    "OlmoForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen2MoeForCausalLM",
    "Qwen3ForCausalLM",
    "Starcoder2ForCausalLM",
    "XverseForCausalLM",
];

/// The reading of one list by an engine that has names of its own.
pub(super) struct Reading {
    pub engine: Engine,
    spelling: Spelling,
    list: Matcher,
    /// Fused layers of which the engine knows the parts.
    explained: &'static [&'static str],
}

impl Reading {
    /// The readings of `entries` for the model of `checkpoint`: none where it is not known how an engine names its layers.
    pub fn of<'a>(model: &Model, entries: impl Iterator<Item = &'a str> + Clone) -> Vec<Reading> {
        let architecture = model.architecture();
        let (spelling, explained): (_, &[&str]) = match architecture {
            Some("Qwen2VLForConditionalGeneration") => (Spelling::Qwen2Vl, &[]),
            Some("Qwen2_5_VLForConditionalGeneration") => (Spelling::Qwen2Vl, &["gate_up_proj"]),
            Some("Qwen3VLForConditionalGeneration") => (Spelling::Qwen3Vl, &[]),
            Some(name) if UNEXPLAINED.contains(&name) => (Spelling::Text, &[]),
            _ => return Vec::new(),
        };
        let sglang: Vec<String> = match spelling {
            Spelling::Text => entries.clone().map(str::to_string).collect(),
            Spelling::Qwen2Vl | Spelling::Qwen3Vl => entries.clone().map(renamed_by_sglang).collect(),
        };
        let vllm =
            entries.map(|entry| if entry.starts_with("re:") { entry.into() } else { name_in_vllm(entry) });
        let vllm: Vec<String> = vllm.collect();
        let reading = |engine, entries: Vec<String>, explained| {
            let list = Matcher::new(entries.iter().map(String::as_str));
            Reading { engine, spelling, list, explained }
        };
        vec![
            reading(Engine::Vllm, vllm, &["qkv_proj", "gate_up_proj"] as &[_]),
            reading(Engine::Sglang, sglang, explained),
        ]
    }

    /// The name under which the engine looks for the layer that Transformers calls `in_memory`; nothing when it never
    /// quantises that layer, or its name is not known.
    pub fn asks_for(&self, in_memory: &str) -> Option<String> {
        let inner = bare_name(in_memory);
        let is_language = inner.starts_with("layers.");
        if self.spelling == Spelling::Text {
            let known = in_memory.starts_with("model.layers.");
            return known.then(|| self.fused(in_memory));
        }
        match self.engine {
            Engine::Vllm => Some(name_in_vllm(in_memory)),
            _ if is_language && self.spelling == Spelling::Qwen2Vl => {
                Some(self.fused(&format!("model.{inner}")))
            }
            _ if is_language => Some(self.fused(&format!("model.language_model.{inner}"))),
            _ if inner.starts_with("visual.") && self.spelling == Spelling::Qwen2Vl => {
                Some(self.fused(inner))
            }
            _ => None,
        }
    }

    /// `name`, or that of the fused layer that SGLang has in its place.
    fn fused(&self, name: &str) -> String {
        if self.engine == Engine::Vllm {
            return name.into();
        }
        match fused_group(name) {
            Some((_, whole)) if self.explained.contains(&whole) => name.into(),
            Some((parent, whole)) => format!("{parent}.{whole}"),
            None if name.ends_with(".attn.qkv") => format!("{name}_proj"),
            None => name.into(),
        }
    }

    /// Whether the engine leaves the layer that it calls `name` as it is.
    pub fn ignores(&self, name: &str) -> bool {
        match self.engine {
            Engine::Sglang => self.list.matches_end(name),
            _ => self.list.matches(name),
        }
    }
}

/// vLLM's name of a layer of a model with a vision tower; it renames plain entries likewise.
fn name_in_vllm(in_memory: &str) -> String {
    match in_memory.strip_prefix("model.language_model.") {
        Some(rest) => format!("language_model.model.{rest}"),
        None => match in_memory.strip_prefix("model.visual.") {
            Some(rest) => format!("visual.{rest}"),
            None => in_memory.into(),
        },
    }
}

/// What SGLang's name mapper of Qwen's models with a vision tower makes of an entry, a regular expression among them.
fn renamed_by_sglang(entry: &str) -> String {
    const PREFIXES: [(&str, &str); 4] = [
        ("model.language_model.", "language_model.model."),
        ("model.visual.", "visual."),
        ("lm_head.", "language_model.lm_head."),
        ("model.", "language_model.model."),
    ];
    let entry = entry.replacen("attn.qkv", "attn.qkv_proj", 1);
    let renamed = PREFIXES.iter().find_map(|(from, to)| Some(format!("{to}{}", entry.strip_prefix(from)?)));
    renamed.unwrap_or(entry)
}
