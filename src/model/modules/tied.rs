//! Weights that have other names in memory than on disk, or more: tied heads, shared blocks, and what is spared by its name.

use std::collections::HashSet;

use serde_json::Value;

use super::super::architecture::Architecture;
use super::Modules;

/// Layers of T5 that Transformers keeps in F32, also inside composite models; it is in no mapping of which facts are recorded.
const OF_T5: &str = ".DenseReluDense.wo";
/// Where the configuration of a composite model of an encoder and a decoder has its decoder, which is called so in memory too.
const DECODER: &str = "decoder";

impl Modules {
    /// The output heads in memory that are not on disk: those of the architecture, and of the decoder that a composite model
    /// was put together with.
    pub(super) fn find_tied_heads(&self, config: &Value) -> Vec<String> {
        let is_there = |name: &str| self.by_name.contains_key(name);
        let own =
            self.architecture.into_iter().flat_map(|known| known.absent_heads(&is_there)).map(str::to_string);
        let decoder = config.get(DECODER).filter(|part| part.is_object()).and_then(Architecture::of_config);
        let inner = |name: &str| format!("{DECODER}.{name}");
        let of_decoder =
            decoder.into_iter().flat_map(|known| known.absent_heads(&|name| is_there(&inner(name))));
        own.chain(of_decoder.map(inner)).collect()
    }

    /// The names in memory of output heads that are tied to a table and not on disk, beside `lm_head`: Transformers makes
    /// linear layers of them and has to be told to leave them alone.
    pub fn tied_heads(&self) -> &[String] {
        &self.tied_heads
    }

    /// Whether quantisers of Transformers leave the on-disk module alone without being told, under a name that it has there.
    pub fn is_left_alone(&self, on_disk: &str) -> bool {
        let is_spared = |name: &String| self.architecture.is_some_and(|known| known.is_left_alone(name));
        on_disk.ends_with(OF_T5) || self.names_in_memory(on_disk).iter().any(is_spared)
    }

    /// Whether several blocks share the weight of the on-disk module: in memory it has as many names as there are such blocks.
    pub fn is_shared(&self, on_disk: &str) -> bool {
        self.by_name.get(on_disk).is_some_and(|&at| self.modules[at].is_shared)
    }

    /// What the names of each shared module have in common in all blocks: what follows the number of the block.
    pub fn shared_tails(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        let shared = self.modules.iter().filter(|entry| entry.is_shared);
        shared.map(|entry| after_number(&entry.on_disk)).filter(move |tail| seen.insert(*tail))
    }
}

/// What follows the last number in `name`.
fn after_number(name: &str) -> &str {
    let mut rest = name;
    let mut at = 0;
    for part in name.split('.') {
        at += part.len() + 1;
        if part.bytes().all(|b| b.is_ascii_digit()) {
            rest = name.get(at..).unwrap_or(name);
        }
    }
    rest
}
