//! What the schemes of a sweep have in common: layout, shared files, and what their layers lose.

use std::collections::{BTreeMap, BTreeSet};

use super::on_disk::{NamedFile, OnDisk};
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

/// What the files of the schemes take, counted as what lies there; nothing where some scheme is not written.
pub(super) fn sharing<'a>(weights: impl Iterator<Item = Option<&'a [NamedFile]>>) -> Option<Sharing> {
    let weights: Vec<&[NamedFile]> = weights.collect::<Option<_>>()?;
    let OnDisk { unique_bytes, copied_bytes, .. } = OnDisk::of(&weights);
    (!weights.is_empty()).then_some(Sharing { unique_bytes, copied_bytes })
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
