//! How `modules_to_not_convert` is spelled so that every engine reads it as it is meant, and what each makes of a list.
//!
//! No two compare alike: Transformers 5 takes an entry for the beginning of a name in memory, up to a dot, or for its end;
//! Transformers 4 for any part of it; vLLM for the whole of a name of its own, after it has renamed the entry as it renames
//! weights; SGLang for a run of components, with `model.` before it or not. All but vLLM's are met by the whole name in
//! memory, and vLLM's where its renaming knows that name. Where a model is stored under other names than it has in memory,
//! SGLang's layers are called after those on disk, so these stand beside them.
//!
//! vLLM and SGLang ask for the parts of the layers that they fuse, SGLang even for those of a layer that is one tensor on
//! disk. Experts are one module in Transformers 5 and in both others: their entry is the name of the whole.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use regex::{Regex, RegexBuilder};

use crate::dialect::engine::Engine;
use crate::dialect::expression::{ExpressionBudget, Flaw};
use crate::dialect::sglang::name_in_sglang;
use crate::dialect::spelling::Spelling;
use crate::dialect::wholes::{asked_for_as_wholes, unquantised_mixtures};
use crate::error::{Error, Result};
use crate::model::{LM_HEAD, Model, ModuleClass, expert_group};
use crate::plan::Plan;

/// Layers that are one tensor on disk, with the parts by which SGLang looks for them. That is SGLang's own table, and shorter than
/// what the model knows of parts that are fused.
const WHOLES: [(&str, &[&str]); 3] = [
    ("qkv", &["q_proj", "k_proj", "v_proj"]),
    ("qkv_proj", &["q_proj", "k_proj", "v_proj"]),
    ("gate_up_proj", &["gate_proj", "up_proj"]),
];

/// The names of the parts that SGLang asks for in the place of `name`; nothing where it asks for the layer itself.
fn parts(name: &str) -> Option<impl Iterator<Item = String>> {
    let (parent, leaf) = name.rsplit_once('.')?;
    let (_, parts) = WHOLES.iter().find(|(whole, _)| *whole == leaf)?;
    Some(parts.iter().map(move |part| format!("{parent}.{part}")))
}

/// `module`, or the mixture that it is an expert's part of.
fn whole(module: &str) -> String {
    expert_group(module).map_or_else(|| module.into(), |(parent, experts)| format!("{parent}.{experts}"))
}

/// The linear layers of `plan` that stay in BF16, and the output head, which loaders must be told about even where it is tied
/// and not stored.
pub(super) fn entries(model: &Model, plan: &Plan) -> Vec<String> {
    let mut listed = HashSet::new();
    let mut entries = Vec::new();
    let mut add = |entry: String| {
        if listed.insert(entry.clone()) {
            entries.push(entry);
        }
    };
    let modules = model.modules();
    let is_stack = |module: &str| modules.class(module) == Some(ModuleClass::Experts);
    for module in plan.listed(model).filter(|module| *module != LM_HEAD && !is_stack(module)) {
        let in_memory: Vec<String> = modules.names_in_memory(module).iter().map(|name| whole(name)).collect();
        let in_sglang = name_in_sglang(model, module);
        let of_parts: Vec<String> =
            in_memory.iter().chain(&in_sglang).flat_map(|name| parts(name)).flatten().collect();
        in_memory.into_iter().for_each(&mut add);
        add(whole(module));
        of_parts.into_iter().for_each(&mut add);
        in_sglang.into_iter().for_each(&mut add);
    }
    unquantised_mixtures(model, plan).into_iter().flat_map(|mixture| mixture.names).for_each(&mut add);
    asked_for_as_wholes(model, plan).into_iter().for_each(&mut add);
    model.modules().shared_tails().map(str::to_string).for_each(&mut add);
    model.modules().tied_heads().iter().cloned().for_each(&mut add);
    add(LM_HEAD.into());
    entries
}

/// How an engine compares an entry with the name of a layer.
enum Comparison {
    /// The beginning up to a dot, as a regular expression too, or the end.
    Beginning(Vec<Regex>),
    /// Any part of it; nothing for an empty list.
    Part(Option<Regex>),
    /// The whole, and of experts the mixture that an entry is a part of.
    Whole,
    /// A run of components.
    Run,
}

/// The reading of one list by one engine.
pub(super) struct NotConvertedReading {
    /// The engine.
    pub engine: Engine,
    /// What it is called in sentences.
    pub name: &'static str,
    spelling: Spelling,
    comparison: Comparison,
    entries: HashSet<String>,
    /// Those among them that name experts.
    of_experts: Vec<String>,
    /// What was found of a mixture: every expert asks for the same one.
    mixtures: RefCell<HashMap<String, bool>>,
}

impl NotConvertedReading {
    /// How each engine reads `entries` for `model`, Transformers 5 first; those of vLLM and SGLang where it is known how they
    /// name its layers.
    pub fn of(model: &Model, entries: &[&str]) -> Vec<NotConvertedReading> {
        let in_memory: Vec<String> = entries.iter().map(|entry| in_memory(model, entry)).collect();
        let expressions = in_memory.iter().filter(|entry| !is_plain(entry));
        let mut budget = ExpressionBudget::default();
        // What is no expression for Python either would make Transformers fail; `broken` names it.
        let expressions = expressions.filter_map(|entry| beginning(entry, &mut budget).ok()).collect();
        let any: Vec<String> = entries.iter().map(|entry| regex::escape(entry)).collect();
        let part = RegexBuilder::new(&any.join("|")).size_limit(1 << 30).build().ok();
        let reading = |engine, name, spelling, comparison, entries: Vec<String>| NotConvertedReading {
            engine,
            name,
            spelling,
            comparison,
            of_experts: entries.iter().filter(|entry| entry.contains("experts")).cloned().collect(),
            entries: entries.into_iter().collect(),
            mixtures: RefCell::default(),
        };
        let own = || entries.iter().map(|entry| entry.to_string());
        let mut readings = vec![
            reading(
                Engine::Transformers,
                "Transformers 5",
                Spelling::Text,
                Comparison::Beginning(expressions),
                in_memory,
            ),
            reading(
                Engine::Transformers,
                "Transformers 4",
                Spelling::Text,
                Comparison::Part(part.filter(|_| !entries.is_empty())),
                own().collect(),
            ),
        ];
        if let Some(spelling) = spelling(model) {
            let as_read = |engine, entry: &str| spelling.entry(engine, entry);
            let vllm = own().map(|entry| as_read(Engine::Vllm, &entry));
            let sglang = own().flat_map(|entry| {
                let bare = entry.strip_prefix("model.").unwrap_or(&entry);
                [bare.to_string(), format!("model.{bare}")]
            });
            let sglang = sglang.map(|entry| as_read(Engine::Sglang, entry.trim_end_matches('.')));
            let (vllm, sglang) = (vllm.collect(), sglang.collect());
            readings.push(reading(Engine::Vllm, Engine::Vllm.name(), spelling, Comparison::Whole, vllm));
            readings.push(reading(Engine::Sglang, Engine::Sglang.name(), spelling, Comparison::Run, sglang));
        }
        readings
    }

    /// Whether the engine leaves the layer alone that Transformers 4 calls `in_memory`; nothing when it never quantises that
    /// layer, or its name is not known.
    pub fn ignores(&self, in_memory: &str) -> Option<bool> {
        let name = self.spelling.layer(self.engine, in_memory)?;
        Some(match &self.comparison {
            Comparison::Beginning(expressions) => {
                let name = whole(&name);
                let ends = name.match_indices('.').flat_map(|(at, _)| [at, at + 1]).chain([name.len()]);
                ends.map(|end| &name[..end]).any(|part| self.entries.contains(part))
                    || name.char_indices().any(|(at, _)| self.entries.contains(&name[at..]))
                    || expressions.iter().any(|expression| expression.is_match(&name))
            }
            Comparison::Part(part) => part.as_ref().is_some_and(|part| part.is_match(&name)),
            Comparison::Whole => self.entries.contains(&name) || self.names_mixture_of(&name),
            Comparison::Run => match parts(&name) {
                Some(mut parts) => parts.all(|part| self.has_run(&part)),
                None => self.has_run(&name) || self.names_mixture_of(&name),
            },
        })
    }

    /// Whether an entry names the mixture that `name` is an expert's part of, or anything in it.
    fn names_mixture_of(&self, name: &str) -> bool {
        let whole = whole(name);
        if whole == name {
            return false;
        }
        let mut mixtures = self.mixtures.borrow_mut();
        let is_named = || self.of_experts.iter().any(|entry| entry.contains(&whole));
        *mixtures.entry(whole.clone()).or_insert_with(is_named)
    }

    /// Whether an entry is a run of components of `name`.
    fn has_run(&self, name: &str) -> bool {
        let name = whole(name);
        let starts = || [0].into_iter().chain(name.match_indices('.').map(|(at, _)| at + 1));
        let ends = || name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
        starts().any(|from| ends().any(|to| from < to && self.entries.contains(&name[from..to])))
    }
}

/// Whether the entry is a name as well as an expression.
pub(super) fn is_plain(entry: &str) -> bool {
    entry.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The entry as a regular expression for the beginning of a name, which takes of `budget`.
///
/// # Errors
/// Those of [`ExpressionBudget::linear`].
pub(super) fn beginning(entry: &str, budget: &mut ExpressionBudget) -> std::result::Result<Regex, Flaw> {
    let boundary = if entry.ends_with('.') { "" } else { r"(?:\.|$)" };
    budget.linear(&format!("^(?:{entry}){boundary}"))
}

/// The entry as Transformers 5 renames it, which knows the names on disk too.
fn in_memory(model: &Model, entry: &str) -> String {
    let is_in_memory = ["model.language_model.", "model.visual."].iter().any(|root| entry.starts_with(root));
    if is_in_memory { entry.into() } else { model.modules().in_memory(entry) }
}

/// How vLLM and SGLang name the layers of `model`: as everywhere where it has nothing but a language model.
fn spelling(model: &Model) -> Option<Spelling> {
    Spelling::of_vision_model(model.architecture()).or_else(|| {
        let is_language = |module: &str| module.starts_with("model.layers.") || module == "lm_head";
        model.modules().linears().all(is_language).then_some(Spelling::Text)
    })
}

/// Fails when an engine would take an FP8 layer for one of those that stay in BF16.
///
/// # Errors
/// [`Error::Refused`] naming the layer and the engine.
pub(super) fn require_distinct(model: &Model, plan: &Plan) -> Result<()> {
    let entries = entries(model, plan);
    let readings = NotConvertedReading::of(model, &entries.iter().map(String::as_str).collect::<Vec<_>>());
    for module in plan.formats.keys() {
        let name = model.modules().in_memory(module);
        if let Some(reading) = readings.iter().find(|reading| reading.ignores(&name) == Some(true)) {
            let problem = format!(
                "`{module}` is in FP8, and {} takes it for a layer in BF16 whose name is much the same",
                reading.name
            );
            return Err(Error::refused(problem)
                .with_hint("give both the same format, or choose --dialect compressed-tensors"));
        }
    }
    Ok(())
}
