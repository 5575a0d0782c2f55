//! One safetensors file: its layout from specifications alone, and positioned writes into it.
//!
//! The order inside a file is that of the safetensors crate (dtype alignment descending, then name), so the bytes depend
//! on the tensors only, never on the order in which they arrive or on the number of threads.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::tensor::TensorSpec;

/// The largest header that readers accept, in bytes (the safetensors crate's own limit).
const MAX_HEADER: usize = 100_000_000;

/// Where everything in one safetensors file goes.
#[derive(Debug, Clone)]
pub struct ShardLayout {
    header: Vec<u8>,
    entries: Vec<(TensorSpec, Range<u64>)>,
    length: u64,
}

impl ShardLayout {
    /// Lays out `tensors`, sorted by dtype size descending and then by name, with the metadata `{"format":"pt"}`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a name occurs twice, is `__metadata__`, or the header would exceed 100 MB.
    pub fn new(mut tensors: Vec<TensorSpec>) -> Result<Self> {
        tensors.sort_by(Self::order);
        let mut fields = Map::new();
        fields.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut offset = 0;
        let mut ranges = Vec::with_capacity(tensors.len());
        for tensor in &tensors {
            let end = offset + tensor.bytes();
            let entry =
                json!({"dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [offset, end]});
            if fields.insert(tensor.name.clone(), entry).is_some() {
                return Err(Error::argument(format!("the tensor name `{}` is used twice", tensor.name)));
            }
            ranges.push(offset..end);
            offset = end;
        }
        let mut text = Value::Object(fields).to_string().into_bytes();
        // Readers map the file and expect the data to start at a multiple of eight.
        text.resize(text.len().next_multiple_of(8), b' ');
        if text.len() > MAX_HEADER {
            return Err(Error::argument(format!(
                "{} tensors need a safetensors header of {} bytes, and readers accept at most {MAX_HEADER}",
                tensors.len(),
                text.len()
            ))
            .with_hint("choose a smaller shard size"));
        }
        let mut header = (text.len() as u64).to_le_bytes().to_vec();
        header.extend_from_slice(&text);
        let start = header.len() as u64;
        let entries = tensors
            .into_iter()
            .zip(ranges)
            .map(|(t, r)| (t, start + r.start..start + r.end))
            .collect::<Vec<_>>();
        Ok(ShardLayout { header, entries, length: start + offset })
    }

    /// Which of two tensors comes first in a file: that of the larger element, then that of the lesser name.
    pub fn order(a: &TensorSpec, b: &TensorSpec) -> Ordering {
        b.dtype.bits().cmp(&a.dtype.bits()).then_with(|| a.name.cmp(&b.name))
    }

    /// The bytes before the data: the length of the header, and the header.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The tensors in file order, each with its byte range in the file.
    pub fn entries(&self) -> &[(TensorSpec, Range<u64>)] {
        &self.entries
    }

    /// Size of the whole file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A safetensors file being written; positions are filled in any order by any number of threads.
#[derive(Debug)]
pub struct ShardFile {
    file: File,
    path: PathBuf,
    layout: Arc<ShardLayout>,
}

impl ShardFile {
    /// Creates `path` (which must not exist) at its full length, without content. Permissions follow the umask.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path, layout: impl Into<Arc<ShardLayout>>) -> Result<Self> {
        let layout = layout.into();
        let file = File::create_new(path).map_err(|e| Error::io("create", path, e))?;
        file.set_len(layout.length).map_err(|e| Error::io("write", path, e))?;
        Ok(ShardFile { file, path: path.to_path_buf(), layout })
    }

    /// Opens `path`, which was created with the same layout, to go on with it; links are not followed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn reopen(path: &Path, layout: impl Into<Arc<ShardLayout>>) -> Result<Self> {
        let file = File::options().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path);
        let file = file.map_err(|e| Error::io("write", path, e))?;
        Ok(ShardFile { file, path: path.to_path_buf(), layout: layout.into() })
    }

    /// The layout that the file was created with.
    pub fn layout(&self) -> &ShardLayout {
        &self.layout
    }

    /// Writes the header.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_header(&self) -> Result<()> {
        self.write_at(0, &self.layout.header)
    }

    /// Writes `bytes` of tensor `entry` (an index into [`ShardLayout::entries`]) from byte `offset` of its data on.
    ///
    /// # Errors
    /// [`Error::Io`]; a full disk names the file.
    pub fn write_tensor(&self, entry: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = &self.layout.entries[entry].1;
        debug_assert!(
            range.start + offset + bytes.len() as u64 <= range.end,
            "the write stays inside its tensor"
        );
        self.write_at(range.start + offset, bytes)
    }

    /// Writes `bytes` from byte `position` of the file on.
    ///
    /// # Errors
    /// [`Error::Io`]; a full disk names the file.
    pub fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, position).map_err(|e: io::Error| Error::io("write", &self.path, e))
    }

    /// Asks the system to begin writing a range of the file to the disk, without waiting for it: a long pass then ends with
    /// little left to force. Where the system cannot, nothing happens.
    pub fn start_flush(&self, range: Range<u64>) {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let (offset, length) = (range.start as i64, (range.end - range.start) as i64);
            // SAFETY: the descriptor is open for as long as `self` is, and no memory is passed. A failure is the disk's,
            // and `sync` reports it.
            unsafe {
                libc::sync_file_range(self.file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }

    /// Forces the file to the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io("write", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;
    use proptest::prelude::*;

    fn specs() -> impl Strategy<Value = Vec<TensorSpec>> {
        let one = (prop::sample::select(Dtype::ALL), prop::collection::vec(0usize..5, 0..4));
        prop::collection::vec(one, 0..12).prop_map(|list| {
            let named = list.into_iter().enumerate();
            let spec = |(i, (dtype, mut shape)): (usize, (Dtype, Vec<usize>))| {
                // Packed elements fill whole bytes.
                shape.extend((dtype.size() == 0).then_some(4));
                TensorSpec::new(format!("t{}é\"{i}", 97 * i % 13), dtype, shape)
            };
            named.map(spec).collect()
        })
    }

    proptest! {
        #[test]
        fn the_safetensors_crate_reads_back_what_was_written(specs in specs(), seed in any::<u8>()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("model.safetensors");
            let shard = ShardFile::create(&path, ShardLayout::new(specs.clone()).unwrap()).unwrap();
            let content = |name: &str, n: u64| -> Vec<u8> {
                (0..n).map(|i| (i as u8).wrapping_mul(31) ^ seed ^ name.len() as u8).collect()
            };
            for (i, (spec, _)) in shard.layout().entries().iter().enumerate().rev() {
                let bytes = content(&spec.name, spec.bytes());
                let (a, b) = bytes.split_at(bytes.len() / 3);
                shard.write_tensor(i, a.len() as u64, b).unwrap();
                shard.write_tensor(i, 0, a).unwrap();
            }
            shard.write_header().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            prop_assert_eq!(bytes.len() as u64, shard.layout().length());
            let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            prop_assert_eq!(read.len(), specs.len());
            for spec in &specs {
                let view = read.tensor(&spec.name).unwrap();
                prop_assert_eq!(view.shape(), &spec.shape[..]);
                prop_assert_eq!(view.dtype().to_string(), spec.dtype.name());
                prop_assert_eq!(view.data(), &content(&spec.name, spec.bytes())[..]);
            }
        }

        #[test]
        fn the_order_of_arrival_does_not_matter(specs in specs()) {
            let mut reversed = specs.clone();
            reversed.reverse();
            prop_assert_eq!(ShardLayout::new(specs).unwrap().header, ShardLayout::new(reversed).unwrap().header);
        }
    }

    #[test]
    fn a_name_used_twice_is_refused() {
        let spec = TensorSpec::new("a", Dtype::F32, []);
        let error = ShardLayout::new(vec![spec.clone(), spec]).unwrap_err();
        assert_eq!(error.to_string(), "the tensor name `a` is used twice");
    }
}
