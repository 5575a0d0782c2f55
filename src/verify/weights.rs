//! The index against the shards.

use super::{Code, Problem};
use crate::checkpoint::{Checkpoint, INDEX_FILE, read_header, read_index};
use crate::error::Result;

/// vLLM loads every tensor of a shard that it opens, indexed or not, so a shard must hold exactly what the index names.
pub(super) fn check(checkpoint: &Checkpoint) -> Result<Vec<Problem>> {
    let Some(index) = read_index(checkpoint.directory())? else { return Ok(vec![]) };
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
                    format!("`{file}` holds `{}`, which the index does not name; vLLM loads it", entry.name)
                }
            };
            problems.push(Problem::new(Code::ExtraTensor, entry.name, message));
        }
    }
    if let Some(claimed) = index.metadata["total_size"].as_u64() {
        let actual = checkpoint.bytes();
        if claimed != actual {
            let message = format!("{INDEX_FILE} says total_size {claimed}, the tensors have {actual} bytes");
            problems.push(Problem::new(Code::TotalSize, INDEX_FILE, message));
        }
    }
    Ok(problems)
}
