//! What the modules of an architecture are: recorded from Transformers and vLLM, not guessed from names.
//!
//! The file is looked through once, when something is first asked, and the facts of an architecture are read when it is
//! asked for. `tests/conformance/record_architectures.py` writes them.

use std::collections::HashMap;

use serde_json::Value;

use super::pattern::{after, filled, fold, numbers, replaced};
use super::place::Tower;
use super::recorded::{Engine, Facts, INDEX, Kind, Mixture, lines};
use crate::words::words;

words! {
    /// A line of Transformers: they differ in what modules are called in memory.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Line: "line of Transformers" {
        /// Transformers 4.57.
        V4 = "4",
        /// Transformers 5.
        V5 = "5",
    }
}

/// What a module or a bare parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A linear layer whose weight is [out, in].
    Linear,
    /// A table of embeddings.
    Embedding,
    /// A convolution of any rank.
    Convolution,
    /// What chooses experts, or weighs them.
    Router,
    /// The output head.
    Head,
    /// The matrices of several experts in one tensor, or one on disk that becomes a part of such in memory.
    Experts,
    /// A linear layer whose weight is [in, out], as GPT-2 has them.
    Transposed,
    /// Anything else: norms, bare parameters.
    Other,
}

/// An architecture whose modules are known.
#[derive(Debug)]
pub struct Architecture {
    name: &'static str,
    lines: Vec<Line>,
    rows: Vec<Row>,
    /// The spellings of rows on disk, by their folded names.
    names: HashMap<String, Vec<Name>>,
    ties: Vec<Vec<String>>,
    stacks: Vec<String>,
    towers: HashMap<String, Tower>,
    ignored: Vec<String>,
    experts: Vec<Mixture>,
    engine: Option<Engine>,
}

/// A row of the table: what each line makes of it, and calls it in memory.
#[derive(Debug)]
struct Row {
    kinds: [Option<Kind>; Line::ALL.len()],
    memory: [Vec<String>; Line::ALL.len()],
}

/// A spelling of a row, with the lines that load it.
#[derive(Debug)]
struct Name {
    pattern: String,
    row: usize,
    lines: Vec<Line>,
}

impl Architecture {
    /// The architecture of a checkpoint, by its `config.json`: `architectures` first, then `model_type`, then both in the
    /// configuration of its language model.
    pub fn of_config(config: &Value) -> Option<&'static Architecture> {
        let text = |config: &'_ Value, key: &str| config.get(key).and_then(Value::as_str).map(str::to_string);
        let model_type = text(config, "model_type");
        let classes = config.get("architectures").and_then(Value::as_array);
        let by_class = classes.into_iter().flatten().filter_map(Value::as_str).find_map(|class| {
            let with_type = model_type.as_deref().and_then(|t| INDEX.get(&format!("{class}/{t}")));
            with_type.or_else(|| INDEX.get(class))
        });
        let by_type = || model_type.as_deref().and_then(|t| INDEX.get(&format!("/{t}")));
        by_class.or_else(by_type).or_else(|| {
            ["text_config", "llm_config"]
                .iter()
                .filter_map(|key| config.get(key))
                .find_map(Architecture::of_config)
        })
    }

    /// The architecture of the class `name`, e.g. `LlamaForCausalLM`.
    pub fn named(name: &str) -> Option<&'static Architecture> {
        INDEX.get(name)
    }

    /// The name of its class.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The lines of Transformers that know it.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What the module or tensor `on_disk` is, in any spelling that a line loads. The names of tensors are `….weight` and
    /// `….bias`, or those of bare parameters.
    pub fn module<'a>(&'a self, on_disk: &'a str) -> Option<Module<'a>> {
        let module = |name: &'a str| {
            let found = self.names.get(&fold(name))?;
            found.iter().find_map(|spelling| {
                let numbers = numbers(&spelling.pattern, name)?;
                Some(Module { architecture: self, spelling, numbers })
            })
        };
        let owner = || on_disk.strip_suffix(".weight").or_else(|| on_disk.strip_suffix(".bias"));
        module(on_disk).or_else(|| module(owner()?))
    }

    /// The names, with numbers folded, that are one tensor in memory when embeddings are tied.
    pub fn tied(&self) -> &[Vec<String>] {
        &self.ties
    }

    /// The stacks of blocks in memory, as `model.layers.#`.
    pub fn stacks(&self) -> &[String] {
        &self.stacks
    }

    /// Its mixtures of experts.
    pub fn experts(&self) -> &[Mixture] {
        &self.experts
    }

    /// Regular expressions for tensors on disk that Transformers leaves aside, such as those of layers that predict further
    /// tokens.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether vLLM has a class of its own for it.
    pub fn in_vllm(&self) -> bool {
        self.engine.is_some()
    }

    /// What vLLM fuses: the fused name, and the names of its parts. These may be more than a leaf, as `attn.qkv`.
    pub fn fused(&self) -> impl Iterator<Item = (&str, &[String])> {
        let fused = self.engine.iter().flat_map(|engine| &engine.fused);
        fused.map(|(name, parts)| (name.as_str(), parts.as_slice()))
    }

    /// The prefix and the fused name of the group that `module` (in any spelling) is a part of in vLLM.
    pub fn fused_group<'n>(&self, module: &'n str) -> Option<(&'n str, &str)> {
        self.fused().find_map(|(name, parts)| {
            let prefix =
                parts.iter().find_map(|part| module.strip_suffix(part.as_str())?.strip_suffix('.'))?;
            Some((prefix, name))
        })
    }

    /// How vLLM's class calls the `gate`, `up` and `down` matrices of an expert, where its file says so.
    pub fn vllm_expert(&self, part: &str) -> Option<&str> {
        self.engine.as_ref()?.experts.get(part).map(String::as_str)
    }

    /// The name that vLLM gives to what is called `name` on disk, as its class says; nothing where it drops the tensor, or has
    /// no such class.
    pub fn in_vllm_called(&self, name: &str) -> Option<String> {
        let engine = self.engine.as_ref()?;
        let mut name = name.to_string();
        // Each change sees what those before it made of the name.
        for (old, new) in &engine.substr {
            if name.contains(old.as_str()) {
                name = name.replacen(old.as_str(), new.as_deref()?, 1);
            }
        }
        for (old, new) in &engine.prefix {
            if let Some(rest) = name.strip_prefix(old.as_str()) {
                name = format!("{}{rest}", new.as_deref()?);
            }
        }
        for (old, new) in &engine.suffix {
            if let Some(rest) = name.strip_suffix(old.as_str()) {
                name = format!("{rest}{}", new.as_deref()?);
            }
        }
        Some(name)
    }

    /// The architecture `name` with `facts` and what vLLM has of it.
    pub(super) fn of(name: &'static str, facts: &Facts, engine: Option<Engine>) -> Architecture {
        let mut rows = Vec::new();
        let mut names: HashMap<String, Vec<Name>> = HashMap::new();
        let table: Vec<(String, [Option<Kind>; Line::ALL.len()])> = facts.rows().collect();
        let mut add = |pattern: String, row: usize, lines: Vec<Line>| {
            let spellings = names.entry(fold(&pattern)).or_default();
            if !spellings.iter().any(|known| known.pattern == pattern) {
                spellings.push(Name { pattern, row, lines });
            }
        };
        for (row, (pattern, _)) in table.iter().enumerate() {
            add(pattern.clone(), row, lines(&facts.loads));
        }
        for spelling in &facts.spellings {
            for (row, (pattern, _)) in table.iter().enumerate() {
                add(replaced(&spelling.rules, pattern), row, lines(&spelling.lines));
            }
        }
        for (pattern, kinds) in table {
            let memory = Line::ALL.iter().map(|line| match facts.memory.get(line) {
                Some(rules) => replaced(rules, &pattern).split('|').map(str::to_string).collect(),
                None => vec![pattern.clone()],
            });
            let memory: Vec<Vec<String>> = memory.collect();
            rows.push(Row { kinds, memory: memory.try_into().unwrap_or_default() });
        }
        Architecture {
            name,
            lines: lines(&facts.lines),
            rows,
            names,
            ties: facts.ties.clone(),
            stacks: facts.stacks.clone(),
            towers: facts.towers.clone(),
            ignored: facts.ignored.clone(),
            experts: facts.experts.clone(),
            engine,
        }
    }
}

/// A module or bare parameter on disk that an [`Architecture`] knows.
#[derive(Debug, Clone)]
pub struct Module<'a> {
    architecture: &'a Architecture,
    spelling: &'a Name,
    numbers: Vec<&'a str>,
}

impl<'a> Module<'a> {
    fn row(&self) -> &'a Row {
        &self.architecture.rows[self.spelling.row]
    }

    fn kind(&self, line: Line) -> Option<Kind> {
        self.row().kinds[line as usize]
    }

    /// What it is in `line`; nothing where that line does not have it.
    pub fn class(&self, line: Line) -> Option<Class> {
        self.kind(line).map(|kind| kind.class)
    }

    /// The rank of its weight in memory, or of the parameter.
    pub fn rank(&self, line: Line) -> Option<usize> {
        self.kind(line).map(|kind| kind.rank.into())
    }

    /// Whether it is an `nn.Linear` in memory, as routers and heads may be too: what quantisers of Transformers look for.
    pub fn is_linear_module(&self, line: Line) -> bool {
        self.kind(line).is_some_and(|kind| kind.linear)
    }

    /// Whether it is a parameter of its own in memory, and not the `weight` of a module.
    pub fn is_bare(&self, line: Line) -> bool {
        self.kind(line).is_some_and(|kind| kind.bare)
    }

    /// Whether `line` loads it as it is spelled.
    pub fn loads(&self, line: Line) -> bool {
        self.spelling.lines.contains(&line)
    }

    /// What `line` calls it in memory: the module, or the bare parameter that it is or becomes a part of. Several where one
    /// tensor is split; none where the line does not have it.
    pub fn in_memory(&self, line: Line) -> Vec<String> {
        let known = self.kind(line).is_some();
        let templates = self.row().memory[line as usize].iter().filter(|_| known);
        templates.map(|template| filled(template, &self.numbers)).collect()
    }

    /// The folded name that the newest line that knows it gives it in memory.
    fn template(&self) -> Option<&'a str> {
        let line = Line::ALL.iter().rev().find(|line| self.kind(**line).is_some())?;
        self.row().memory[*line as usize].first().map(String::as_str)
    }

    /// The stack of blocks that it is in, and the number of its block.
    pub fn block(&self) -> Option<(&'a str, u64)> {
        let template = self.template()?;
        let stack = self.architecture.stacks.iter().find(|stack| after(template, stack).is_some())?;
        let position = stack.matches('#').count().checked_sub(1)?;
        Some((stack, self.numbers.get(position)?.parse().ok()?))
    }

    /// The part of the model that it is in.
    pub fn tower(&self) -> Tower {
        if Line::ALL.iter().any(|line| self.class(*line) == Some(Class::Head)) {
            return Tower::Head;
        }
        let template = self.template().unwrap_or_default();
        let towers = self.architecture.towers.iter().filter(|(prefix, _)| after(template, prefix).is_some());
        towers.max_by_key(|(prefix, _)| prefix.len()).map_or(Tower::Other, |(_, tower)| *tower)
    }
}
