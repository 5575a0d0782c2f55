//! The blocks of a checkpoint against each other and against the facts of its architecture, where `config.json` does not tell
//! the shapes.
//!
//! What is recorded of an architecture was seen in one configuration of it, so that a name that is not recorded may well be
//! right, and one that is may have no place in this model. A finding is therefore what sets one block, or one expert, apart from
//! all others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use regex::Regex;
use serde_json::Value;

use super::found::FoundTensors;
use super::tensors::is_judged;
use super::weights::LeftOut;
use crate::dialect::{CONFIG, Code, Problem};
use crate::model::{Architecture, Line, Model, ModuleClass, Tower, fold, is_head};
use crate::units::counted;

/// How many blocks there must be for one to be set apart by the others.
const ENOUGH: usize = 4;

/// One of the blocks of a stack, or of the experts of all of them.
struct Instance<'a> {
    /// The name, such as `model.layers.3.mlp.experts.7`.
    name: &'a str,
    /// What follows it in names of tensors, and whether it is recorded.
    leaves: Vec<(&'a str, bool)>,
}

/// Blocks on disk that follow one another.
#[derive(Default)]
struct StackOnDisk {
    /// Their numbers.
    blocks: BTreeSet<u64>,
    is_language: bool,
}

pub(super) fn check(model: &Model, left_out: &LeftOut) -> Vec<Problem> {
    let Some(architecture) = model.modules().architecture() else { return Vec::new() };
    let aside = Aside::of(model.config(), architecture);
    let stacks = stacks(model, architecture, &aside);
    let mut problems = check_numbers(model.config(), &stacks);
    problems.extend(check_instances(model, architecture, &stacks, &aside, left_out));
    problems.extend(check_transposed(model));
    problems.extend(check_tables(model, architecture, left_out));
    problems
}

/// Whether `tensor` is called `name` after a prefix.
fn is_below(tensor: &str, name: &str) -> bool {
    tensor.strip_suffix(name).is_some_and(|prefix| prefix.ends_with('.'))
}

/// Tables of tokens, without which no language model is one.
fn check_tables(model: &Model, architecture: &Architecture, left_out: &LeftOut) -> Vec<Problem> {
    let has_head = || model.tensors().any(|(name, _)| name.strip_suffix(".weight").is_some_and(is_head));
    if model.ties_word_embeddings() && has_head() {
        return Vec::new();
    }
    // Within another model, whose own architecture is not known, all names have more before them.
    let is_inner = model.architecture() != Some(architecture.name());
    let is_within = |name: &str| is_inner && model.tensors().any(|(tensor, _)| is_below(tensor, name));
    // DeepSeek's own spelling, which Transformers renames while it loads this one (`conversion_mapping.py`), and no other.
    let is_renamed = |name: &str| {
        architecture.name() == "DeepseekV4ForCausalLM"
            && name.ends_with("embed_tokens.weight")
            && model.tensor("embed.weight").is_some()
    };
    let is_there = |name: &str| model.tensor(name).is_some() || is_within(name) || is_renamed(name);
    let missing = architecture.missing_tables(&is_there).into_iter();
    let names = missing.map(|table| format!("{table}.weight")).filter(|name| !left_out.is_reported(name));
    let problem = |name: String| {
        let how = left_out.of(&name).unwrap_or_default();
        let message = format!("`{name}` is missing, and {} has such a table{how}", architecture.name());
        Problem::new(Code::MissingTensor, name, message)
    };
    names.map(problem).collect()
}

/// What Transformers leaves aside: layers that predict further tokens, above all.
struct Aside {
    expressions: Vec<Regex>,
    has_more_blocks: bool,
}

impl Aside {
    fn of(config: &Value, architecture: &Architecture) -> Aside {
        let keys = [Some(config), config.get("text_config"), config.get("llm_config")];
        let keys = keys.into_iter().flatten().filter_map(Value::as_object).flatten();
        let of_more = |key: &str| key.contains("nextn") || key.contains("mtp");
        Aside {
            expressions: architecture.ignored().iter().filter_map(|e| Regex::new(e).ok()).collect(),
            has_more_blocks: keys.into_iter().any(|(key, value)| of_more(key) && value.as_u64() != Some(0)),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.expressions.iter().any(|expression| expression.is_match(name))
            || name.split('.').any(|part| part.contains("mtp") || part.contains("nextn"))
    }
}

/// `name` up to its first number, the number, and what follows.
fn split(name: &str) -> Option<(&str, u64, &str)> {
    let mut from = 0;
    for component in name.split('.') {
        if component.bytes().all(|b| b.is_ascii_digit())
            && let Ok(number) = component.parse()
        {
            let rest = name.get(from + component.len() + 1..)?;
            return Some((name.get(..from.checked_sub(1)?)?, number, rest));
        }
        from += component.len() + 1;
    }
    None
}

/// The recorded stacks of blocks by what is before their numbers on disk.
fn stacks<'a>(
    model: &'a Model,
    architecture: &'a Architecture,
    aside: &Aside,
) -> BTreeMap<&'a str, StackOnDisk> {
    let mut stacks: BTreeMap<&str, StackOnDisk> = BTreeMap::new();
    for (name, _) in model.tensors() {
        let Some((before, number, _)) = split(name) else { continue };
        // One tensor is enough to know a block by.
        if stacks.get(before).is_some_and(|stack| stack.blocks.contains(&number)) || aside.has(name) {
            continue;
        }
        let Some(module) = architecture.module(name) else { continue };
        if module.block().is_some_and(|(_, block)| block == number) {
            let stack = stacks.entry(before).or_default();
            stack.blocks.insert(number);
            stack.is_language |= module.tower() == Tower::Language;
        }
    }
    stacks
}

/// Blocks that are missing between others, and how many there are.
fn check_numbers(config: &Value, stacks: &BTreeMap<&str, StackOnDisk>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, stack) in stacks {
        let Some(&last) = stack.blocks.last() else { continue };
        let gap = (0..last).find(|number| !stack.blocks.contains(number));
        if let Some(gap) = gap {
            let message = format!("`{name}` has a block {last}, and no block {gap}");
            problems.push(Problem::new(Code::Blocks, format!("{name}.{gap}"), message));
        }
    }
    let language: Vec<(&&str, &StackOnDisk)> = stacks.iter().filter(|(_, stack)| stack.is_language).collect();
    let [(name, stack)] = language[..] else { return problems };
    let Some(stated) = stated_blocks(config) else { return problems };
    let found = stack.blocks.last().map_or(0, |last| last.saturating_add(1));
    if found < stated {
        let message = format!("config.json says num_hidden_layers {stated}, and `{name}` has {found} blocks");
        problems.push(Problem::new(Code::Blocks, CONFIG, message));
    }
    problems
}

fn stated_blocks(config: &Value) -> Option<u64> {
    let parts = [config.get("text_config"), config.get("llm_config"), Some(config)];
    parts.into_iter().flatten().find_map(|part| part.get("num_hidden_layers")?.as_u64())
}

/// What one block or expert alone has, or alone lacks.
fn check_instances(
    model: &Model,
    architecture: &Architecture,
    stacks: &BTreeMap<&str, StackOnDisk>,
    aside: &Aside,
    left_out: &LeftOut,
) -> Vec<Problem> {
    let stated = stated_blocks(model.config());
    let mut surplus = FoundTensors::new(Code::UnknownTensor, "are in one block alone");
    let mut missing = FoundTensors::new(Code::MissingTensor, "that all other blocks have are missing");
    let mut beyond = FoundTensors::new(Code::Blocks, "are in blocks beyond those of config.json");
    let mut parents: BTreeMap<(&str, String), BTreeMap<&str, Instance>> = BTreeMap::new();
    for (name, _) in model.tensors() {
        let Some((before, number, rest)) = split(name).filter(|_| is_judged(model, name) && !aside.has(name))
        else {
            continue;
        };
        let Some(stack) = stacks.get(before) else { continue };
        if stack.is_language && stated.is_some_and(|stated| number >= stated) {
            // Layers that predict further tokens stand behind the others.
            if !aside.has_more_blocks {
                let message = format!(
                    "`{name}` is in block {number}, and config.json says num_hidden_layers {}",
                    stated.unwrap_or_default()
                );
                beyond.add(name, message);
            }
            continue;
        }
        let Some((module, _)) = name.rsplit_once('.').filter(|_| rest.contains('.')) else { continue };
        let parent = module.rsplit_once('.').map_or(module, |(parent, _)| parent);
        let Some(leaf) = name.get(parent.len() + 1..) else { continue };
        let kind = kind_of_block(model.config(), number);
        let instances = parents.entry((kind, fold(parent))).or_default();
        let instance =
            instances.entry(parent).or_insert_with(|| Instance { name: parent, leaves: Vec::new() });
        instance.leaves.push((leaf, architecture.module(name).is_some()));
    }
    for instances in parents.into_values().filter(|instances| instances.len() >= ENOUGH) {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (leaf, _) in instances.values().flat_map(|instance| &instance.leaves) {
            *counts.entry(leaf).or_default() += 1;
        }
        let others = instances.len() - 1;
        let shared: Vec<&str> =
            counts.iter().filter(|(_, count)| **count == others).map(|(leaf, _)| *leaf).collect();
        for instance in instances.values() {
            for (leaf, _) in instance.leaves.iter().filter(|(leaf, is_known)| !is_known && counts[leaf] == 1)
            {
                let name = format!("{}.{leaf}", instance.name);
                let message =
                    format!("`{name}` is no tensor of the architecture, and no other block has such a one");
                surplus.add(&name, message);
            }
            // A block of another kind has something of its own, one that has lost a tensor has not.
            if shared.is_empty()
                || instance.leaves.iter().any(|(leaf, is_known)| *is_known && counts[leaf] < others)
            {
                continue;
            }
            let own: HashSet<&str> = instance.leaves.iter().map(|(leaf, _)| *leaf).collect();
            let mut lost: Vec<String> = shared
                .iter()
                .filter(|leaf| !own.contains(*leaf))
                .map(|leaf| format!("{}.{leaf}", instance.name))
                .collect();
            lost.sort();
            for name in
                lost.iter().filter(|name| is_matrix(architecture, name) && !left_out.is_reported(name))
            {
                let how = left_out.of(name).unwrap_or_default();
                missing.add(name, format!("`{name}` is missing, and all others of its kind are there{how}"));
            }
        }
    }
    [missing, surplus, beyond].into_iter().flat_map(FoundTensors::into_problems).collect()
}

/// What `layer_types` says of a block: attention of another kind may have fewer tensors.
fn kind_of_block(config: &Value, number: u64) -> &str {
    let parts = [config.get("text_config"), Some(config)];
    let types = parts.into_iter().flatten().find_map(|part| part.get("layer_types")?.as_array());
    let kind = usize::try_from(number).ok().and_then(|number| types?.get(number)?.as_str());
    kind.unwrap_or_default()
}

/// Whether `name` is the weight of a linear layer. Norms may have no weight in the first block alone.
fn is_matrix(architecture: &Architecture, name: &str) -> bool {
    let module = architecture.module(name).filter(|_| name.ends_with(".weight"));
    let classes = |line: &Line| module.as_ref().and_then(|module| module.class(*line));
    Line::ALL
        .iter()
        .filter_map(classes)
        .any(|class| matches!(class, ModuleClass::Linear | ModuleClass::Experts))
}

/// A matrix that is transposed beside all others of its kind.
fn check_transposed(model: &Model) -> Vec<Problem> {
    let mut kinds: BTreeMap<String, HashMap<&[usize], (usize, &str)>> = BTreeMap::new();
    let matrices =
        model.tensors().filter(|(name, tensor)| tensor.shape().len() == 2 && split(name).is_some());
    for (name, tensor) in matrices.filter(|(name, _)| is_judged(model, name)) {
        kinds.entry(fold(name)).or_default().entry(tensor.shape()).or_insert((0, name)).0 += 1;
    }
    let mut problems = Vec::new();
    for shapes in kinds.values().filter(|shapes| shapes.len() == 2) {
        let one = shapes.iter().find(|(_, (count, _))| *count == 1);
        let others = shapes.iter().find(|(_, (count, _))| *count + 1 >= ENOUGH);
        if let (Some((shape, (_, name))), Some((usual, (count, _)))) = (one, others)
            && shape.iter().rev().eq(usual.iter())
        {
            let others = counted(*count, "other");
            let message =
                format!("`{name}` has shape {shape:?}, and {others} of its kind {usual:?}: it is transposed");
            problems.push(Problem::new(Code::TensorShape, *name, message));
        }
    }
    problems
}
