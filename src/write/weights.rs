//! The weights of one directory: tensors dealt into shards, written in one pass, and the index over them.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::content::OutputTensor;
use super::pass::{self, OutputFile, PassOptions};
use super::progress::Progress;
use crate::checkpoint::INDEX_FILE;
use crate::error::{Error, Result};
use crate::json;
use crate::tensor::TensorSpec;

/// The least that it makes sense to limit the tensor bytes of a shard to: less is a unit that was forgotten, and the limit
/// would put each tensor into a file of its own.
pub const LEAST_SHARD_SIZE: u64 = 100_000;

/// Tensor bytes that a shard holds at most, unless a single tensor is larger (the default of Transformers: 5 GB).
pub const DEFAULT_SHARD_SIZE: u64 = 5_000_000_000;

/// How weights are written.
pub struct WriteOptions<'a> {
    /// Tensor bytes that a shard holds at most, unless a single tensor is larger.
    pub max_shard_size: u64,
    /// Threads that read, convert and write; the bytes do not depend on it.
    pub threads: usize,
    /// Listens while it runs.
    pub progress: &'a dyn Progress,
}

/// Cuts tensors, in the given order, into as few shards as `max_shard_size` tensor bytes allow, of about equal size: files
/// are written side by side, so an odd small one would leave a thread without work. Returns the number of tensors of each.
pub fn deal_into_shards<'a>(
    tensors: impl Iterator<Item = &'a TensorSpec>,
    max_shard_size: u64,
) -> Vec<usize> {
    let mut end = 0;
    // Where each tensor ends, if all were in one file: a shard is found by bisection, and not by a walk over its tensors.
    let ends: Vec<u64> = tensors
        .map(|spec| {
            end += spec.bytes();
            end
        })
        .collect();
    let fewest = fill(&ends, max_shard_size);
    // The smallest limit that needs no more shards.
    let (mut low, mut high) = (end / fewest.len().max(1) as u64, max_shard_size);
    while low < high {
        let middle = low + (high - low) / 2;
        if fill(&ends, middle).len() <= fewest.len() { high = middle } else { low = middle + 1 }
    }
    fill(&ends, high)
}

/// Cuts tensors that end at `ends`, in the given order, into shards of at most `limit` bytes; a larger tensor has one of its
/// own.
fn fill(ends: &[u64], limit: u64) -> Vec<usize> {
    let mut counts = Vec::new();
    let (mut first, mut start) = (0, 0);
    while first < ends.len() {
        let fitting = ends[first..].partition_point(|end| end - start <= limit);
        // An empty tensor behind one that is too large fits no better than any other.
        let count = fitting.max(1);
        counts.push(count);
        first += count;
        start = ends[first - 1];
    }
    counts
}

/// Whether [`deal_into_shards`] could have put tensors of these `bytes` into one shard.
pub(crate) fn fits_into_shard(bytes: impl Iterator<Item = u64>, max_shard_size: u64) -> bool {
    let (count, sum) = bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
    sum <= max_shard_size || count == 1
}

/// The ordinary name of shard `index` (from 0) of `count`.
pub fn shard_name(index: usize, count: usize) -> String {
    format!("model-{:05}-of-{count:05}.safetensors", index + 1)
}

/// Writes `tensors` as numbered shards with an index into `directory`, which holds no weights yet, and forces them to the
/// disk. Returns the sum of all tensor bytes.
///
/// # Errors
/// Those of the pass ([`Error::Tensor`], [`Error::Io`], [`Error::Interrupted`]) and of [`super::ShardLayout::new`].
pub fn write_weights(directory: &Path, tensors: &[OutputTensor], options: &WriteOptions) -> Result<u64> {
    let counts = deal_into_shards(tensors.iter().map(|t| &t.spec), options.max_shard_size);
    let mut targets = Vec::new();
    let mut rest = tensors;
    for (index, &count) in counts.iter().enumerate() {
        let (here, later) = rest.split_at(count);
        rest = later;
        targets.push(OutputFile::new(&directory.join(shard_name(index, counts.len())), here)?);
    }
    let pass = PassOptions {
        threads: options.threads,
        progress: options.progress,
        sources: None,
        errors: false,
        accelerator: None,
        made: &|_, _| Ok(()),
        finished: &|_, _, _| Ok(()),
    };
    pass::run(&targets, &pass)?;
    write_index(directory, targets.iter().map(|target| target.tensors().iter().map(|t| &t.spec)))
}

/// Writes the index over shards of these tensors, in order, and returns the sum of all tensor bytes.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_index<'a, Tensors>(
    directory: &Path,
    shards: impl ExactSizeIterator<Item = Tensors>,
) -> Result<u64>
where
    Tensors: Iterator<Item = &'a TensorSpec>,
{
    let count = shards.len();
    let (mut weight_map, mut total_size) = (Map::new(), 0);
    for (index, tensors) in shards.enumerate() {
        for tensor in tensors {
            weight_map.insert(tensor.name.clone(), Value::String(shard_name(index, count)));
            total_size += tensor.bytes();
        }
    }
    weight_map.sort_keys();
    let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
    let path = directory.join(INDEX_FILE);
    std::fs::write(&path, json::pretty(&index)).map_err(|e| Error::io("write", &path, e))?;
    Ok(total_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read_header;
    use crate::tensor::{Dtype, Tensor};
    use crate::write::content::Content;
    use crate::write::progress::Silent;
    use proptest::prelude::*;
    use safetensors::tensor::{Dtype as Theirs, TensorView};

    fn theirs(dtype: Dtype) -> Theirs {
        serde_json::from_value(Value::String(dtype.name().into())).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn tensors_of_every_dtype_are_read_and_carried_along_byte_for_byte(
            rows in prop::collection::vec(0usize..6, Dtype::ALL.len()),
            seed in any::<u8>(),
        ) {
            let made: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Dtype::ALL
                .iter()
                .zip(rows)
                .map(|(&dtype, rows)| {
                    let bytes = (0..dtype.bytes_of(4 * rows as u64)).map(|i| seed ^ i as u8).collect();
                    (format!("carried.{dtype}"), dtype, vec![rows, 4], bytes)
                })
                .collect();
            let views = made.iter().map(|(name, dtype, shape, bytes)| {
                (name.clone(), TensorView::new(theirs(*dtype), shape.clone(), bytes).unwrap())
            });
            let source = safetensors::serialize(views, None).unwrap();
            let entries = read_header(Path::new("source"), &source).unwrap();
            let outputs: Vec<OutputTensor> = entries
                .into_iter()
                .map(|entry| {
                    let tensor = Tensor::owned(entry.dtype, entry.shape, source[entry.range].to_vec());
                    let spec = TensorSpec::new(entry.name, tensor.dtype(), tensor.shape());
                    OutputTensor { spec, content: Content::Bytes(tensor) }
                })
                .collect();
            let folder = tempfile::tempdir().unwrap();
            let options = WriteOptions { max_shard_size: 1000, threads: 2, progress: &Silent };
            write_weights(folder.path(), &outputs, &options).unwrap();
            let file = std::fs::read(folder.path().join(shard_name(0, 1))).unwrap();
            let read = safetensors::SafeTensors::deserialize(&file).unwrap();
            prop_assert_eq!(read.len(), made.len());
            for (name, dtype, shape, bytes) in &made {
                let view = read.tensor(name).unwrap();
                prop_assert_eq!((view.dtype(), view.shape(), view.data()), (theirs(*dtype), &shape[..], &bytes[..]));
            }
        }
    }
}
