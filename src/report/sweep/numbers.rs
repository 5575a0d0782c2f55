//! Numbers as the report writes them: short, with one unit for a whole column.

/// A decimal unit of size that suits a whole column or axis. Binary units are never used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    /// `kB`, `MB` or `GB`.
    pub name: &'static str,
    divisor: f64,
    decimals: usize,
}

impl Unit {
    /// The unit that shows `largest` bytes as a number between 1 and 1000, where there is one.
    pub fn for_largest(largest: u64) -> Self {
        match largest {
            0..1_000_000 => Unit { name: "kB", divisor: 1e3, decimals: 1 },
            1_000_000..1_000_000_000 => Unit { name: "MB", divisor: 1e6, decimals: 2 },
            _ => Unit { name: "GB", divisor: 1e9, decimals: 2 },
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

/// A score: three digits, `0.133`, `1.24e-5`; words where it is no finite number.
pub(super) fn score(value: f64) -> String {
    match value {
        v if v.is_nan() => "not a number".into(),
        v if v.is_infinite() => "infinite".into(),
        0.0 => "0".into(),
        v if !(0.01..999.5).contains(&v.abs()) => format!("{v:.2e}"),
        // The digits after the point that make three in all.
        v => format!("{v:.*}", (2 - v.abs().log10().floor() as i32).clamp(0, 4) as usize),
    }
}

/// A share of 1 as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A coverage point, which is a percentage already: `10`, `12.5`.
pub(super) fn coverage(percent: f64) -> String {
    format!("{percent} %")
}

/// A large count: `3.09 billion`, `752,640`.
pub(super) fn count(value: u64) -> String {
    match value {
        0..1_000_000 => grouped(value),
        1_000_000..1_000_000_000 => format!("{:.1} million", value as f64 / 1e6),
        _ => format!("{:.2} billion", value as f64 / 1e9),
    }
}

/// With a comma between groups of three digits.
fn grouped(value: u64) -> String {
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

/// `1 group`, `2 groups`.
pub(super) fn groups(count: usize) -> String {
    format!("{count} {}", if count == 1 { "group" } else { "groups" })
}

/// Decibels with one decimal.
pub(super) fn decibels(value: f64) -> String {
    if value.is_finite() { format!("{value:.1}") } else { "lossless".into() }
}

/// The same with the unit.
pub(super) fn with_decibels(value: f64) -> String {
    if value.is_finite() { format!("{value:.1} dB") } else { decibels(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_one_decimal_unit() {
        let unit = Unit::for_largest(7_509_245_952);
        assert_eq!([unit.number(7_509_245_952), unit.number(87_000_000)], ["7.51", "0.09"]);
        assert_eq!(Unit::for_largest(3_400_000).text(2_000_000), "2.00 MB");
        assert_eq!(Unit::for_largest(10).name, "kB");
    }

    #[test]
    fn scores_are_short_and_broken_ones_are_words() {
        let scores = [0.0066397, 0.0133, 0.2649, 1.118, 24.44, 275.0, 1234.0, 0.0].map(score);
        assert_eq!(scores, ["6.64e-3", "0.0133", "0.265", "1.12", "24.4", "275", "1.23e3", "0"]);
        assert_eq!([score(f64::INFINITY), score(f64::NAN)], ["infinite", "not a number"]);
    }

    #[test]
    fn counts_are_grouped_or_named() {
        assert_eq!([count(999), count(752_640), count(3_086_000_000)], ["999", "752,640", "3.09 billion"]);
    }
}
