//! The inner loops, one scale at a time.

mod scalar;

use super::rounding::Rounding;
use crate::tensor::Dtype;

/// Writes the codes of little-endian elements that share a scale: `(scale, source, codes)`.
pub(super) type EncodeRun = fn(f32, &[u8], &mut [u8]);

/// The loop for `dtype`, which is BF16, F16 or F32.
pub(super) fn encode_run(dtype: Dtype, rounding: Rounding) -> EncodeRun {
    scalar::encode_run(dtype, rounding)
}
