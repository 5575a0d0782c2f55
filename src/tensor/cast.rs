//! Conversion to BF16, F16 and F32.

use super::values::read_f64;
use super::{Dtype, Tensor, float};
use crate::{Error, Result};
use rayon::prelude::*;

/// Elements a thread takes at a time.
const CHUNK: usize = 1 << 18;
/// Elements converted at a time.
const BATCH: usize = 2048;

impl Tensor {
    /// The same values as `target`, its own dtype or BF16, F16 or F32, rounded to nearest even; too large becomes infinity, NaN stays
    /// NaN. From BF16 or F16 to F32 it is exact. A tensor that has the dtype already is shared, not copied.
    ///
    /// # Errors
    /// [`Error::Argument`] when `target` is another dtype, or the values cannot be read as numbers.
    pub fn cast(&self, target: Dtype) -> Result<Tensor> {
        let source = self.dtype();
        if source == target {
            return Ok(self.clone());
        }
        source.require_values()?;
        if !target.is_quantisable() {
            return Err(Error::argument(format!("tensors can be cast to BF16, F16 or F32, not to {target}")));
        }
        let mut bytes = vec![0; self.elements() * target.size()];
        let chunks =
            bytes.par_chunks_mut(CHUNK * target.size()).zip(self.bytes().par_chunks(CHUNK * source.size()));
        chunks.for_each(|(to, from)| cast_bytes(source, from, target, to));
        Ok(Tensor::owned(target, self.shape().to_vec(), bytes))
    }
}

/// Writes the whole elements in `from` as `target` (BF16, F16 or F32) into `to`, which has room for exactly as many.
pub(crate) fn cast_bytes(source: Dtype, from: &[u8], target: Dtype, to: &mut [u8]) {
    let batches = to.chunks_mut(BATCH * target.size()).zip(from.chunks(BATCH * source.size()));
    let mut buffer = [0.0f32; BATCH];
    for (to, from) in batches {
        let values = read_f32(source, from, &mut buffer);
        match target {
            Dtype::BF16 => write(to, values, |value| float::f32_to_bf16(value).to_le_bytes()),
            Dtype::F16 => write(to, values, |value| float::f32_to_f16(value).to_le_bytes()),
            _ if source == Dtype::F64 || source.size() >= 4 => write_nearest_f32(source, from, to),
            _ => write(to, values, f32::to_le_bytes),
        }
    }
}

fn write<const SIZE: usize>(to: &mut [u8], values: &[f32], bytes: impl Fn(f32) -> [u8; SIZE]) {
    for (slot, &value) in to.as_chunks_mut::<SIZE>().0.iter_mut().zip(values) {
        *slot = bytes(value);
    }
}

/// Elements as F32, exact or (from wider dtypes) such that rounding on to BF16 or F16 rounds only once.
fn read_f32<'v>(dtype: Dtype, bytes: &[u8], values: &'v mut [f32; BATCH]) -> &'v [f32] {
    let count = bytes.len() / dtype.size();
    match dtype {
        Dtype::BF16 => {
            for (slot, element) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *slot = float::bf16_to_f32(u16::from_le_bytes(*element));
            }
        }
        Dtype::F16 => {
            for (slot, element) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *slot = float::f16_to_f32(u16::from_le_bytes(*element));
            }
        }
        Dtype::F32 => {
            for (slot, element) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *slot = f32::from_le_bytes(*element);
            }
        }
        _ => {
            let mut wide = [0.0; BATCH];
            for (slot, &value) in values.iter_mut().zip(read_f64(dtype, bytes, &mut wide)) {
                *slot = float::f64_to_f32_odd(value);
            }
        }
    }
    &values[..count]
}

/// From dtypes that F32 cannot hold exactly, straight to the nearest F32.
fn write_nearest_f32(source: Dtype, from: &[u8], to: &mut [u8]) {
    let mut wide = [0.0; BATCH];
    for (slot, &value) in to.as_chunks_mut::<4>().0.iter_mut().zip(read_f64(source, from, &mut wide)) {
        *slot = (value as f32).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_values_are_rounded_once() -> Result<()> {
        // The first two lie just off a tie of BF16 and of F16, the third on a tie that rounds to infinity in F16.
        let values =
            [1.0 + 2f64.powi(-8) + 2f64.powi(-40), 65519.999, 65520.0, -1e300, 2f64.powi(-25) * 1.0001];
        let tensor = Tensor::owned(Dtype::F64, vec![5], values.map(f64::to_le_bytes).concat());
        let infinity = f64::INFINITY;
        let expected = [1.0078125, 65536.0, 65536.0, -infinity, 2f64.powi(-25)];
        assert_eq!(tensor.cast(Dtype::BF16)?.tolist(5), expected);
        let expected = [1.00390625, 65504.0, infinity, -infinity, 2f64.powi(-24)];
        assert_eq!(tensor.cast(Dtype::F16)?.tolist(5), expected);
        assert_eq!(tensor.cast(Dtype::F32)?.tolist(5), values.map(|value| f64::from(value as f32)));
        Ok(())
    }

    #[test]
    fn every_half_precision_value_survives_the_way_through_f32() -> Result<()> {
        for dtype in [Dtype::BF16, Dtype::F16] {
            let finite = |bits: &u16| dtype == Dtype::BF16 || bits & 0x7c00 != 0x7c00 || bits & 0x3ff == 0;
            let patterns =
                (0..=u16::MAX).filter(finite).filter(|bits| dtype != Dtype::BF16 || bits & 0x7fff <= 0x7f80);
            let bytes: Vec<u8> = patterns.flat_map(u16::to_le_bytes).collect();
            let tensor = Tensor::owned(dtype, vec![bytes.len() / 2], bytes);
            assert!(tensor.cast(Dtype::F32)?.cast(dtype)?.equal(&tensor), "{dtype}");
        }
        Ok(())
    }

    #[test]
    fn other_targets_are_refused() {
        let tensor = Tensor::owned(Dtype::F32, vec![1], vec![0; 4]);
        assert!(tensor.cast(Dtype::F8E4M3).is_err());
        assert!(tensor.cast(Dtype::I32).is_err());
        for dtype in [Dtype::F4, Dtype::F8E8M0, Dtype::C64] {
            let carried = Tensor::owned(dtype, vec![2], vec![0; dtype.bytes_of(2) as usize]);
            let error = carried.cast(Dtype::F32).err().map(|error| error.to_string());
            assert_eq!(error, Some(format!("the values of {dtype} tensors cannot be read")));
            assert!(carried.cast(dtype).is_ok_and(|same| same.equal(&carried)), "nothing is to be done");
        }
    }
}
