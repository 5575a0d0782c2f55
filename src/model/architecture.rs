//! What the modules of an architecture are: recorded from Transformers and vLLM, not guessed from names.
//!
//! The file is looked through once, when something is first asked, and the facts of an architecture are read when it is
//! asked for. `tests/conformance/record_architectures.py` writes them.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

use super::known::{KnownRow, KnownTable, Module, Name};
use super::pattern::{fold, numbers, replaced};
use super::recorded::{DATA, Facts, Kind, Line, Mixture, Owners, VllmFacts, lines};

mod absent;

/// The file, looked through once.
static INDEX: LazyLock<ArchitectureIndex> = LazyLock::new(|| ArchitectureIndex::of(DATA));

/// An architecture whose modules are known.
#[derive(Debug)]
pub struct Architecture {
    name: &'static str,
    lines: Vec<Line>,
    table: KnownTable,
    /// The spellings of rows on disk, by their folded names.
    names: HashMap<String, Vec<Name>>,
    ties: Vec<Vec<String>>,
    kept: Vec<String>,
    ignored: Vec<String>,
    experts: Vec<Mixture>,
    engine: Option<VllmFacts>,
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
                Some(Module { table: &self.table, spelling, numbers })
            })
        };
        let owner = || on_disk.strip_suffix(".weight").or_else(|| on_disk.strip_suffix(".bias"));
        module(on_disk).or_else(|| module(owner()?))
    }

    /// Whether several blocks share the weight of `module`, which is on disk once.
    pub fn is_shared(&self, module: &Module) -> bool {
        let alone = self.ties.iter().filter_map(|group| <&[String; 1]>::try_from(group.as_slice()).ok());
        alone.into_iter().any(|[name]| module.templates().any(|template| template == name))
    }

    /// Whether quantisers of Transformers leave the linear layer alone that is called `in_memory`, without being told.
    pub fn is_left_alone(&self, in_memory: &str) -> bool {
        let begins = |word: &str| {
            in_memory.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.kept.iter().any(|word| in_memory.ends_with(word.as_str()) || begins(word))
    }

    /// The names, with numbers folded, that are one tensor in memory when embeddings are tied.
    pub fn tied(&self) -> &[Vec<String>] {
        &self.ties
    }

    /// The stacks of blocks in memory, as `model.layers.#`.
    pub fn stacks(&self) -> &[String] {
        &self.table.stacks
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
        let stacked = self.engine.iter().flat_map(|engine| &engine.stacked);
        self.packed().chain(stacked.map(|(name, parts)| (name.as_str(), parts.as_slice())))
    }

    /// What vLLM's class says of what it fuses: with these parts its readers of lists find a fused layer. Of what its loader
    /// stacks besides they know nothing.
    pub fn packed(&self) -> impl Iterator<Item = (&str, &[String])> {
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

    /// The name that vLLM gives to what is called `name` on disk or in memory, as its class says; nothing where it has no such
    /// class, or renames by regular expressions, which are not recorded.
    pub fn in_vllm_called(&self, name: &str) -> Option<String> {
        let engine = self.engine.as_ref().filter(|engine| !engine.more)?;
        let mut name = name.to_string();
        // Each change sees what those before it made of the name.
        for (old, new) in &engine.substr {
            if name.contains(old.as_str()) {
                name = name.replacen(old.as_str(), new, 1);
            }
        }
        for (old, new) in &engine.prefix {
            if let Some(rest) = name.strip_prefix(old.as_str()) {
                name = format!("{}{rest}", new);
            }
        }
        for (old, new) in &engine.suffix {
            if let Some(rest) = name.strip_suffix(old.as_str()) {
                name = format!("{rest}{}", new);
            }
        }
        Some(name)
    }

    /// The architecture `name` with `facts` and what vLLM has of it.
    fn of(name: &'static str, facts: &Facts, engine: Option<VllmFacts>) -> Architecture {
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
            rows.push(KnownRow { kinds, memory: memory.try_into().unwrap_or_default() });
        }
        Architecture {
            name,
            lines: lines(&facts.lines),
            table: KnownTable { rows, stacks: facts.stacks.clone(), towers: facts.towers.clone() },
            names,
            ties: facts.ties.clone(),
            kept: facts.kept.clone(),
            ignored: facts.ignored.clone(),
            experts: facts.experts.clone(),
            engine,
        }
    }
}

/// Where the facts of each architecture are in the file.
struct ArchitectureIndex {
    slots: Vec<Slot>,
    /// By class, by `class/type` and by `/type`.
    by_name: HashMap<String, usize>,
    vllm: HashMap<&'static str, &'static str>,
}

struct Slot {
    name: &'static str,
    facts: &'static str,
    architecture: OnceLock<Option<Architecture>>,
}

impl ArchitectureIndex {
    fn of(data: &'static str) -> ArchitectureIndex {
        let mut index =
            ArchitectureIndex { slots: Vec::new(), by_name: HashMap::new(), vllm: HashMap::new() };
        for facts in data.lines().skip(1) {
            let Ok(owners) = serde_json::from_str::<Owners>(facts) else { continue };
            for key in owners.of {
                let Some((name, model_type)) = key.split_once('/') else { continue };
                let slot = index.slots.len();
                index.slots.push(Slot { name, facts, architecture: OnceLock::new() });
                index.by_name.insert(key.to_string(), slot);
                let meant = |some: &Option<Vec<&str>>| some.as_ref().is_none_or(|keys| keys.contains(&key));
                if meant(&owners.names) {
                    index.by_name.insert(name.to_string(), slot);
                }
                if meant(&owners.types) {
                    index.by_name.insert(format!("/{model_type}"), slot);
                }
            }
            index.vllm.extend(owners.vllm.into_iter().map(|name| (name, facts)));
        }
        index
    }

    /// The architecture of a class, of `class/type`, or of `/type`.
    fn get(&self, key: &str) -> Option<&Architecture> {
        let slot = &self.slots[*self.by_name.get(key)?];
        let read = || {
            let engine = self.vllm.get(slot.name).and_then(|facts| serde_json::from_str(facts).ok());
            let facts = serde_json::from_str(slot.facts).ok()?;
            Some(Architecture::of(slot.name, &facts, engine))
        };
        slot.architecture.get_or_init(read).as_ref()
    }
}

#[cfg(test)]
mod tests;
