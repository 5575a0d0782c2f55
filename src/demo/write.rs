//! Writes a seeded checkpoint directory with all cores, in memory that does not grow with the model.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use super::config;
use super::shape::Qwen25VlShape;
use super::values::SeededValues;
use crate::checkpoint::INDEX_FILE;
use crate::error::{Error, Result};
use crate::interrupt::{self, Cleanup};
use crate::json;
use crate::tensor::TensorSpec;
use crate::write::{ShardFile, ShardLayout, shard_name};

/// Elements that one thread makes and writes at a time (1 MiB of BF16).
const CHUNK: u64 = 1 << 19;

/// What [`write_checkpoint`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoWeights {
    /// Number of tensors.
    pub tensors: usize,
    /// Bytes of tensor data.
    pub bytes: u64,
    /// Names and sizes in bytes of the safetensors files, in order.
    pub shards: Vec<(String, u64)>,
}

/// Writes a checkpoint of `shape` with values from `seed` to `directory`, which must not exist: it appears whole or not
/// at all. The bytes depend on `shape` and `seed` only.
///
/// # Errors
/// [`Error::Exists`] when `directory` is there already; [`Error::Io`] and [`Error::Interrupted`], with nothing left
/// behind.
pub fn write_checkpoint(directory: &Path, shape: &Qwen25VlShape, seed: u64) -> Result<DemoWeights> {
    if directory.symlink_metadata().is_ok() {
        return Err(
            Error::exists(directory, "is there already").with_hint("remove it, or name another directory")
        );
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    let staging = staging_directory(parent)?;
    let cleanup = cleanup(&staging);
    let written = write_files(staging.path(), shape, seed)?;
    let renamed = cleanup.conclude(|| fs::rename(staging.path(), directory));
    renamed.map_err(|e| Error::io("create", directory, e))?;
    // It has another name now; there is nothing left to remove.
    let _ = staging.keep();
    Ok(written)
}

/// A directory in `parent` that goes away unless it is kept. Its permissions follow the umask.
pub(super) fn staging_directory(parent: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".qlua-demo-")
        .suffix(".partial")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(|e| Error::io("write", parent, e))
}

/// Removes `staging` when the process ends at once.
pub(super) fn cleanup(staging: &tempfile::TempDir) -> Cleanup {
    let path = staging.path().to_path_buf();
    Cleanup::register(move || drop(fs::remove_dir_all(&path)))
}

/// Fills the empty `directory`.
pub(super) fn write_files(directory: &Path, shape: &Qwen25VlShape, seed: u64) -> Result<DemoWeights> {
    let mut files = config::files(shape);
    let shards = shape.shards();
    let name = |i: usize| shard_name(i, shards.len());
    let index = json::pretty(&index(&shards, name));
    files.push((INDEX_FILE, index));
    for (file, content) in files {
        let path = directory.join(file);
        fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
    }
    let mut written = DemoWeights { tensors: 0, bytes: 0, shards: Vec::new() };
    let mut open = Vec::new();
    for (i, shard) in shards.iter().enumerate() {
        let layout = ShardLayout::new(shard.clone())?;
        written.tensors += shard.len();
        written.bytes += shard.iter().map(TensorSpec::bytes).sum::<u64>();
        written.shards.push((name(i), layout.length()));
        let file = ShardFile::create(&directory.join(name(i)), layout)?;
        file.write_header()?;
        open.push(file);
    }
    fill(&open, seed)?;
    Ok(written)
}

/// `model.safetensors.index.json`: the tensors sorted by name, as Transformers writes them.
fn index(shards: &[Vec<TensorSpec>], name: impl Fn(usize) -> String) -> Value {
    let total: u64 = shards.iter().flatten().map(TensorSpec::bytes).sum();
    let files: BTreeMap<&str, usize> = shards
        .iter()
        .enumerate()
        .flat_map(|(i, shard)| shard.iter().map(move |t| (t.name.as_str(), i)))
        .collect();
    let map: Map<String, Value> = files.into_iter().map(|(t, i)| (t.to_string(), json!(name(i)))).collect();
    json!({"metadata": {"total_size": total}, "weight_map": map})
}

/// A piece of a tensor: shard, entry of its layout, first element, number of elements.
struct TensorChunk {
    shard: usize,
    entry: usize,
    first: u64,
    elements: u64,
}

fn fill(shards: &[ShardFile], seed: u64) -> Result<()> {
    let mut pieces = Vec::new();
    for (shard, file) in shards.iter().enumerate() {
        for (entry, (spec, _)) in file.layout().entries().iter().enumerate() {
            let all = spec.elements();
            let cut =
                |i: u64| TensorChunk { shard, entry, first: i * CHUNK, elements: CHUNK.min(all - i * CHUNK) };
            pieces.extend((0..all.div_ceil(CHUNK)).map(cut));
        }
    }
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut buffer = vec![0; CHUNK as usize * 2];
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            interrupt::check()?;
            let file = &shards[piece.shard];
            let bytes = &mut buffer[..piece.elements as usize * 2];
            SeededValues::new(seed, &file.layout().entries()[piece.entry].0).fill(piece.first, bytes);
            file.write_tensor(piece.entry, piece.first * 2, bytes)?;
        }
        Ok(())
    };
    // A failure empties the queue, so that the other threads stop at their next piece.
    let guarded = || work().inspect_err(|_| next.store(pieces.len(), Ordering::Relaxed));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pieces.len());
    std::thread::scope(|scope| {
        let handles: Vec<_> = (1..threads).map(|_| scope.spawn(guarded)).collect();
        let mut result = guarded();
        for handle in handles {
            result = result.and(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_checkpoint_reads_back_with_every_name_shape_and_value() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("model");
        let shape = Qwen25VlShape::DEMO;
        let written = write_checkpoint(&directory, &shape, 5).unwrap();
        let checkpoint = crate::checkpoint::Checkpoint::open(&directory).unwrap();
        assert_eq!(checkpoint.bytes(), written.bytes);
        assert_eq!(checkpoint.tensors().count(), written.tensors);
        for spec in shape.tensors() {
            let tensor = checkpoint.tensor(&spec.name).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (spec.dtype, &spec.shape[..]));
            let mut expected = vec![0; spec.bytes() as usize];
            SeededValues::new(5, &spec).fill(0, &mut expected);
            assert!(tensor.bytes() == expected, "{}", spec.name);
        }
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn permissions_follow_the_umask() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("model");
        write_checkpoint(&directory, &Qwen25VlShape::DEMO, 0).unwrap();
        let plain = parent.path().join("plain");
        std::fs::create_dir(&plain).unwrap();
        std::fs::write(plain.join("file"), "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode();
        assert_eq!(mode(&directory), mode(&plain));
        for entry in std::fs::read_dir(&directory).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), mode(&plain.join("file")));
        }
    }

    #[test]
    fn an_existing_directory_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let error = write_checkpoint(parent.path(), &Qwen25VlShape::DEMO, 0).unwrap_err();
        assert_eq!(error.kind(), "exists");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
