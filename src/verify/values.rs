//! Values that no weight has: NaN, infinity, and codes of NaN.

use crate::tensor::Dtype;

/// How many of the whole elements in `bytes` are NaN or infinite; none of integers and narrow floats.
pub(super) fn non_finite(dtype: Dtype, bytes: &[u8]) -> u64 {
    let words = |mask: u16| {
        bytes.as_chunks::<2>().0.iter().filter(|v| u16::from_le_bytes(**v) & mask == mask).count() as u64
    };
    match dtype {
        Dtype::BF16 => words(0x7f80),
        Dtype::F16 => words(0x7c00),
        Dtype::F32 => {
            let values = bytes.as_chunks::<4>().0.iter().map(|v| f32::from_le_bytes(*v));
            values.filter(|value| !value.is_finite()).count() as u64
        }
        Dtype::F64 => {
            let values = bytes.as_chunks::<8>().0.iter().map(|v| f64::from_le_bytes(*v));
            values.filter(|value| !value.is_finite()).count() as u64
        }
        _ => 0,
    }
}

/// How many E4M3 codes are NaN.
pub(super) fn nan_codes(codes: &[u8]) -> u64 {
    codes.iter().filter(|code| **code & 0x7f == 0x7f).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_counted_in_every_float() {
        let values = [0.0, 1.0, -3.5, f64::NAN, f64::INFINITY, 1e4, f64::NEG_INFINITY];
        let bf16: Vec<u8> = values.iter().flat_map(|v| half::bf16::from_f64(*v).to_le_bytes()).collect();
        let f16: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f64(*v).to_le_bytes()).collect();
        let f32: Vec<u8> = values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect();
        let f64: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        for (dtype, bytes) in [(Dtype::BF16, bf16), (Dtype::F16, f16), (Dtype::F32, f32), (Dtype::F64, f64)] {
            assert_eq!(non_finite(dtype, &bytes), 3, "{dtype}");
        }
        assert_eq!(non_finite(Dtype::U8, &[0xff; 8]), 0);
        assert_eq!(nan_codes(&[0x7f, 0xff, 0x7e, 0]), 2);
    }
}
