//! What vLLM and SGLang make of an `ignore` list of compressed-tensors, where their names are known to differ from those in
//! memory, which Transformers compares with.
//!
//! vLLM asks for every part of a fused layer. SGLang asks for the fused layer by its own name, unless the class of the model
//! says what it is made of; where that class renames entries, it renames plain ones into something that its own layers of
//! the language model are not called. Both leave regular expressions as they are, but for SGLang's `attn.qkv`.

use std::collections::HashSet;

use crate::dialect::engine::Engine;
use crate::dialect::expression::{Expression, ExpressionBudget, Flaw};
use crate::dialect::spelling::Spelling;
use crate::model::{Model, fused_group};

/// Names and patterns of `ignore` or `targets`: `re:` begins a regular expression, which matches from the start.
#[derive(Default)]
pub(super) struct Matcher {
    pub names: Vec<String>,
    set: HashSet<String>,
    patterns: Vec<Expression>,
    /// What Python does not read either.
    pub broken: Vec<String>,
    unknown: Vec<String>,
}

impl Matcher {
    pub fn new<'a>(entries: impl Iterator<Item = &'a str>) -> Self {
        let (mut matcher, mut budget) = (Matcher::default(), ExpressionBudget::default());
        for entry in entries {
            match entry.strip_prefix("re:").map(|pattern| Expression::new(pattern, &mut budget)) {
                None => {
                    matcher.names.push(entry.into());
                    matcher.set.insert(entry.into());
                }
                Some(Ok(expression)) => matcher.patterns.push(expression),
                Some(Err(Flaw::Broken)) => matcher.broken.push(entry.into()),
                Some(Err(Flaw::Unknown)) => matcher.unknown.push(entry.into()),
            }
        }
        matcher
    }

    pub fn matches(&self, name: &str) -> bool {
        self.set.contains(name) || self.patterns.iter().any(|p| p.is_match(name))
    }

    /// Whether it is known what every expression matches, of all names that were asked for.
    pub fn is_understood(&self) -> bool {
        self.unknown.is_empty() && !self.patterns.iter().any(Expression::gave_up)
    }

    /// As SGLang compares: a plain entry is also the end of a name, from one of its dots on.
    fn matches_end(&self, name: &str) -> bool {
        let mut ends = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        self.matches(name) || ends.any(|end| self.set.contains(end))
    }
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
pub(super) struct IgnoreReading {
    pub engine: Engine,
    spelling: Spelling,
    list: Matcher,
    /// Fused layers of which the engine knows the parts.
    explained: &'static [&'static str],
}

impl IgnoreReading {
    /// The readings of `entries` for the model of `checkpoint`: none where it is not known how an engine names its layers.
    pub fn of<'a>(model: &Model, entries: impl Iterator<Item = &'a str> + Clone) -> Vec<IgnoreReading> {
        let architecture = model.architecture();
        let unexplained = || architecture.is_some_and(|name| UNEXPLAINED.contains(&name));
        let vision = Spelling::of_vision_model(architecture);
        let Some(spelling) = vision.or_else(|| unexplained().then_some(Spelling::Text)) else {
            return Vec::new();
        };
        let explained: &[&str] = match architecture {
            Some("Qwen2_5_VLForConditionalGeneration") => &["gate_up_proj"],
            _ => &[],
        };
        let reading = |engine, explained| {
            let entries: Vec<String> = entries.clone().map(|entry| spelling.entry(engine, entry)).collect();
            let list = Matcher::new(entries.iter().map(String::as_str));
            IgnoreReading { engine, spelling, list, explained }
        };
        vec![reading(Engine::Vllm, &["qkv_proj", "gate_up_proj"] as &[_]), reading(Engine::Sglang, explained)]
    }

    /// The name under which the engine looks for the layer that Transformers calls `in_memory`; nothing when it never
    /// quantises that layer, or its name is not known.
    pub fn asks_for(&self, in_memory: &str) -> Option<String> {
        self.spelling.layer(self.engine, in_memory).map(|name| self.fused(&name))
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
