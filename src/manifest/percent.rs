//! A coverage point's percentage, kept exactly.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A percentage above 0 and up to 100 with at most three decimals: `10` means 10 %.
///
/// It is held in thousandths, because the number of groups it stands for must not depend on floating-point rounding
/// (`55/100*N` is wrong for some N).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    thousandths: u32,
}

impl Percent {
    /// 100 %.
    pub const FULL: Percent = Percent { thousandths: 100_000 };

    /// The percentage `value`, taken as the shortest decimal that denotes it.
    ///
    /// # Errors
    /// [`Error::Argument`] outside 0 < value ≤ 100, or with more than three decimals.
    pub fn from_f64(value: f64) -> Result<Self> {
        value.to_string().parse()
    }

    /// The percentage that `text` denotes, 0 included: a share of something that may be nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] outside 0 to 100, with more than three decimals, or for what is no plain decimal number.
    pub fn share(text: &str) -> Result<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if text.starts_with('-') && text.parse::<f64>().is_ok() {
            return Err(unusable(text, "it must be above 0"));
        }
        if !digits(whole) || !digits(decimals) {
            return Err(unusable(text, "a plain decimal number is expected"));
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 3 {
            return Err(unusable(text, "it has more than three decimals"));
        }
        // Anything longer than the limit is too large, so the number below cannot overflow.
        let whole = whole.trim_start_matches('0');
        let thousandths = match whole.len() {
            0..=3 => format!("{whole}{decimals:0<3}").parse::<u32>().unwrap_or(u32::MAX),
            _ => u32::MAX,
        };
        match thousandths {
            0..=100_000 => Ok(Percent { thousandths }),
            _ => Err(unusable(text, "it must not exceed 100")),
        }
    }

    /// The percentages from `first` up to `last`, each `step` (which is above 0) more than the one before.
    pub fn range(first: Self, last: Self, step: Self) -> impl Iterator<Item = Self> {
        let step = step.thousandths.max(1) as usize;
        (first.thousandths..=last.thousandths).step_by(step).map(|thousandths| Percent { thousandths })
    }

    /// The percentage as a number: `12.5`.
    pub fn as_f64(self) -> f64 {
        f64::from(self.thousandths) / 1_000.0
    }

    /// The share of the whole, as the coverage manifest states it: 10 % is `0.1`.
    pub fn fraction(self) -> f64 {
        f64::from(self.thousandths) / 100_000.0
    }

    /// The percentage as an integer when it is a whole number.
    pub fn whole(self) -> Option<u32> {
        self.thousandths.is_multiple_of(1_000).then_some(self.thousandths / 1_000)
    }

    /// The share that `part` is of `whole`, to the nearest thousandth of a percent but above 0 when `part` is; 0 when `part`
    /// is 0, which is no percentage to ask for.
    pub fn of_share(part: usize, whole: usize) -> Self {
        let (part, whole) = (part as u128, (whole as u128).max(1));
        let thousandths = (part * 100_000 + whole / 2) / whole;
        Percent { thousandths: (thousandths as u32).clamp(u32::from(part > 0), 100_000) }
    }

    /// Whether `part` is at least this percentage of `whole`, in integers.
    pub fn is_reached_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 100_000 >= u128::from(self.thousandths) * u128::from(whole)
    }

    /// Whether `part` is at least this percentage of `whole`, both finite and at least 0.
    pub fn is_reached_by_score(self, part: f64, whole: f64) -> bool {
        // The products are rounded, and the whole must count all the same.
        part * 100_000.0 >= f64::from(self.thousandths) * whole || part >= whole
    }

    /// How many of `total` groups the percentage stands for: `max(1, ceil(percent / 100 × total))`, in integers; 0 of 0.
    pub fn count_of(self, total: usize) -> usize {
        let count = (u128::from(self.thousandths) * total as u128).div_ceil(100_000);
        // The count cannot exceed `total`, as the percentage does not exceed 100.
        (count as usize).max(1).min(total)
    }
}

impl FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Percent::share(text)? {
            Percent { thousandths: 0 } => Err(unusable(text, "it must be above 0")),
            percent => Ok(percent),
        }
    }
}

fn unusable(text: &str, why: &str) -> Error {
    Error::argument(format!("`{text}` is no usable percentage: {why}"))
        .with_hint("write 10 for 10 %, or 12.5 for 12.5 %")
}

impl fmt::Display for Percent {
    /// Without trailing zeros and without a sign: `10`, `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (whole, rest) = (self.thousandths / 1_000, self.thousandths % 1_000);
        let text = if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") };
        f.pad(if rest == 0 { &text } else { text.trim_end_matches('0') })
    }
}

impl TryFrom<f64> for Percent {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self> {
        Percent::from_f64(value)
    }
}

impl TryFrom<&str> for Percent {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

/// So that a function can take a [`Percent`] as well as what may or may not become one.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl serde::Serialize for Percent {
    /// An integer when whole, as published; otherwise a decimal number.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.whole() {
            Some(whole) => serializer.serialize_u32(whole),
            None => serializer.serialize_f64(self.as_f64()),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Percent::from_f64(value).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(percent: &str, total: usize) -> usize {
        percent.parse::<Percent>().unwrap().count_of(total)
    }

    #[test]
    fn counts_are_exact_where_floating_point_is_not() {
        // 55 / 100 × 100 is 55.00000000000001 in floating point, and 0.07 × 100 is 7.000000000000001.
        assert_eq!(count("55", 100), 55);
        assert_eq!(count("7", 100), 7);
        assert_eq!(count("10", 275), 28);
        assert_eq!(count("50", 275), 138);
        assert_eq!(count("100", 275), 275);
        assert_eq!(count("0.001", 5), 1);
        assert_eq!(count("12.5", 8), 1);
        assert_eq!(count("12.501", 8), 2);
        assert_eq!(count("10", 0), 0);
    }

    #[test]
    fn a_percentage_prints_as_it_is_written() {
        for text in ["10", "12.5", "0.001", "99.999", "100", "0.05"] {
            let percent: Percent = text.parse().unwrap();
            assert_eq!(percent.to_string(), text);
            assert_eq!(Percent::from_f64(text.parse().unwrap()).unwrap(), percent);
            let json = serde_json::to_string(&percent).unwrap();
            assert_eq!(json, text);
            assert_eq!(serde_json::from_str::<Percent>(&json).unwrap(), percent);
        }
        assert_eq!("012.500".parse::<Percent>().unwrap().to_string(), "12.5");
        assert_eq!(Percent::from_f64(10.0).unwrap().whole(), Some(10));
    }

    #[test]
    fn what_is_no_percentage_is_refused_with_the_reason() {
        let cases = [
            ("0", "above 0"),
            ("0.000", "above 0"),
            ("-5", "above 0"),
            ("100.001", "exceed 100"),
            ("1000", "exceed 100"),
            ("99999999999999999999999", "exceed 100"),
            ("33.3333", "three decimals"),
            ("", "plain decimal"),
            ("10%", "plain decimal"),
            ("1e1", "plain decimal"),
            (".5", "plain decimal"),
            ("5.", "plain decimal"),
            ("NaN", "plain decimal"),
        ];
        for (text, reason) in cases {
            let error = text.parse::<Percent>().unwrap_err();
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert_eq!(error.kind(), "argument");
        }
        for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 100.5, 1.0 / 3.0] {
            assert!(Percent::from_f64(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_share_is_rounded_but_never_to_nothing() {
        let share = |part, whole| Percent::of_share(part, whole).to_string();
        assert_eq!([share(1, 3), share(2, 3), share(80, 275)], ["33.333", "66.667", "29.091"]);
        assert_eq!([share(1, 10_000_000), share(0, 5), share(5, 5), share(0, 0)], ["0.001", "0", "100", "0"]);
        let half = Percent::from_f64(50.0).unwrap();
        assert!(half.is_reached_by(1, 2) && !half.is_reached_by(u64::MAX / 2, u64::MAX));
    }

    proptest! {
        /// The count is the smallest k with k / total ≥ percent / 100, found by trying every k with whole numbers.
        #[test]
        fn the_count_is_the_smallest_that_reaches_the_share(thousandths in 1u32..=100_000, total in 1usize..2_000) {
            let brute = (1..=total)
                .find(|&k| k as u128 * 100_000 >= u128::from(thousandths) * total as u128)
                .unwrap();
            prop_assert_eq!(Percent { thousandths }.count_of(total), brute);
        }

        #[test]
        fn text_and_numbers_give_the_same_percentage(thousandths in 1u32..=100_000) {
            let percent = Percent { thousandths };
            prop_assert_eq!(percent.to_string().parse::<Percent>().unwrap(), percent);
            prop_assert_eq!(Percent::from_f64(percent.as_f64()).unwrap(), percent);
        }
    }
}
