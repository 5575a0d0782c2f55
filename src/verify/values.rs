//! Values that no weight has: NaN, infinity, and codes of NaN.
//!
//! Almost no weight has them, so that the largest magnitude is asked for first, which vector instructions find as fast as memory
//! gives bytes.

use std::collections::HashSet;

use super::{Code, Problem};
use crate::model::Model;
use crate::tensor::kernel::for_each_kernel;
use crate::tensor::{Dtype, Kernel};

/// The magnitude of a NaN in E4M3.
const NAN_CODE: u8 = 0x7f;

for_each_kernel! {
    fn largest_code(codes: &[u8]) -> u8 = largest_magnitude8;
}

#[inline(always)]
fn largest_magnitude8(codes: &[u8]) -> u8 {
    codes.iter().fold(0, |largest, code| (code & 0x7f).max(largest))
}

/// How many of the whole elements in `bytes` are NaN or infinite; none of integers and narrow floats.
pub(super) fn non_finite(dtype: Dtype, bytes: &[u8]) -> u64 {
    if matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32)
        && Kernel::best().amax_of(dtype, bytes).is_finite()
    {
        return 0;
    }
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
    if largest_code(Kernel::best(), codes) < NAN_CODE {
        return 0;
    }
    codes.iter().filter(|code| **code & 0x7f == NAN_CODE).count() as u64
}

/// Findings about the tensors of `model` of which `unusable` counts values that no weight has; `codes` are those that hold codes.
/// Such values in scales are findings whatever is read.
pub(super) fn check_values(
    model: &Model,
    codes: &HashSet<String>,
    unusable: &dyn Fn(&str) -> u64,
) -> Vec<Problem> {
    let is_scale = |name: &str| name.ends_with("_scale") || name.ends_with("_scale_inv");
    let tensors = model.tensors().map(|(name, _)| name).filter(|name| !is_scale(name));
    let problem = |name: &str| {
        let count = unusable(name);
        if codes.contains(name) {
            let layer = name.strip_suffix(".weight").unwrap_or(name);
            return Problem::new(Code::NanCodes, layer, format!("`{name}` holds {count} NaN codes"));
        }
        let (values, verb) = if count == 1 { ("value", "is") } else { ("values", "are") };
        let message = format!(
            "`{name}` holds {count} {values} that {verb} NaN or infinite: every output that passes through is lost"
        );
        Problem::new(Code::NonFinite, name, message)
    };
    tensors.filter(|name| unusable(name) > 0).map(problem).collect()
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
        assert_eq!(nan_codes(&[0x7e, 0xfe, 0x80, 0]), 0);
        assert_eq!((nan_codes(&[]), non_finite(Dtype::BF16, &[])), (0, 0));
    }
}
