//! The factor that ModelOpt scales values with before it rounds them.

use crate::format::MAX;

/// What ModelOpt multiplies by before it rounds to E4M3 (`_fp8_eager`). PyTorch divides a number by a tensor as the reciprocal times
/// the number, which is rounded twice; ties of BF16 weights go another way for the last bit of it.
pub(super) fn modelopt_factor(amax: f32) -> f32 {
    const LEAST: f32 = 1.0 / (1 << 24) as f32;
    MAX * (1.0 / if amax <= LEAST { 1.0 } else { amax })
}
