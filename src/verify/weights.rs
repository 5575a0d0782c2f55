//! The index against the shards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use super::{Code, Problem};
use crate::checkpoint::{Checkpoint, INDEX_FILE, names_in, read_header, read_index};
use crate::error::{Error, Result};
use crate::units::counted;

/// Tensors that lie in the directory and that the index does not name.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Those of shards that it names: findings of their own.
    reported: HashSet<String>,
    /// Those of other files, and the files.
    in_other_files: HashMap<String, String>,
}

impl LeftOut {
    /// Whether there is a finding about `name` already.
    pub fn is_reported(&self, name: &str) -> bool {
        self.reported.contains(name)
    }

    /// Where a missing tensor is, as the end of a sentence.
    pub fn of(&self, name: &str) -> Option<String> {
        let file = self.in_other_files.get(name)?;
        Some(format!(": `{file}` holds it, and {INDEX_FILE} does not name that file"))
    }
}

/// vLLM loads every tensor of a shard that it opens, indexed or not, so a shard must hold exactly what the index names.
pub(super) fn check(checkpoint: &Checkpoint) -> Result<(Vec<Problem>, LeftOut)> {
    let mut left_out = LeftOut::default();
    let Some(index) = read_index(checkpoint.directory())? else {
        return Ok((loaded_twice(checkpoint)?, left_out));
    };
    let mut problems = Vec::new();
    for (file, path, bytes) in checkpoint.shards() {
        for entry in read_header(path, bytes)? {
            let message = match checkpoint.shard_of(&entry.name) {
                Some(indexed) if indexed == file => continue,
                Some(other) => {
                    format!(
                        "`{file}` holds `{}`, which the index places in `{other}`; vLLM loads both",
                        entry.name
                    )
                }
                None => {
                    left_out.reported.insert(entry.name.clone());
                    format!("`{file}` holds `{}`, which the index does not name; vLLM loads it", entry.name)
                }
            };
            problems.push(Problem::new(Code::ExtraTensor, entry.name, message));
        }
    }
    left_out.in_other_files = in_other_files(checkpoint)?;
    if let Some(claimed) = index.metadata["total_size"].as_u64() {
        let actual = checkpoint.bytes();
        if claimed != actual {
            let message = format!("{INDEX_FILE} says total_size {claimed}, the tensors have {actual} bytes");
            problems.push(Problem::new(Code::TotalSize, INDEX_FILE, message));
        }
    }
    Ok((problems, left_out))
}

/// What other weight files hold once more where there is no index: without one vLLM opens every weight file of a directory.
fn loaded_twice(checkpoint: &Checkpoint) -> Result<Vec<Problem>> {
    let mut by_file: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, file) in in_other_files(checkpoint)? {
        if checkpoint.shard_of(&name).is_some() {
            by_file.entry(file).or_default().push(name);
        }
    }
    let problem = |(file, names): (String, Vec<String>)| {
        let name = names.iter().min().cloned().unwrap_or_default();
        let held = match names.len() {
            1 => format!("`{name}`"),
            count => format!("{}, such as `{name}`,", counted(count, "tensor")),
        };
        let message =
            format!("`{file}` holds {held} once more, and there is no {INDEX_FILE}; vLLM loads both");
        Problem::new(Code::ExtraTensor, name, message)
    };
    Ok(by_file.into_iter().map(problem).collect())
}

/// The tensors of weight files that the index does not name. With an index no loader opens these, so that damage of theirs is no finding.
fn in_other_files(checkpoint: &Checkpoint) -> Result<HashMap<String, String>> {
    let directory = checkpoint.directory();
    let named: HashSet<&str> = checkpoint.shards().map(|(file, ..)| file).collect();
    let mut files: Vec<String> = fs::read_dir(directory)
        .map_err(|e| Error::io("read", directory, e))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|file| file.ends_with(".safetensors") && !named.contains(file.as_str()))
        .collect();
    files.sort();
    let mut found = HashMap::new();
    for file in files {
        for name in names_in(&directory.join(&file)).unwrap_or_default() {
            found.entry(name).or_insert_with(|| file.clone());
        }
    }
    Ok(found)
}
