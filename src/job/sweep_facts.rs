//! What the schemes of a sweep have in common: layout, shared files, and what their layers lose.

use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::DialectId;
use crate::format::QuantisationError;
use crate::report::sweep::{LayerError, SchemeOrigin, Sharing};

/// What a fact says of one scheme.
type FactWord = dyn Fn(&SchemeOrigin) -> String;

/// How the weights are written, over all schemes.
pub(super) fn layout_facts<'a>(
    origins: impl Iterator<Item = &'a SchemeOrigin> + Clone,
) -> Vec<(String, String)> {
    let format = |origin: &SchemeOrigin| {
        let dialect = origin.dialect.parse::<DialectId>().ok();
        dialect.map_or_else(String::new, |dialect| dialect.dialect().format().to_string())
    };
    let columns: [(&str, &FactWord); 4] = [
        ("Format written", &format),
        ("Dialect", &|origin| origin.dialect.clone()),
        ("Activations", &|origin| origin.activations.clone()),
        ("Rounding", &|origin| origin.rounding.clone()),
    ];
    let fact = |(label, word): (&str, &FactWord)| {
        let words: BTreeSet<String> = origins.clone().map(word).collect();
        let words: Vec<String> = words.into_iter().collect();
        (!words.is_empty()).then(|| (label.to_string(), words.join(", ")))
    };
    columns.into_iter().filter_map(fact).collect()
}

/// What sharing saves: files with the same hash counted once. `weights` are the sizes and hashes of the weight files of each
/// scheme; nothing where some scheme is not written.
pub(super) fn sharing<'a>(weights: impl Iterator<Item = Option<&'a [(u64, String)]>>) -> Option<Sharing> {
    let weights: Vec<&[(u64, String)]> = weights.collect::<Option<_>>()?;
    let files = || weights.iter().copied().flatten();
    let unique: BTreeMap<&str, u64> = files().map(|(bytes, hash)| (hash.as_str(), *bytes)).collect();
    (!weights.is_empty()).then(|| Sharing {
        unique_bytes: unique.values().sum(),
        copied_bytes: files().map(|(bytes, _)| bytes).sum(),
    })
}

/// What quantising each layer loses: the worst, where schemes of several layouts lose differently.
pub(super) fn layer_errors(
    errors: impl Iterator<Item = (String, QuantisationError)>,
) -> Option<Vec<LayerError>> {
    let mut worst: BTreeMap<String, LayerError> = BTreeMap::new();
    for (module, error) in errors {
        let error = LayerError::new(module.as_str(), &error);
        if worst.get(&module).is_none_or(|known| error.sqnr_db < known.sqnr_db) {
            worst.insert(module, error);
        }
    }
    (!worst.is_empty()).then(|| worst.into_values().collect())
}
