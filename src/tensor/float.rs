//! Conversions between F32 and the small floating-point formats, as straight-line bit arithmetic that compilers can
//! turn into vector code. All round to nearest, ties to even; NaN stays NaN and keeps its sign.

/// The value of a BF16 bit pattern; exact.
#[inline(always)]
pub(crate) const fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// The nearest BF16; infinite from 2^128 - 2^119 on.
#[inline(always)]
pub(crate) const fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The value of an F16 bit pattern; exact.
#[inline(always)]
pub(crate) const fn f16_to_f32(bits: u16) -> f32 {
    let sign = ((bits & 0x8000) as u32) << 16;
    let magnitude = ((bits & 0x7fff) as u32) << 13;
    let normal = magnitude + ((127 - 15) << 23);
    // 2^-14 × (1 + mantissa) - 2^-14; multiplying an F32 subnormal up would be slow on many machines.
    let subnormal = (f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23)).to_bits();
    let finite = if magnitude < 0x400 << 13 { subnormal } else { normal };
    let magnitude = if magnitude >= 0x7c00 << 13 { magnitude | 0x7f80_0000 } else { finite };
    f32::from_bits(magnitude | sign)
}

/// The nearest F16; infinite from 65520 on.
#[inline(always)]
pub(crate) const fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00 | ((magnitude >> 13) & 0x3ff) as u16;
    }
    if magnitude >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    // One unit in the last place of 0.5 is 2^-24, the smallest F16: the addition itself rounds a subnormal result.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits();
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + ((magnitude >> 13) & 1)) >> 13;
    sign | if magnitude < 0x3880_0000 { subnormal as u16 } else { normal as u16 }
}

/// The value of an E4M3FN code; exact. 0x7F and 0xFF are NaN.
#[inline(always)]
pub(crate) const fn e4m3_to_f32(code: u8) -> f32 {
    let sign = ((code & 0x80) as u32) << 24;
    let magnitude = ((code & 0x7f) as u32) << 20;
    let normal = magnitude + ((127 - 7) << 23);
    // 2^-6 × (1 + mantissa) - 2^-6.
    let subnormal = (f32::from_bits(magnitude + (121 << 23)) - f32::from_bits(121 << 23)).to_bits();
    let finite = if code & 0x7f < 8 { subnormal } else { normal };
    let magnitude = if code & 0x7f == 0x7f { 0x7fc0_0000 } else { finite };
    f32::from_bits(magnitude | sign)
}

/// The value of an E5M2 code; exact. It is the upper half of an F16.
#[inline(always)]
pub(crate) const fn e5m2_to_f32(code: u8) -> f32 {
    f16_to_f32((code as u16) << 8)
}

/// The F32 from which rounding on to fewer bits gives what rounding `value` directly would: inexact results are made
/// odd in their last bit, so that no tie can arise that was none.
#[inline(always)]
pub(crate) fn f64_to_f32_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let bits = nearest.to_bits();
    if nearest.is_nan() || f64::from(nearest) == value || bits & 1 == 1 {
        return nearest;
    }
    let beyond = f64::from(nearest).abs() > value.abs();
    f32::from_bits(if beyond { bits - 1 } else { bits + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    /// Every upper half of an F32 with lower halves around the ties of BF16 and F16.
    fn f32_samples() -> impl Iterator<Item = f32> {
        let lower = [0u32, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0xffff];
        (0..=0xffffu32).flat_map(move |upper| lower.map(|lower| f32::from_bits(upper << 16 | lower)))
    }

    #[test]
    fn every_half_precision_pattern_has_the_value_that_the_half_crate_gives() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits), f16::from_bits(bits).to_f32_const());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#06x}");
            let (ours, theirs) = (bf16_to_f32(bits), bf16::from_bits(bits).to_f32_const());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#06x}");
        }
    }

    #[test]
    fn rounding_to_half_precision_agrees_with_the_half_crate() {
        for value in f32_samples() {
            let (ours, theirs) = (f16::from_bits(f32_to_f16(value)), f16::from_f32_const(value));
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{value:e}");
            let (ours, theirs) = (bf16::from_bits(f32_to_bf16(value)), bf16::from_f32_const(value));
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{value:e}");
        }
    }

    #[test]
    fn odd_rounding_leaves_no_double_rounding() {
        // Just above the tie between two BF16 values: F32 alone would round it onto the tie and then down to even.
        let value = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(f32_to_bf16(value as f32), 0x3f80);
        assert_eq!(f32_to_bf16(f64_to_f32_odd(value)), 0x3f81);
        assert_eq!(f32_to_bf16(f64_to_f32_odd(-value)), 0xbf81);
        assert_eq!(f64_to_f32_odd(0.0).to_bits(), 0);
        assert_eq!(f64_to_f32_odd(f64::INFINITY), f32::INFINITY);
        assert_eq!(f32_to_bf16(f64_to_f32_odd(1e300)), 0x7f80);
        assert_eq!(f32_to_f16(f64_to_f32_odd(1e-300)), 0);
    }
}
