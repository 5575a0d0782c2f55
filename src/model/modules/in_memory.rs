//! Names in memory that are no single module's: what a line of Transformers merges, splits or ties, and bare parameters.

use super::super::known::Module;
use super::super::recorded::ModuleClass;
use super::{Modules, NEWEST_FIRST, newest_class};

impl Modules {
    /// Adds a tensor that is no module's weight: what it is recorded as, and that there is something which owns it.
    pub(super) fn add_bare(&mut self, tensor: &str) {
        let fact = self.architecture.and_then(|architecture| architecture.module(tensor));
        let in_memory =
            |fact: &Module| NEWEST_FIRST.into_iter().flat_map(|line| fact.in_memory(line)).collect();
        let names: Vec<String> = fact.as_ref().map(in_memory).unwrap_or_default();
        let owners =
            names.iter().map(String::as_str).chain([tensor]).filter_map(|name| name.rsplit_once('.'));
        for (owner, _) in owners.filter(|(_, leaf)| *leaf != "bias" && !leaf.contains("scale")) {
            self.bare.entry(owner.to_string()).or_insert(ModuleClass::Other);
        }
        let class = fact.as_ref().and_then(newest_class);
        if let Some(class) = class.filter(|class| *class != ModuleClass::Other) {
            self.bare.extend(names.into_iter().map(|name| (name, class)));
        }
    }

    /// What the newest line that has something of this name in memory makes it of.
    pub(super) fn in_some_line(&self, name: &str) -> &[usize] {
        self.by_memory.iter().find_map(|names| names.get(name)).map_or(&[], Vec::as_slice)
    }

    /// The modules on disk of which a line makes the one called `name` in memory, where they are several.
    pub(in crate::model) fn merged(&self, name: &str) -> Vec<&str> {
        let several = Some(self.in_some_line(name)).filter(|modules| modules.len() > 1);
        several.into_iter().flatten().map(|&at| self.modules[at].on_disk.as_str()).collect()
    }

    /// The module on disk that a line splits, where `name` is that of a part in memory.
    pub fn whole_of(&self, name: &str) -> Option<&str> {
        self.parts.get(name).map(|&at| self.modules[at].on_disk.as_str())
    }

    /// What `name` is, where it is that of a recorded tensor in memory which is no module's weight on disk, or owns such tensors.
    pub(in crate::model) fn bare(&self, name: &str) -> Option<ModuleClass> {
        self.bare.get(name).copied()
    }

    /// Names in memory that are one tensor, also those of the language model within the model.
    pub(in crate::model) fn ties(&self) -> &[Vec<String>] {
        &self.ties
    }

    /// The stacks of experts on disk.
    pub(in crate::model) fn stacks(&self) -> impl Iterator<Item = &str> {
        let stacks = self.modules.iter().filter(|entry| entry.class == Some(ModuleClass::Experts));
        stacks.map(|entry| entry.on_disk.as_str())
    }
}
