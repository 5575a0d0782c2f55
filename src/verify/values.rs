//! Values of weights that are not quantised.

use rayon::prelude::*;

use crate::dialect::{Code, Problem};
use crate::error::Result;
use crate::interrupt;
use crate::model::Model;
use crate::tensor::{Dtype, Tensor};

/// How many bytes are looked through between two looks at whether somebody asked to stop.
const STEP: usize = 1 << 24;

/// Looks for NaN and infinity in every tensor but scales, of which these are findings whatever is read.
///
/// # Errors
/// [`crate::Error::Interrupted`].
pub(super) fn check(model: &Model) -> Result<Vec<Problem>> {
    let tensors: Vec<(&str, &Tensor)> =
        model.tensors().filter(|(name, _)| !name.ends_with("_scale")).collect();
    let tensors = tensors.into_iter().filter(|(name, _)| !name.ends_with("_scale_inv"));
    let found: Result<Vec<Option<Problem>>> = tensors
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(name, tensor)| {
            let mut count = 0;
            for bytes in tensor.bytes().chunks(STEP) {
                interrupt::check()?;
                count += non_finite(tensor.dtype(), bytes);
            }
            let message = || {
                let (values, verb) = if count == 1 { ("value", "is") } else { ("values", "are") };
                format!(
                    "`{name}` holds {count} {values} that {verb} NaN or infinite: every output that passes through is lost"
                )
            };
            Ok((count > 0).then(|| Problem::new(Code::NonFinite, name, message())))
        })
        .collect();
    Ok(found?.into_iter().flatten().collect())
}

/// How many values have an exponent of nothing but ones.
fn non_finite(dtype: Dtype, bytes: &[u8]) -> usize {
    let words =
        |mask: u16| bytes.chunks_exact(2).filter(|v| u16::from_le_bytes([v[0], v[1]]) & mask == mask).count();
    match dtype {
        Dtype::BF16 => words(0x7f80),
        Dtype::F16 => words(0x7c00),
        Dtype::F32 => {
            let values = bytes.as_chunks::<4>().0.iter().map(|v| f32::from_le_bytes(*v));
            values.filter(|value| !value.is_finite()).count()
        }
        Dtype::F64 => {
            let values = bytes.as_chunks::<8>().0.iter().map(|v| f64::from_le_bytes(*v));
            values.filter(|value| !value.is_finite()).count()
        }
        _ => 0,
    }
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
    }
}
