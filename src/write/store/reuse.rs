//! Shards of finished schemes that a new scheme can hold as they are.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::items::Items;
use super::key::content_key;
use crate::checkpoint::{HeaderEntry, read_header};
use crate::error::Result;
use crate::format::FormatId;
use crate::input::{MappedFile, Watched};
use crate::record::hash_file;
use crate::record::{ProvenanceRecord, RecordedFile, WeightFile};
use crate::write::WeightErrors;
use crate::write::content::{Form, OutputTensor};
use crate::write::weight_errors::read_weight_errors;
use crate::write::weights::fits_into_shard;

/// A shard of a finished directory, and the new schemes that it fits.
pub(crate) struct ReusedShard {
    /// Where it is.
    pub path: PathBuf,
    /// The file as it was before its hash was compared.
    pub watched: Watched,
    /// Its record there.
    pub weight: WeightFile,
    /// Positions of its tensors in the items, ascending.
    pub items: Vec<usize>,
    /// What its codes lose.
    pub errors: WeightErrors,
    /// The new schemes that get it, ascending.
    pub schemes: Vec<usize>,
}

/// A finished scheme directory and its record.
pub(crate) struct Sibling {
    directory: PathBuf,
    record: ProvenanceRecord,
}

impl Sibling {
    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its weight files.
    pub fn weights(&self) -> &[WeightFile] {
        &self.record.weights
    }

    /// The source shards that it was made from.
    pub fn source(&self) -> &[RecordedFile] {
        &self.record.model.shards
    }
}

/// The finished schemes below `out`, sorted by name.
pub(crate) fn siblings(out: &Path) -> Vec<Sibling> {
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    let mut found: Vec<Sibling> = entries
        .filter_map(|entry| {
            let directory = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let record = if hidden { None } else { ProvenanceRecord::read(&directory) };
            record.map(|record| Sibling { directory, record })
        })
        .collect();
    found.sort_by(|a, b| a.directory.cmp(&b.directory));
    found
}

/// Takes from `needs` (the items that each new scheme lacks, ascending) what shards of `siblings` hold, larger shards
/// first. A shard fits a scheme that needs all of it; it holds no more than `max_shard_size`; it was made from the same source shards and has the key that this
/// run would give it; and its content still has the hash that was recorded.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Interrupted`].
pub(crate) fn take_from_siblings(
    siblings: &[Sibling],
    source: &[RecordedFile],
    items: &Items,
    needs: &mut [Vec<usize>],
    max_shard_size: u64,
) -> Result<Vec<ReusedShard>> {
    let by_name = items.by_name();
    let mut candidates = Vec::new();
    let mut seen = HashSet::new();
    for sibling in siblings.iter().filter(|s| s.source() == source) {
        let errors = read_weight_errors(&sibling.directory);
        for weight in &sibling.record.weights {
            let path = sibling.directory.join(&weight.file);
            if path.metadata().is_ok_and(|m| m.len() != weight.bytes) {
                continue;
            }
            let of_items = |held: &[usize]| -> Vec<OutputTensor> {
                held.iter().map(|&item| items.tensors[item].clone()).collect()
            };
            let is_it = |held: &Vec<usize>| content_key(&of_items(held)) == weight.content;
            let possible = held_items(&path, items, &by_name);
            let Some(held) = possible.into_iter().find(is_it) else { continue };
            let bytes = held.iter().map(|&item| items.tensors[item].spec.bytes());
            if !fits_into_shard(bytes, max_shard_size) {
                continue;
            }
            let tensors = of_items(&held);
            if seen.insert(weight.content.clone()) {
                let module = |t: &OutputTensor| t.spec.name.strip_suffix(".weight").map(str::to_string);
                let modules = tensors.iter().filter_map(module);
                let errors = modules.filter_map(|m| errors.get(&m).map(|e| (m, *e))).collect();
                candidates.push(ReusedShard {
                    watched: Watched::at(&path)?,
                    path,
                    weight: weight.clone(),
                    items: held,
                    errors,
                    schemes: vec![],
                });
            }
        }
    }
    candidates.sort_by(|a, b| {
        b.weight.bytes.cmp(&a.weight.bytes).then_with(|| a.weight.content.cmp(&b.weight.content))
    });
    let mut left: Vec<HashSet<usize>> = needs.iter().map(|n| n.iter().copied().collect()).collect();
    let mut reused = Vec::new();
    for mut candidate in candidates {
        let schemes = 0..left.len();
        candidate.schemes =
            schemes.filter(|&s| candidate.items.iter().all(|i| left[s].contains(i))).collect();
        if candidate.schemes.is_empty() {
            continue;
        }
        if hash_file(&candidate.path)?.1 != candidate.weight.blake3 {
            continue; // changed since it was written: made anew
        }
        for &scheme in &candidate.schemes {
            candidate.items.iter().for_each(|item| {
                left[scheme].remove(item);
            });
        }
        reused.push(candidate);
    }
    for (needed, left) in needs.iter_mut().zip(left) {
        needed.retain(|item| left.contains(item));
    }
    Ok(reused)
}

/// The items that the shard at `path` may consist of, ascending: its header says which names and dtypes, and two formats may
/// share both. Nothing when one of its tensors is none, or it cannot be read.
fn held_items(path: &Path, items: &Items, by_name: &HashMap<&str, Vec<usize>>) -> Vec<Vec<usize>> {
    let read = || {
        let map = MappedFile::open(path).ok()?;
        // What the header says is believed only when the hash of the whole file is the one on record.
        read_header(path, &map).ok()
    };
    let forms = |entry: &HeaderEntry| -> Vec<usize> {
        let named = by_name.get(entry.name.as_str()).into_iter().flatten().copied();
        named.filter(|&item| items.tensors[item].spec.dtype == entry.dtype).collect()
    };
    let entries: Vec<Vec<usize>> = read().unwrap_or_default().iter().map(forms).collect();
    let in_format = |format: &FormatId| {
        let choose = |forms: &Vec<usize>| match forms[..] {
            [only] => Some(only),
            _ => forms.iter().copied().find(|&item| items.tensors[item].form() == Form::Quantised(*format)),
        };
        let mut held = entries.iter().map(choose).collect::<Option<Vec<usize>>>()?;
        held.sort_unstable();
        Some(held)
    };
    let mut possible: Vec<Vec<usize>> = FormatId::ALL.iter().filter_map(in_format).collect();
    possible.dedup();
    possible
}
