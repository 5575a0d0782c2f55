//! What a name means that is no module's on disk: something that a line of Transformers merges, splits, stacks or ties while
//! it loads.

use super::fused::{expert_group, unstacked_expert};
use super::modules::Modules;
use super::recorded::ModuleClass;
use super::spelling::canonical;

/// What Transformers ties in every encoder-decoder whose table is called `shared`, also where the model within a model is not
/// recorded.
const SHARED_TABLE: [&str; 3] = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"];

/// What a name in whatever spelling means among the modules on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The module of this name on disk.
    Module(&'a str),
    /// The experts of a mixture or of a stack of them, that are on disk one by one.
    Experts {
        /// Their names on disk.
        modules: Vec<&'a str>,
        /// Whether the mixture is called so on disk. Where it is called so in memory only, it may hold others of them too.
        on_disk: bool,
    },
    /// A mixture whose experts are stacked on disk, or one of them.
    Stacked,
    /// What a line makes of several modules on disk, by their names.
    Merged(Vec<&'a str>),
    /// One of several modules that a line makes of the one of this name on disk.
    Part(&'a str),
    /// What is tied to the module of this name on disk, and stored under that name only.
    Tied(&'a str),
    /// A tensor on disk that is no module's weight, or what owns such tensors and no weight.
    Bare(ModuleClass),
    /// A mixture of which the router is known, and not which of the experts on disk are its own.
    UnknownExperts,
    /// Nothing.
    Nothing,
}

impl Modules {
    /// What `name` means, in whatever spelling.
    pub fn meaning(&self, name: &str) -> Meaning<'_> {
        match (self.meaning_as_spelled(name), unstacked_expert(name)) {
            (Meaning::Nothing, Some(expert)) => self.meaning_as_spelled(&expert),
            (meaning, _) => meaning,
        }
    }

    fn meaning_as_spelled(&self, name: &str) -> Meaning<'_> {
        if let Some(module) = self.on_disk(name) {
            return Meaning::Module(module);
        }
        let experts = self.experts(name);
        if let Some(first) = experts.first() {
            let mixture = expert_group(first).map(|(parent, whole)| canonical(&format!("{parent}.{whole}")));
            let named = canonical(name);
            let on_disk = mixture.is_some_and(|mixture| named.starts_with(&mixture));
            return Meaning::Experts { modules: experts, on_disk };
        }
        if self.is_stacked(name) {
            return Meaning::Stacked;
        }
        let merged = self.merged(name);
        if !merged.is_empty() {
            return Meaning::Merged(merged);
        }
        if let Some(whole) = self.whole_of(name) {
            return Meaning::Part(whole);
        }
        if let Some(class) = self.bare(name) {
            return Meaning::Bare(class);
        }
        if let Some(other) = self.tied_to(name) {
            return Meaning::Tied(other);
        }
        let router = name.strip_suffix(".experts").map(|mixture| format!("{mixture}.gate"));
        match router.filter(|router| self.bare(router) == Some(ModuleClass::Router)) {
            Some(_) => Meaning::UnknownExperts,
            None => Meaning::Nothing,
        }
    }

    /// Whether `name` is that of a mixture whose experts are stacked on disk, on disk or in memory, or one of its experts.
    fn is_stacked(&self, name: &str) -> bool {
        let mixture = expert_group(name).map(|(parent, experts)| format!("{parent}.{experts}"));
        let mixture = canonical(mixture.as_deref().unwrap_or(name));
        let mut stacks = self.stacks();
        self.stacked_mixtures().any(|stacked| canonical(stacked) == mixture)
            || stacks
                .any(|stack| self.mixtures_in_memory(stack).iter().any(|name| canonical(name) == mixture))
    }

    /// The module on disk that `name` is tied to as the architecture, or that of the language model within it, has it.
    fn tied_to(&self, name: &str) -> Option<&str> {
        let recorded = self.ties().iter().map(|group| group.iter().map(String::as_str).collect());
        { recorded }.chain([SHARED_TABLE.to_vec()]).find_map(|group| {
            let root = |tied: &&str| {
                let root = name.strip_suffix(tied)?;
                (root.is_empty() || root.ends_with('.')).then_some(root)
            };
            let root = group.iter().find_map(root)?;
            group.iter().find_map(|other| self.on_disk(&format!("{root}{other}")))
        })
    }
}
