//! Parts of tensors, and comparing tensors.

use super::{Storage, Tensor};
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

impl Tensor {
    /// The entries `rows` of dimension 0, over the same bytes: nothing is copied.
    ///
    /// # Errors
    /// [`Error::Argument`] for a scalar, and when `rows` reaches beyond dimension 0, ends before it starts, or
    /// begins or ends inside a byte of packed elements.
    pub fn slice(&self, rows: Range<usize>) -> Result<Tensor> {
        let Range { start, end } = rows;
        let Some((&count, inner)) = self.shape.split_first() else {
            return Err(Error::argument("a scalar tensor has no rows to slice"));
        };
        if start > end || end > count {
            return Err(Error::argument(format!(
                "rows {start} to {end} do not lie within the {count} rows of the tensor"
            )));
        }
        let row_bits = inner.iter().product::<usize>() * self.dtype.bits();
        let bits = [start * row_bits, end * row_bits];
        if bits.iter().any(|bits| !bits.is_multiple_of(8)) {
            return Err(Error::argument(format!(
                "rows {start} to {end} do not begin and end between bytes: {} elements are packed",
                self.dtype
            )));
        }
        let within = |range: &Range<usize>| range.start + bits[0] / 8..range.start + bits[1] / 8;
        let storage = match &self.storage {
            Storage::Mapped(map, range) => Storage::Mapped(Arc::clone(map), within(range)),
            Storage::Owned(bytes, range) => Storage::Owned(Arc::clone(bytes), within(range)),
        };
        let shape = [&[end - start], inner].concat();
        Ok(Tensor { dtype: self.dtype, shape, storage })
    }

    /// Whether dtype, shape and every byte are the same. NaN equals a NaN of the same bits; 0 does not equal -0.
    pub fn equal(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype && self.shape == other.shape && self.bytes() == other.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    #[test]
    fn a_slice_of_a_slice_shows_the_rows_of_the_whole() -> Result<()> {
        let whole = Tensor::owned(Dtype::U16, vec![4, 3], (0..12u16).flat_map(u16::to_le_bytes).collect());
        let part = whole.slice(1..4)?.slice(1..2)?;
        assert_eq!(part.shape(), [1, 3]);
        assert_eq!(part.tolist(9), [6.0, 7.0, 8.0]);
        assert!(std::ptr::eq(&whole.bytes()[12], &part.bytes()[0]), "the bytes are shared");
        assert_eq!(whole.slice(2..2)?.elements(), 0);
        Ok(())
    }

    #[test]
    fn packed_rows_are_sliced_between_bytes_only() -> Result<()> {
        let whole = Tensor::owned(Dtype::F4, vec![4, 3], vec![0x10, 0x32, 0x54, 0x76, 0x98, 0xba]);
        assert_eq!(whole.slice(2..4)?.bytes(), [0x76, 0x98, 0xba]);
        let error = whole.slice(1..4).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("F4 elements are packed"), "{error}");
        Ok(())
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "the point of the test")]
    fn rows_that_are_not_there_are_an_error() {
        let tensor = Tensor::owned(Dtype::U8, vec![2, 2], vec![0; 4]);
        assert!(tensor.slice(1..3).is_err());
        assert!(tensor.slice(2..1).is_err());
        assert!(Tensor::owned(Dtype::U8, vec![], vec![0]).slice(0..0).is_err());
    }

    #[test]
    fn tensors_are_equal_only_in_dtype_shape_and_bytes_together() {
        let tensor = |dtype, shape: &[usize], byte| Tensor::owned(dtype, shape.to_vec(), vec![byte; 4]);
        let one = tensor(Dtype::U8, &[4], 1);
        assert!(one.equal(&tensor(Dtype::U8, &[4], 1)));
        assert!(!one.equal(&tensor(Dtype::U8, &[4], 2)));
        assert!(!one.equal(&tensor(Dtype::U8, &[2, 2], 1)));
        assert!(!one.equal(&tensor(Dtype::I8, &[4], 1)));
    }
}
