//! Elements of any dtype as F64.

use super::{Dtype, Tensor, float};

/// The elements of a tensor in row-major order, each as F64; made by [`Tensor::to_f64_iter`].
pub struct Values<'a> {
    dtype: Dtype,
    bytes: &'a [u8],
}

impl Tensor {
    /// Every element in row-major order as F64. Exact but for integers beyond 2^53; a BOOL is 0 or 1.
    ///
    /// # Panics
    /// When the dtype has no values ([`Dtype::require_values`]): a defect of the caller, as for all that reads values.
    pub fn to_f64_iter(&self) -> Values<'_> {
        Values { dtype: self.dtype(), bytes: self.bytes() }
    }

    /// The first `limit` elements in row-major order as F64; all of them when there are fewer.
    ///
    /// # Panics
    /// As [`Tensor::to_f64_iter`].
    pub fn tolist(&self, limit: usize) -> Vec<f64> {
        let size = self.dtype().size();
        let count = limit.min(self.elements());
        let mut values = vec![0.0; count];
        read_f64(self.dtype(), &self.bytes()[..count * size], &mut values);
        values
    }
}

impl Iterator for Values<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let (element, rest) = self.bytes.split_at_checked(self.dtype.size())?;
        self.bytes = rest;
        let mut value = [0.0];
        read_f64(self.dtype, element, &mut value);
        Some(value[0])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.bytes.len() / self.dtype.size();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Values<'_> {}

/// Reads as many little-endian elements as `bytes` holds into the start of `values`, and returns that part of it.
#[inline]
pub(crate) fn read_f64<'v>(dtype: Dtype, bytes: &[u8], values: &'v mut [f64]) -> &'v [f64] {
    fn each<const SIZE: usize>(bytes: &[u8], values: &mut [f64], value: impl Fn([u8; SIZE]) -> f64) {
        for (slot, element) in values.iter_mut().zip(bytes.as_chunks::<SIZE>().0) {
            *slot = value(*element);
        }
    }
    match dtype {
        Dtype::Bool => each(bytes, values, |[byte]| f64::from(u8::from(byte != 0))),
        Dtype::U8 => each(bytes, values, |[byte]| f64::from(byte)),
        Dtype::I8 => each(bytes, values, |[byte]| f64::from(byte as i8)),
        Dtype::F8E4M3 => each(bytes, values, |[byte]| float::e4m3_to_f32(byte).into()),
        Dtype::F8E5M2 => each(bytes, values, |[byte]| float::e5m2_to_f32(byte).into()),
        Dtype::U16 => each(bytes, values, |element| u16::from_le_bytes(element).into()),
        Dtype::I16 => each(bytes, values, |element| i16::from_le_bytes(element).into()),
        Dtype::F16 => each(bytes, values, |element| float::f16_to_f32(u16::from_le_bytes(element)).into()),
        Dtype::BF16 => each(bytes, values, |element| float::bf16_to_f32(u16::from_le_bytes(element)).into()),
        Dtype::U32 => each(bytes, values, |element| u32::from_le_bytes(element).into()),
        Dtype::I32 => each(bytes, values, |element| i32::from_le_bytes(element).into()),
        Dtype::F32 => each(bytes, values, |element| f32::from_le_bytes(element).into()),
        Dtype::U64 => each(bytes, values, |element| u64::from_le_bytes(element) as f64),
        Dtype::I64 => each(bytes, values, |element| i64::from_le_bytes(element) as f64),
        Dtype::F64 => each(bytes, values, f64::from_le_bytes),
        Dtype::F4
        | Dtype::F6E2M3
        | Dtype::F6E3M2
        | Dtype::F8E8M0
        | Dtype::F8E4M3Fnuz
        | Dtype::F8E5M2Fnuz
        | Dtype::C64 => panic!("{dtype} elements are not read as numbers: see Dtype::require_values"),
    }
    &values[..bytes.len() / dtype.size()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_is_read_as_its_own_value() {
        let cases: [(Dtype, &[u8], f64); 15] = [
            (Dtype::Bool, &[1], 1.0),
            (Dtype::U8, &[200], 200.0),
            (Dtype::I8, &[0xff], -1.0),
            (Dtype::F8E4M3, &[0xfe], -448.0),
            (Dtype::F8E5M2, &[0x7b], 57344.0),
            (Dtype::U16, &[0, 0x80], 32768.0),
            (Dtype::I16, &[0, 0x80], -32768.0),
            (Dtype::F16, &[0x01, 0x00], 5.960464477539063e-8),
            (Dtype::BF16, &[0x40, 0xc0], -3.0),
            (Dtype::U32, &[0, 0, 0, 0x80], 2147483648.0),
            (Dtype::I32, &[0, 0, 0, 0x80], -2147483648.0),
            (Dtype::F32, &[0, 0, 0x80, 0x3f], 1.0),
            (Dtype::U64, &[0, 0, 0, 0, 1, 0, 0, 0], 4294967296.0),
            (Dtype::I64, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -2.0),
            (Dtype::F64, &[0, 0, 0, 0, 0, 0, 0xe0, 0x3f], 0.5),
        ];
        for (dtype, bytes, value) in cases {
            let tensor = Tensor::owned(dtype, vec![2, 1], [bytes, bytes].concat());
            assert_eq!(tensor.tolist(9), [value, value], "{dtype}");
            assert_eq!(tensor.tolist(1), [value], "{dtype}");
            assert_eq!(tensor.to_f64_iter().collect::<Vec<_>>(), [value, value], "{dtype}");
            assert_eq!(tensor.to_f64_iter().len(), 2);
        }
    }
}
