//! Weights that are stored as [in, out], where no fact tells how they are.

use std::collections::{HashMap, HashSet};

use super::super::fused::fused_group;
use super::super::orientation::{Orientation, block_name, orientation};
use super::super::recorded::ModuleClass;
use super::{LINEAR, ModuleEntry, Modules};

impl Modules {
    /// Takes for what they are weights that are stored as [in, out], as far as `biases` (their lengths by module) and the
    /// model's `hidden` sizes prove it. Of what lies in a block beside such a weight and has no proof of its own it cannot be
    /// told.
    pub(super) fn tell_transposed(&mut self, biases: &HashMap<&str, usize>, hidden: &[usize]) {
        let mut blocks: HashMap<String, Vec<usize>> = HashMap::new();
        let mut has_transposed = HashSet::new();
        for at in 0..self.modules.len() {
            let entry = &mut self.modules[at];
            let Some(sizes) = entry.sizes.filter(|_| entry.class == LINEAR && entry.is_guessed) else {
                continue;
            };
            let block = block_name(&entry.on_disk);
            match orientation(&entry.on_disk, sizes, biases.get(entry.on_disk.as_str()).copied(), hidden) {
                Some(Orientation::OutIn) => (),
                Some(Orientation::InOut) => {
                    entry.class = Some(ModuleClass::Transposed);
                    has_transposed.insert(block.to_string());
                }
                None => blocks.entry(block.to_string()).or_default().push(at),
            }
        }
        let uncertain = blocks.into_iter().filter(|(block, _)| has_transposed.contains(block));
        for at in uncertain.flat_map(|(_, modules)| modules) {
            self.modules[at].class = None;
        }
        // What loaders fuse with one that stays as it is stays too.
        let is_kept = |entry: &&ModuleEntry| matches!(entry.class, None | Some(ModuleClass::Transposed));
        let kept: HashSet<(String, &'static str)> =
            self.modules.iter().filter(is_kept).flat_map(|entry| wholes(&entry.on_disk)).collect();
        for entry in self.modules.iter_mut().filter(|entry| entry.class == LINEAR) {
            if wholes(&entry.on_disk).any(|whole| kept.contains(&whole)) {
                entry.class = None;
            }
        }
    }
}

/// The modules of loaders that the module is a part of.
fn wholes(module: &str) -> impl Iterator<Item = (String, &'static str)> {
    fused_group(module).into_iter().map(|(parent, whole)| (parent.to_string(), whole))
}
