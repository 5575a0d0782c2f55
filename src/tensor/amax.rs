//! The largest magnitude of a run of elements, the number a scale is made from.

use super::kernel::for_each_kernel;
use super::values::read_f64;
use super::{Dtype, Kernel, Tensor, float};
use rayon::prelude::*;

/// Elements a thread takes at a time.
const CHUNK: usize = 1 << 20;

/// The largest |x| of little-endian elements, 0 for none. NaN when an element is NaN, infinity when one is infinite.
///
/// BF16, F16 and F32 compare magnitudes as integers, whose order is that of the values with NaN above infinity. Other
/// dtypes go through F64 and are rounded to nearest.
pub fn amax_of(dtype: Dtype, bytes: &[u8]) -> f32 {
    Kernel::best().amax_of(dtype, bytes)
}

impl Kernel {
    /// [`amax_of`] with the instructions of this kernel.
    pub fn amax_of(self, dtype: Dtype, bytes: &[u8]) -> f32 {
        match dtype {
            Dtype::BF16 => float::bf16_to_f32(magnitude16(self, bytes)),
            Dtype::F16 => float::f16_to_f32(magnitude16(self, bytes)),
            Dtype::F32 => f32::from_bits(magnitude32(self, bytes)),
            _ => amax_of_any(dtype, bytes) as f32,
        }
    }
}

impl Tensor {
    /// The largest |x|, 0 for an empty tensor. NaN when an element is NaN, infinity when one is infinite.
    ///
    /// # Panics
    /// As [`Tensor::to_f64_iter`].
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

for_each_kernel! {
    fn magnitude16(bytes: &[u8]) -> u16 = largest_magnitude16;
    fn magnitude32(bytes: &[u8]) -> u32 = largest_magnitude32;
}

#[inline(always)]
fn largest_magnitude16(bytes: &[u8]) -> u16 {
    // Signed, because SSE2 has a maximum of signed 16-bit integers only.
    let magnitude = |element: &[u8; 2]| i16::from_le_bytes(*element) & 0x7fff;
    bytes.as_chunks::<2>().0.iter().fold(0, |largest, element| magnitude(element).max(largest)) as u16
}

#[inline(always)]
fn largest_magnitude32(bytes: &[u8]) -> u32 {
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

    #[test]
    fn every_kernel_finds_the_largest_magnitude_wherever_it_lies() {
        for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
            let size = dtype.size();
            for kernel in Kernel::available() {
                for count in [1, 2, 31, 32, 33, 64, 127, 128, 129, 300] {
                    for place in 0..count {
                        // One byte off any alignment; the sign bit is set, and all else is zero.
                        let mut bytes = vec![0u8; 1 + count * size];
                        bytes[1 + place * size + size - 1] = 0xc0;
                        assert_eq!(kernel.amax_of(dtype, &bytes[1..]), 2.0, "{dtype} {}", kernel.name());
                        bytes[1 + place * size..][..size].fill(0xff);
                        assert!(kernel.amax_of(dtype, &bytes[1..]).is_nan(), "{dtype} {}", kernel.name());
                    }
                }
            }
        }
    }
}
