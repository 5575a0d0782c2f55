//! Functions of single values, in a form that the compiler turns into vector code.

/// eˣ, to about one unit in the last place: the polynomial of Cephes' `expf`.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the constants as they were published")]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12582912.0; // 1.5 · 2²³: adding and subtracting it rounds to an integer
    let x = x.clamp(-87.33654, 88.72283);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * 0.693_359_375 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_6e-1;
    p = p * r + 5.000_000_2e-1;
    let value = p * r * r + r + 1.0;
    // 2ⁿ in two steps, as n may be 128.
    let half = (n * 0.5 + ROUND) - ROUND;
    let power = |n: f32| f32::from_bits(((n as i32 + 127) as u32) << 23);
    value * power(half) * power(n - half)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_of_the_exact_value() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "{x}: {error}");
            x += 0.00731;
        }
        assert!(exp(-1000.0) < 1e-37 && exp(0.0) == 1.0);
    }
}
