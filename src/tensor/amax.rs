//! The largest magnitude of a run of elements, the number a scale is made from.

use super::values::read_f64;
use super::{Dtype, Tensor, float};
use rayon::prelude::*;

/// Elements a thread takes at a time.
const CHUNK: usize = 1 << 20;

/// The largest |x| of little-endian elements, 0 for none. NaN when an element is NaN, infinity when one is infinite.
///
/// BF16, F16 and F32 compare magnitudes as integers, whose order is that of the values with NaN above infinity. Other
/// dtypes go through F64 and are rounded to nearest.
pub fn amax_of(dtype: Dtype, bytes: &[u8]) -> f32 {
    match dtype {
        Dtype::BF16 => float::bf16_to_f32(magnitude16(bytes)),
        Dtype::F16 => float::f16_to_f32(magnitude16(bytes)),
        Dtype::F32 => f32::from_bits(magnitude32(bytes)),
        _ => amax_of_any(dtype, bytes) as f32,
    }
}

impl Tensor {
    /// The largest |x|, 0 for an empty tensor. NaN when an element is NaN, infinity when one is infinite.
    pub fn amax(&self) -> f64 {
        let dtype = self.dtype();
        let chunks = self.bytes().par_chunks(CHUNK * dtype.size());
        let of_chunk = |chunk: &[u8]| match dtype {
            Dtype::BF16 | Dtype::F16 | Dtype::F32 => f64::from(amax_of(dtype, chunk)),
            _ => amax_of_any(dtype, chunk),
        };
        chunks.map(of_chunk).reduce(|| 0.0, larger)
    }
}

/// The larger of two magnitudes, NaN above all.
fn larger(left: f64, right: f64) -> f64 {
    if left.is_nan() || left > right { left } else { right }
}

fn magnitude16(bytes: &[u8]) -> u16 {
    let magnitude = |element: &[u8; 2]| i16::from_le_bytes(*element) & 0x7fff;
    bytes.as_chunks::<2>().0.iter().fold(0, |largest, element| magnitude(element).max(largest)) as u16
}

fn magnitude32(bytes: &[u8]) -> u32 {
    let magnitude = |element: &[u8; 4]| i32::from_le_bytes(*element) & 0x7fff_ffff;
    bytes.as_chunks::<4>().0.iter().fold(0, |largest, element| magnitude(element).max(largest)) as u32
}

fn amax_of_any(dtype: Dtype, bytes: &[u8]) -> f64 {
    let mut values = [0.0; 1024];
    bytes.chunks(values.len() * dtype.size()).fold(0.0, |largest, chunk| {
        let values = read_f64(dtype, chunk, &mut values);
        values.iter().fold(largest, |largest, value| larger(largest, value.abs()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bf16_bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|&value| float::f32_to_bf16(value).to_le_bytes()).collect()
    }

    #[test]
    fn sign_does_not_matter_and_nothing_gives_zero() {
        assert_eq!(amax_of(Dtype::BF16, &bf16_bytes(&[0.5, -3.0, 2.0])), 3.0);
        assert_eq!(amax_of(Dtype::F32, &[1.5f32, -0.25].map(f32::to_le_bytes).concat()), 1.5);
        assert_eq!(amax_of(Dtype::F16, &0xbc00u16.to_le_bytes()), 1.0);
        assert_eq!(amax_of(Dtype::BF16, &[]), 0.0);
        assert_eq!(amax_of(Dtype::I8, &[0x80, 5]), 128.0);
        assert_eq!(amax_of(Dtype::F8E4M3, &[0xfe, 0x01]), 448.0);
    }

    #[test]
    fn an_infinity_shows_and_a_nan_shows_above_it() {
        let infinite = [1.0, f32::NEG_INFINITY, 2.0];
        let nan = [f32::INFINITY, f32::NAN, 2.0];
        assert_eq!(amax_of(Dtype::BF16, &bf16_bytes(&infinite)), f32::INFINITY);
        assert!(amax_of(Dtype::BF16, &bf16_bytes(&nan)).is_nan());
        assert!(amax_of(Dtype::F32, &nan.map(f32::to_le_bytes).concat()).is_nan());
        assert!(amax_of(Dtype::F64, &nan.map(|value| f64::from(value).to_le_bytes()).concat()).is_nan());
        assert!(Tensor::owned(Dtype::BF16, vec![3], bf16_bytes(&nan)).amax().is_nan());
    }
}
