//! Shards of finished schemes that a new scheme can hold as they are.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::items::Items;
use super::key::content_key;
use crate::checkpoint::read_header;
use crate::error::Result;
use crate::plan::Layout;
use crate::write::WeightErrors;
use crate::write::content::OutputTensor;
use crate::write::provenance::{Record, WeightFile, read_weight_errors};
use crate::write::source_hashes::HashedShard;
use crate::write::tree_hash::hash_file;

/// A shard of a finished directory, and the new schemes that it fits.
pub(crate) struct ReusedShard {
    /// Where it is.
    pub path: PathBuf,
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
    record: Record,
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
    pub fn source(&self) -> &[HashedShard] {
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
            let record = if hidden { None } else { Record::read(&directory) };
            record.map(|record| Sibling { directory, record })
        })
        .collect();
    found.sort_by(|a, b| a.directory.cmp(&b.directory));
    found
}

/// Takes from `needs` (the items that each new scheme lacks, ascending) what shards of `siblings` hold, larger shards
/// first. A shard fits a scheme that needs all of it; it was made from the same source shards and has the key that this
/// run would give it; and its content still has the hash that was recorded.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Interrupted`].
pub(crate) fn take_from_siblings(
    siblings: &[Sibling],
    source: &[HashedShard],
    items: &Items,
    needs: &mut [Vec<usize>],
    layout: &Layout,
) -> Result<Vec<ReusedShard>> {
    let index = items.index();
    let mut candidates = Vec::new();
    let mut seen = HashSet::new();
    for sibling in siblings.iter().filter(|s| s.source() == source) {
        let errors = read_weight_errors(&sibling.directory);
        for weight in &sibling.record.weights {
            let path = sibling.directory.join(&weight.file);
            let Some(held) = held_items(&path, &index) else { continue };
            let tensors: Vec<OutputTensor> = held.iter().map(|&i| items.tensors[i].clone()).collect();
            let fits = path.metadata().is_ok_and(|m| m.len() == weight.bytes)
                && content_key(&tensors, layout) == weight.content;
            if fits && seen.insert(weight.content.clone()) {
                let module = |t: &OutputTensor| t.spec.name.strip_suffix(".weight").map(str::to_string);
                let modules = tensors.iter().filter_map(module);
                let errors = modules.filter_map(|m| errors.get(&m).map(|e| (m, *e))).collect();
                candidates.push(ReusedShard {
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

/// The items that the shard at `path` consists of, ascending; nothing when one of its tensors is none, or it cannot be read.
fn held_items(path: &Path, index: &HashMap<(&str, crate::tensor::Dtype), usize>) -> Option<Vec<usize>> {
    let file = File::open(path).ok()?;
    // SAFETY: the map is read-only and goes away with this call; see `Checkpoint` for what a truncation would do.
    let map = unsafe { memmap2::Mmap::map(&file) }.ok()?;
    let entries = read_header(path, &map).ok()?;
    let mut items: Vec<usize> = entries
        .iter()
        .map(|entry| index.get(&(entry.name.as_str(), entry.dtype)).copied())
        .collect::<Option<_>>()?;
    items.sort_unstable();
    Some(items)
}
