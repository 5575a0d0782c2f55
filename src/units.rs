//! Numbers with their units, the same everywhere.

/// A decimal unit of size. Binary units are never used for what is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByteUnit {
    /// `B`, `kB`, `MB` or `GB`.
    pub name: &'static str,
    divisor: f64,
    decimals: usize,
}

impl ByteUnit {
    const GB: ByteUnit = ByteUnit { name: "GB", divisor: 1e9, decimals: 2 };

    /// The unit that shows `count` bytes best on its own.
    fn of(count: u64) -> Self {
        match count {
            0..1_000 => ByteUnit { name: "B", divisor: 1.0, decimals: 0 },
            1_000..1_000_000 => ByteUnit { name: "kB", divisor: 1e3, decimals: 1 },
            1_000_000..1_000_000_000 => ByteUnit { name: "MB", divisor: 1e6, decimals: 1 },
            _ => ByteUnit::GB,
        }
    }

    /// The unit for a whole column or axis: it shows `largest` bytes as a number between 1 and 1000, where there is one.
    pub fn for_largest(largest: u64) -> Self {
        match largest {
            0..1_000_000 => ByteUnit { name: "kB", divisor: 1e3, decimals: 1 },
            1_000_000..1_000_000_000 => ByteUnit { name: "MB", divisor: 1e6, decimals: 2 },
            _ => ByteUnit::GB,
        }
    }

    /// `bytes` in this unit.
    pub fn value(self, bytes: u64) -> f64 {
        bytes as f64 / self.divisor
    }

    /// The number alone, for a column whose heading names the unit.
    pub fn number(self, bytes: u64) -> String {
        format!("{:.*}", self.decimals, self.value(bytes))
    }

    /// With the unit.
    pub fn text(self, bytes: u64) -> String {
        format!("{} {}", self.number(bytes), self.name)
    }
}

/// A size in decimal units, as disks and checkpoints are measured: `512 B`, `7.5 MB`, `4.13 GB`.
pub fn bytes(count: u64) -> String {
    ByteUnit::of(count).text(count)
}

/// The same with `decimals` digits after the point, but whole bytes.
pub fn bytes_to(count: u64, decimals: usize) -> String {
    let unit = ByteUnit::of(count);
    ByteUnit { decimals: if unit.divisor > 1.0 { decimals } else { 0 }, ..unit }.text(count)
}

/// `count` bytes rounded up to what [`bytes_to`] shows of them with `decimals`.
pub fn bytes_rounded_up(count: u64, decimals: usize) -> u64 {
    let step = (ByteUnit::of(count).divisor / 10f64.powi(decimals as i32)).max(1.0) as u64;
    count.div_ceil(step).saturating_mul(step)
}

/// A number of weights: `512`, `65.5 k`, `7.5 M`, `3.09 G`.
pub fn weights(count: u64) -> String {
    let decimals = if count < 1_000_000_000 { 1 } else { 2 };
    weights_to(count, decimals)
}

/// The same with `decimals` digits after the point, but whole weights.
pub fn weights_to(count: u64, decimals: usize) -> String {
    let (divisor, name) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => (1e3, "k"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        _ => (1e9, "G"),
    };
    format!("{:.decimals$} {name}", count as f64 / divisor)
}

/// What is said of a score, or of a sum of scores, that is no finite number, wherever one is shown.
pub const NOT_FINITE: &str = "not finite";

/// A score: three digits, `0.133`, `1.24e-5`; [`NOT_FINITE`] where it is none.
pub fn score(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        // The digits after the point that make three in all.
        _ if is_short(value) => {
            score_to(value, (2 - value.abs().log10().floor() as i32).clamp(0, 4) as usize)
        }
        _ => score_to(value, 2),
    }
}

/// The same with `decimals` digits after the point.
pub fn score_to(value: f64, decimals: usize) -> String {
    match value.is_finite() {
        false => NOT_FINITE.into(),
        true if is_short(value) => format!("{value:.decimals$}"),
        true => format!("{value:.decimals$e}"),
    }
}

/// Whether `value` reads better without an exponent.
fn is_short(value: f64) -> bool {
    value == 0.0 || (0.01..999.5).contains(&value.abs())
}

/// What is said of a number that is not finite.
pub fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("not a number"),
        f64::INFINITY => Some("infinite"),
        f64::NEG_INFINITY => Some("minus infinite"),
        _ => None,
    }
}

/// Four digits where there is a fraction, without zeros at the end: `0.3`, `12.35`, `1.5e-7`; whole numbers in full.
pub fn number(value: f64) -> String {
    if let Some(word) = not_finite(value) {
        return word.into();
    }
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if !(-5..15).contains(&magnitude) {
        let text = format!("{value:.3e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", without_zeros(digits));
    }
    without_zeros(&format!("{value:.*}", (3 - magnitude).max(0) as usize)).to_string()
}

/// `digits` without zeros at the end of a fraction.
fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// A large count: `3.09 billion`, `752,640`.
pub fn count(value: u64) -> String {
    match value {
        0..1_000_000 => with_commas(value),
        1_000_000..1_000_000_000 => format!("{:.1} million", value as f64 / 1e6),
        _ => format!("{:.2} billion", value as f64 / 1e9),
    }
}

/// With a comma between groups of three digits.
fn with_commas(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many of what `noun` names: `1 group`, `2 groups`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        return format!("{count} {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

/// Decibels with one decimal; infinitely many are no loss, and NaN is what cannot be told.
pub fn decibels(value: f64) -> String {
    match value {
        f64::INFINITY => "lossless".into(),
        f64::NEG_INFINITY => "-∞".into(),
        value if value.is_nan() => "–".into(),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_one_decimal_unit() {
        let unit = ByteUnit::for_largest(7_509_245_952);
        assert_eq!([unit.number(7_509_245_952), unit.number(87_000_000)], ["7.51", "0.09"]);
        assert_eq!(ByteUnit::for_largest(3_400_000).text(2_000_000), "2.00 MB");
        assert_eq!(ByteUnit::for_largest(10).name, "kB");
    }

    #[test]
    fn sizes_alone_have_the_unit_that_suits_them() {
        assert_eq!(
            [512, 65_536, 7_500_000, 4_130_000_000].map(bytes),
            ["512 B", "65.5 kB", "7.5 MB", "4.13 GB"]
        );
        assert_eq!([512, 65_536, 4_130_000_000].map(|n| bytes_to(n, 3)), ["512 B", "65.536 kB", "4.130 GB"]);
        assert_eq!([512, 2_400_001, 2_400_000].map(|n| bytes_rounded_up(n, 3)), [512, 2_401_000, 2_400_000]);
        assert_eq!([512, 65_536, 3_086_000_000].map(weights), ["512", "65.5 k", "3.09 G"]);
    }

    #[test]
    fn scores_are_short_and_broken_ones_are_words() {
        let scores = [0.0066397, 0.0133, 0.2649, 1.118, 24.44, 275.0, 1234.0, 0.0].map(score);
        assert_eq!(scores, ["6.64e-3", "0.0133", "0.265", "1.12", "24.4", "275", "1.23e3", "0"]);
        assert_eq!([score(f64::INFINITY), score(f64::NAN)], [NOT_FINITE; 2]);
        assert_eq!([score_to(1.118, 1), score_to(4.963e-7, 1)], ["1.1", "5.0e-7"]);
    }

    #[test]
    fn plain_numbers_have_four_digits_at_most() {
        let numbers = [0.1 + 0.2, 10.97515231049008, 3.0, 1e7 + 0.25, 1.5e-7, -2.5, 0.0, 1e20].map(number);
        assert_eq!(numbers, ["0.3", "10.98", "3", "10000000", "1.5e-7", "-2.5", "0", "1e20"]);
    }

    #[test]
    fn counts_are_grouped_or_named() {
        assert_eq!([count(999), count(752_640), count(3_086_000_000)], ["999", "752,640", "3.09 billion"]);
        assert_eq!([0, 1, 2].map(|n| counted(n, "group")), ["0 groups", "1 group", "2 groups"]);
        assert_eq!(["entry", "day"].map(|noun| counted(3, noun)), ["3 entries", "3 days"]);
    }
}
