//! Tensors as typed views over bytes, mapped or owned; nothing here copies unless it says so.

mod amax;
mod cast;
mod dtype;
pub(crate) mod float;
mod histogram;
pub(crate) mod kernel;
mod slice;
mod spec;
mod stats;
mod values;

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::input::MappedFile;

pub use amax::amax_of;
pub(crate) use cast::cast_bytes;
pub use dtype::Dtype;
pub use histogram::Histogram;
pub use kernel::Kernel;
pub use spec::TensorSpec;
pub use stats::Stats;
pub use values::Values;
pub(crate) use values::read_f64;

/// Where a tensor's bytes live; cheap to clone.
#[derive(Clone)]
enum Storage {
    Mapped(Arc<MappedFile>, Range<usize>),
    Owned(Arc<Vec<u8>>, Range<usize>),
}

/// A dense row-major tensor: dtype, shape and bytes. Cloning shares the bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    storage: Storage,
}

impl Tensor {
    /// A tensor over `range` of a mapped file. The caller has checked that the range lies inside the map and is as long
    /// as `shape` and `dtype` say.
    pub fn mapped(dtype: Dtype, shape: Vec<usize>, map: Arc<MappedFile>, range: Range<usize>) -> Self {
        debug_assert_eq!(range.len(), bytes_of(dtype, &shape));
        Tensor { dtype, shape, storage: Storage::Mapped(map, range) }
    }

    /// A tensor that owns `bytes`, little-endian, as long as `shape` and `dtype` say.
    ///
    /// # Panics
    /// When the length does not fit: a defect of the caller, never of input.
    pub fn owned(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        assert_eq!(bytes.len(), bytes_of(dtype, &shape), "bytes fit the shape");
        let range = 0..bytes.len();
        Tensor { dtype, shape, storage: Storage::Owned(Arc::new(bytes), range) }
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Sizes of the dimensions, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Tells the system that a range of the bytes will be read soon, so that a disk reads ahead. Nothing happens where the
    /// bytes lie in memory already.
    pub fn will_need(&self, bytes: Range<usize>) {
        if let Storage::Mapped(map, range) = &self.storage {
            let (start, end) = (range.start + bytes.start, range.end.min(range.start + bytes.end));
            if start < end {
                map.will_need(start..end);
            }
        }
    }

    /// The file that the bytes lie in; nothing for bytes in memory.
    pub fn file(&self) -> Option<&Arc<MappedFile>> {
        match &self.storage {
            Storage::Mapped(map, _) => Some(map),
            Storage::Owned(..) => None,
        }
    }

    /// `made`, unless the file of the bytes is another one by now: nothing that was made of a tensor is of use before this. Bytes
    /// in memory are always the same.
    ///
    /// # Errors
    /// [`crate::Error::Changed`]; those of [`crate::input::Watched::recheck`].
    pub fn unchanged<T>(&self, made: T) -> Result<T> {
        self.file().map_or(Ok(()), |file| file.require_intact())?;
        Ok(made)
    }

    /// The raw little-endian bytes. Those of a mapped file may change while they are read: see [`Tensor::unchanged`].
    pub fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Mapped(map, range) => &map[range.clone()],
            Storage::Owned(bytes, range) => &bytes[range.clone()],
        }
    }
}

fn bytes_of(dtype: Dtype, shape: &[usize]) -> usize {
    dtype.bytes_of(shape.iter().product::<usize>() as u64) as usize
}
