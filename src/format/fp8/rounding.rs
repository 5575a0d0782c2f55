//! How the quotient of weight and scale is rounded on its way to a code.

use super::code::{clamp, encode_clamped};
use crate::words::words;

words! {
    /// How `weight / scale` becomes a code.
    #[derive(PartialOrd, Ord, Hash, Default)]
    pub enum Rounding: "rounding" {
        /// `e4m3(f32(w) / scale)`: the F32 quotient, rounded once more only.
        #[default]
        Exact = "exact",
        /// `e4m3(bf16(f32(w) / scale))`: the quotient rounded to BF16 first. ModelOpt divides a BF16 weight by its F32 scalar
        /// scale, and PyTorch keeps that quotient in BF16; these are its codes on CPU, bit for bit. (By a scale for each row
        /// PyTorch divides in F32: there ModelOpt's codes are those of [`Rounding::Exact`].)
        ModelOpt = "modelopt",
    }
}

/// The code of `value` under `scale`, which is positive and finite, without branches. The sign and whether it is NaN are
/// taken from `value` itself, because the sign of a NaN quotient differs between machines.
#[inline(always)]
pub(super) fn code_of<const MODELOPT: bool>(value: f32, scale: f32) -> u8 {
    let sign = (value.to_bits() >> 24) as u8 & 0x80;
    // Clamping may come before rounding, as 448 is a BF16 value.
    let quotient = clamp(f32::from_bits(value.to_bits() & 0x7fff_ffff) / scale);
    let quotient = if MODELOPT { rounded_to_bf16(quotient) } else { quotient };
    sign | if value.is_nan() { 0x7f } else { encode_clamped(quotient) }
}

/// A value from 0 to 448 rounded to the nearest BF16, ties to even; for NaN the result means nothing.
#[inline(always)]
fn rounded_to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::encode;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_is_that_of_the_quotient_in_f32_or_in_bf16(bits in any::<u32>(), scale in 1e-38f32..1e38) {
            let value = f32::from_bits(bits);
            if !value.is_nan() {
                prop_assert_eq!(code_of::<false>(value, scale), encode(value / scale));
                let quotient = half::bf16::from_f32(value / scale).to_f32();
                prop_assert_eq!(code_of::<true>(value, scale), encode(quotient));
            }
        }
    }
}
