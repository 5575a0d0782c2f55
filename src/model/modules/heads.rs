//! Output heads, where no fact tells what they are.

use std::collections::HashSet;

use super::super::place::block_of;
use super::super::recorded::ModuleClass;
use super::{LINEAR, Modules};

impl Modules {
    /// Takes for output heads what has the sizes of an embedding table and is in no block: whatever it is called, it says how
    /// likely each token is, and loaders may tie it to the table. A table has more rows than columns.
    pub(super) fn tell_heads(&mut self) {
        let tables = self.modules.iter().filter(|entry| entry.class == Some(ModuleClass::Embedding));
        let tables: HashSet<[usize; 2]> =
            tables.filter_map(|entry| entry.sizes).filter(|[rows, columns]| rows > columns).collect();
        let is_outside = |name: &str| block_of(name).is_none();
        for entry in self.modules.iter_mut().filter(|entry| entry.is_guessed && entry.class == LINEAR) {
            if entry.sizes.is_some_and(|sizes| tables.contains(&sizes)) && is_outside(&entry.on_disk) {
                entry.class = Some(ModuleClass::Head);
            }
        }
    }
}
