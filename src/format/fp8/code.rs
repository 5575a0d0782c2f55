//! The E4M3FN code: one sign bit, four exponent bits (bias 7), three mantissa bits; no infinities; 0x7F and 0xFF are
//! NaN (Micikevicius et al. 2022, "FP8 Formats for Deep Learning").

use crate::tensor::float::e4m3_to_f32;

/// The largest value of a code, 0x7E.
pub const MAX: f32 = 448.0;
/// The smallest normal value, 2^-6, code 0x08.
const MIN_NORMAL: f32 = 0.015625;

/// The value of a code. 0x7F and 0xFF are NaN; 0x80 is -0.
pub fn decode(code: u8) -> f32 {
    e4m3_to_f32(code)
}

/// The code nearest to `value`, ties to the even code. Beyond ±448, infinities included, it saturates; NaN becomes 0x7F
/// or, with its sign bit set, 0xFF, as in PyTorch.
pub const fn encode(value: f32) -> u8 {
    let sign = (value.to_bits() >> 24) as u8 & 0x80;
    let magnitude = f32::from_bits(value.to_bits() & 0x7fff_ffff);
    sign | if value.is_nan() { 0x7f } else { encode_clamped(clamp(magnitude)) }
}

/// At most [`MAX`]; NaN stays NaN.
#[inline(always)]
pub(super) const fn clamp(magnitude: f32) -> f32 {
    if magnitude > MAX { MAX } else { magnitude }
}

/// [`encode`] for a value from 0 to [`MAX`], without branches; for NaN the result means nothing.
///
/// Adding 2^20 times the binade of the value leaves room for three bits below the binade: the addition itself rounds to
/// nearest even. Below 2^-6 the binade is held at 2^-6, which gives the evenly spaced subnormal codes.
#[inline(always)]
pub(super) const fn encode_clamped(magnitude: f32) -> u8 {
    let binade = f32::from_bits(magnitude.to_bits() & 0x7f80_0000);
    let binade = if binade > MIN_NORMAL { binade } else { MIN_NORMAL };
    let anchor = binade.to_bits().wrapping_add(20 << 23);
    let steps = (magnitude + f32::from_bits(anchor)).to_bits().wrapping_sub(anchor);
    steps.wrapping_add(anchor >> 20).wrapping_sub((127 - 6 + 20) << 3) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every how manyth case is looked at: Miri takes about a thousand times as long.
    const STEP: usize = if cfg!(miri) { 9 } else { 1 };

    /// The nearest positive code by trying all 127, ties to the even one.
    fn nearest(magnitude: f32) -> u8 {
        let distance = |code: u8| (f64::from(decode(code)) - f64::from(magnitude)).abs();
        (0..=0x7eu8).fold(0, |best, code| {
            let closer = distance(code) < distance(best);
            let even_tie = distance(code) == distance(best) && code % 2 == 0;
            if closer || even_tie { code } else { best }
        })
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for code in 0..=0xffu8 {
            assert_eq!(encode(decode(code)), code);
        }
    }

    #[test]
    fn the_corners_are_where_the_format_puts_them() {
        assert_eq!((decode(0x7e), decode(0x08), decode(0x01)), (448.0, 1.0 / 64.0, 1.0 / 512.0));
        assert_eq!((encode(1e30), encode(f32::NEG_INFINITY), encode(449.0)), (0x7e, 0xfe, 0x7e));
        assert_eq!((encode(f32::NAN), encode(-f32::NAN)), (0x7f, 0xff));
        assert_eq!((encode(-0.0), encode(f32::MIN_POSITIVE), encode(f32::from_bits(1))), (0x80, 0, 0));
        // Half the smallest code ties to the even code 0; anything above it does not.
        assert_eq!((encode(1.0 / 1024.0), encode(1.0000001 / 1024.0)), (0, 1));
    }

    #[test]
    fn values_around_every_midpoint_go_to_the_nearest_code() {
        for code in (0..0x7eu8).step_by(STEP) {
            let middle = (decode(code) + decode(code + 1)) / 2.0;
            for value in [middle.next_down(), middle, middle.next_up()] {
                assert_eq!(encode(value), nearest(value), "{value:e}");
                assert_eq!(encode(-value), nearest(value) | 0x80, "{value:e}");
            }
        }
    }

    #[test]
    fn the_float8_crate_agrees_on_every_upper_half_of_an_f32() {
        // It drops the sign of NaN and does not saturate infinities in the same way, so finite values only.
        // An odd step meets every exponent and, one time or another, every bit of a mantissa.
        for upper in (0..=0xffffu32).step_by(if cfg!(miri) { 257 } else { 1 }) {
            for lower in [0, 1, 0x8000] {
                let value = f32::from_bits(upper << 16 | lower);
                if value.is_finite() {
                    assert_eq!(encode(value), float8::F8E4M3::from_f32(value).to_bits(), "{value:e}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 20 } else { 2000 }))]

        #[test]
        fn encoding_finds_the_nearest_code(value in 0.0f32..500.0) {
            prop_assert_eq!(encode(value), nearest(value));
            prop_assert_eq!(encode(value / 4096.0), nearest(value / 4096.0));
        }

        #[test]
        fn encoding_is_odd_and_monotone(left in any::<f32>(), right in any::<f32>()) {
            prop_assert_eq!(encode(-left), encode(left) ^ 0x80);
            let (small, large) = if left.abs() < right.abs() { (left, right) } else { (right, left) };
            prop_assert!(encode(small.abs()) <= encode(large.abs()) || large.is_nan() || small.is_nan());
        }
    }
}
