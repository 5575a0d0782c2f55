//! The modules of a checkpoint: what each weight belongs to, and its names elsewhere.
//!
//! Where the architecture is known, its facts say so; otherwise names and shapes do, and in doubt a module stays as it is.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde_json::Value;

use super::architecture::Architecture;
use super::fused::{expert_group, is_in_stack};
use super::kind::class_by_name;
use super::known::Module;
use super::orientation::hidden_sizes;
use super::recorded::{Line, ModuleClass};
use super::spelling::canonical;

mod heads;
mod in_memory;
mod tied;
mod transposed;

/// Lines of Transformers, the newest first.
const NEWEST_FIRST: [Line; 2] = [Line::V5, Line::V4];

/// Where a configuration describes the language model within the model.
const LANGUAGE_MODELS: [&str; 2] = ["text_config", "llm_config"];

const LINEAR: Option<ModuleClass> = Some(ModuleClass::Linear);

/// A module that owns a weight.
#[derive(Debug, Clone)]
struct ModuleEntry {
    on_disk: String,
    /// Nothing where it cannot be told.
    class: Option<ModuleClass>,
    /// The number of dimensions of its weight.
    rank: usize,
    /// Rows and columns, where it has two dimensions.
    sizes: Option<[usize; 2]>,
    /// Whether its architecture says nothing of it.
    is_guessed: bool,
    /// Whether several blocks share its weight.
    is_shared: bool,
}

impl ModuleEntry {
    fn is_built_as_linear(&self) -> bool {
        let classes = [ModuleClass::Linear, ModuleClass::Router, ModuleClass::Head];
        self.rank == 2 && self.class.is_some_and(|class| classes.contains(&class))
    }
}

/// The modules of a checkpoint in on-disk spelling, found by any spelling.
#[derive(Debug, Clone, Default)]
pub struct Modules {
    modules: Vec<ModuleEntry>,
    /// Their names on disk.
    by_name: HashMap<String, usize>,
    /// Their other names in memory, line by line as in [`NEWEST_FIRST`]; several modules where a line makes one of them.
    by_memory: [HashMap<String, Vec<usize>>; NEWEST_FIRST.len()],
    /// What a line makes of one of them that it splits.
    parts: HashMap<String, usize>,
    /// Names of what has tensors and no weight: recorded tensors in memory, and the owners of others.
    bare: HashMap<String, ModuleClass>,
    /// Names in memory that are one tensor, also those of the language model within the model.
    ties: Vec<Vec<String>>,
    /// What all spellings share; nothing where that is not one module's.
    by_canonical: HashMap<String, Option<usize>>,
    architecture: Option<&'static Architecture>,
    /// Output heads that are in memory only.
    tied_heads: Vec<String>,
    bare_vision_root: bool,
    /// Worked out when a manifest first speaks of a mixture.
    experts: OnceLock<HashMap<String, Vec<usize>>>,
}

impl Modules {
    /// Collects the modules that own a weight among `tensors` (on-disk name and shape, in file order), with what is known
    /// of the architecture that `config` names. Stacks of experts are bare parameters and count as modules.
    pub fn new<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>, config: &Value) -> Self {
        let architecture = Architecture::of_config(config);
        let inner = LANGUAGE_MODELS.iter().filter_map(|key| Architecture::of_config(config.get(key)?));
        let ties = architecture.into_iter().chain(inner).flat_map(|of| of.tied().iter().cloned()).collect();
        let mut names = Modules { architecture, ties, ..Modules::default() };
        let mut has_wrapped_layers = false;
        let mut biases = HashMap::new();
        for (tensor, shape) in tensors {
            if let (Some(module), &[length]) = (tensor.strip_suffix(".bias"), shape) {
                biases.insert(module, length);
            }
            let owner = tensor.strip_suffix(".weight");
            if owner.is_none() {
                names.add_bare(tensor);
            }
            let Some(on_disk) = owner.or_else(|| (shape.len() == 3).then_some(tensor)) else { continue };
            names.bare_vision_root |= on_disk.starts_with("visual.");
            has_wrapped_layers |= on_disk.starts_with("model.layers.");
            names.add(tensor, on_disk, shape);
        }
        // The hub spelling of Qwen2-VL and Qwen2.5-VL, which Transformers renames while loading.
        names.bare_vision_root &= has_wrapped_layers;
        names.tell_heads();
        names.tell_transposed(&biases, &hidden_sizes(config));
        names.tied_heads = names.find_tied_heads(config);
        names
    }

    fn add(&mut self, tensor: &str, on_disk: &str, shape: &[usize]) {
        let at = self.modules.len();
        let fact = self.architecture.and_then(|architecture| architecture.module(tensor));
        let class = match fact.as_ref().and_then(newest_class) {
            // One of those that the newest line stacks while it loads them.
            Some(ModuleClass::Experts) if shape.len() == 2 => Some(ModuleClass::Linear),
            Some(class) => Some(class),
            None => class_by_name(on_disk, shape),
        };
        // A linear layer that is never run as one: engines may build it all the same.
        let is_odd_linear = class == Some(ModuleClass::Other)
            && fact.as_ref().is_some_and(|fact| Line::ALL.iter().any(|line| fact.is_linear_module(*line)));
        let class = class.filter(|_| !is_odd_linear);
        // A surplus tensor of another shape than the architecture has is none of its linear layers.
        let class = if class == Some(ModuleClass::Linear) && shape.len() != 2 {
            Some(ModuleClass::Other)
        } else {
            class
        };
        let is_shared = match (self.architecture, &fact) {
            (Some(known), Some(fact)) => class == LINEAR && known.is_shared(fact),
            _ => false,
        };
        // One weight with several names in memory: loaders quantise what they find under each.
        let class = class.filter(|_| !is_shared);
        let is_guessed = fact.is_none();
        let in_memory = |line| fact.as_ref().map(|fact| fact.in_memory(line)).unwrap_or_default();
        let in_memory: Vec<Vec<String>> = NEWEST_FIRST.into_iter().map(in_memory).collect();
        for (line, names) in in_memory.iter().enumerate() {
            match names.as_slice() {
                // A name that newer lines have too is found there.
                [name] if name != on_disk && !in_memory[..line].contains(names) => {
                    self.by_memory[line].entry(name.clone()).or_default().push(at);
                }
                [] | [_] => (),
                parts => self.parts.extend(parts.iter().map(|part| (part.clone(), at))),
            }
        }
        self.by_name.insert(on_disk.to_string(), at);
        self.by_canonical.entry(canonical(on_disk)).and_modify(|known| *known = None).or_insert(Some(at));
        let sizes = if let &[rows, columns] = shape { Some([rows, columns]) } else { None };
        self.modules.push(ModuleEntry {
            on_disk: on_disk.to_string(),
            class,
            rank: shape.len(),
            sizes,
            is_guessed,
            is_shared,
        });
    }

    /// What is known of the architecture; nothing where it is not.
    pub fn architecture(&self) -> Option<&'static Architecture> {
        self.architecture
    }

    /// The on-disk name of the module that `name` means, in whatever spelling; a name that is spelled out on disk means that
    /// module and no other.
    pub fn on_disk(&self, name: &str) -> Option<&str> {
        self.at(name).map(|at| self.modules[at].on_disk.as_str())
    }

    fn at(&self, name: &str) -> Option<usize> {
        match self.spelled(name) {
            None if self.in_some_line(name).is_empty() => {
                self.by_canonical.get(&canonical(name)).copied().flatten()
            }
            found => found,
        }
    }

    /// The module that is called exactly so, on disk or in memory.
    fn spelled(&self, name: &str) -> Option<usize> {
        let in_memory = || if let [at] = self.in_some_line(name) { Some(*at) } else { None };
        self.by_name.get(name).copied().or_else(in_memory)
    }

    /// The name that Transformers gives the module in memory, for an on-disk name: what compressed-tensors lists use. That of
    /// the newest line where lines differ; for an expert that it stacks, what the expert was called before.
    pub fn in_memory(&self, on_disk: &str) -> String {
        self.names_in_memory(on_disk).swap_remove(0)
    }

    /// The names that the lines of Transformers give the module in memory, the newest first; at least one.
    pub fn names_in_memory(&self, on_disk: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if let Some(module) = self.fact(on_disk) {
            for line in NEWEST_FIRST {
                let is_stacked = module.class(line) == Some(ModuleClass::Experts) && self.is_linear(on_disk);
                for name in module.in_memory(line) {
                    if !is_stacked && !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        if names.is_empty() {
            names.push(self.guessed_in_memory(on_disk));
        }
        names
    }

    /// What vLLM calls the module, where its class of the architecture is recorded.
    pub fn in_vllm(&self, on_disk: &str) -> Option<String> {
        self.architecture?.in_vllm_called(on_disk)
    }

    fn fact<'a>(&'a self, on_disk: &'a str) -> Option<Module<'a>> {
        self.architecture?.module(on_disk)
    }

    fn guessed_in_memory(&self, on_disk: &str) -> String {
        if !self.bare_vision_root {
            return on_disk.to_string();
        }
        match on_disk.strip_prefix("model.") {
            Some(rest) => format!("model.language_model.{rest}"),
            None if on_disk.starts_with("visual.") => format!("model.{on_disk}"),
            None => on_disk.to_string(),
        }
    }

    /// Every linear layer that can be quantised, in on-disk spelling and file order: no head, router or table, and nothing of
    /// which it cannot be told.
    pub fn linears(&self) -> impl Iterator<Item = &str> {
        let linears = self.modules.iter().filter(|entry| entry.class == Some(ModuleClass::Linear));
        linears.map(|entry| entry.on_disk.as_str())
    }

    /// Every two-dimensional weight that loaders may build as a linear layer, in file order: linear layers, routers and
    /// heads.
    pub fn built_as_linears(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter(|entry| entry.is_built_as_linear()).map(|entry| entry.on_disk.as_str())
    }

    /// Whether the module, by its name on disk or in memory, is one of [`Modules::built_as_linears`].
    pub fn is_built_as_linear(&self, on_disk: &str) -> bool {
        self.spelled(on_disk).is_some_and(|at| self.modules[at].is_built_as_linear())
    }

    /// Every module that loaders must be told about when it stays as it is, in file order: [`Modules::built_as_linears`] and
    /// what may be one. Of an unknown architecture that is whatever has two or three dimensions.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        let is_known = self.architecture.is_some();
        let is_one = move |entry: &&ModuleEntry| match entry.class {
            Some(ModuleClass::Linear | ModuleClass::Router | ModuleClass::Head | ModuleClass::Transposed) => {
                entry.rank == 2
            }
            Some(ModuleClass::Experts) => true,
            Some(ModuleClass::Embedding | ModuleClass::Convolution | ModuleClass::Other) => {
                !is_known && matches!(entry.rank, 2 | 3)
            }
            None => true,
        };
        self.modules.iter().filter(is_one).map(|entry| entry.on_disk.as_str())
    }

    /// The mixtures whose experts are stacked on disk: names below which the stacks are, such as `model.layers.0.mlp.experts`.
    pub fn stacked_mixtures(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        self.stacks().map(mixture_of).filter(move |mixture| seen.insert(*mixture))
    }

    /// The names in memory of the stack that the expert or stack `on_disk` is in, in any line that stacks it.
    pub fn stacks_in_memory(&self, on_disk: &str) -> Vec<String> {
        let Some(fact) = self.fact(on_disk) else { return Vec::new() };
        let stacking = |line: &Line| fact.class(*line) == Some(ModuleClass::Experts);
        NEWEST_FIRST.into_iter().filter(stacking).flat_map(|line| fact.in_memory(line)).collect()
    }

    /// The names in memory of the mixture that the expert or stack `on_disk` is in, in any line.
    pub fn mixtures_in_memory(&self, on_disk: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for stack in self.stacks_in_memory(on_disk) {
            let mixture = mixture_of(&stack);
            if !names.iter().any(|name| name == mixture) {
                names.push(mixture.to_string());
            }
        }
        names
    }

    /// The experts, one by one, that `name` means where it is that of a mixture (`….mlp.experts`) or of a stack that a
    /// line makes of them (`….mlp.experts.gate_up_proj`), on disk or in memory; empty where it is neither.
    pub fn experts(&self, name: &str) -> Vec<&str> {
        let experts = self.experts.get_or_init(|| self.find_experts());
        let found = |name: &str, part: &dyn Fn(&str) -> bool| -> Vec<&str> {
            let at = experts.get(&canonical(name)).into_iter().flatten();
            let names = at.map(|&at| self.modules[at].on_disk.as_str());
            names.filter(|on_disk| part(on_disk.rsplit('.').next().unwrap_or(on_disk))).collect()
        };
        let whole = found(name, &|_| true);
        if !whole.is_empty() {
            return whole;
        }
        let Some((mixture, stack)) = name.rsplit_once('.') else { return whole };
        found(mixture, &|leaf| is_in_stack(leaf, stack))
    }

    /// The experts of each mixture, by what all spellings of its names share.
    fn find_experts(&self) -> HashMap<String, Vec<usize>> {
        let mut experts: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, entry) in self.modules.iter().enumerate() {
            let Some((parent, whole)) = expert_group(&entry.on_disk).filter(|_| entry.class == LINEAR) else {
                continue;
            };
            let on_disk = canonical(&format!("{parent}.{whole}"));
            for name in self.mixtures_in_memory(&entry.on_disk) {
                let in_memory = canonical(&name);
                if in_memory != on_disk {
                    experts.entry(in_memory).or_default().push(at);
                }
            }
            experts.entry(on_disk).or_default().push(at);
        }
        experts
    }

    /// What the module is, by its name on disk or in memory; nothing where it cannot be told, or there is no such module.
    pub fn class(&self, on_disk: &str) -> Option<ModuleClass> {
        self.spelled(on_disk).and_then(|at| self.modules[at].class)
    }

    /// Whether the on-disk module is a linear layer that can be quantised.
    pub fn is_linear(&self, on_disk: &str) -> bool {
        self.class(on_disk) == Some(ModuleClass::Linear)
    }
}

/// What the newest line that knows `module` takes it for.
fn newest_class(module: &Module) -> Option<ModuleClass> {
    let classes: Vec<ModuleClass> = NEWEST_FIRST.into_iter().filter_map(|line| module.class(line)).collect();
    // Bare parameters in the newest line may be modules before it.
    let is_telling = |class: &&ModuleClass| **class != ModuleClass::Other;
    classes.iter().find(is_telling).or(classes.first()).copied()
}

/// The mixture that the stack `on_disk` belongs to.
fn mixture_of(on_disk: &str) -> &str {
    on_disk.rsplit_once('.').map_or(on_disk, |(mixture, _)| mixture)
}

#[cfg(test)]
mod tests;
