//! What the value of an option may be, and how its text is read.

use std::fmt;

use crate::selector::{Globs, nearest};

/// More coverage points than this in one range are a typing error.
const MOST_POINTS: u64 = 10_000;

/// What the value of an option must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// No value: the option is there or not.
    Flag,
    /// Any text.
    Text,
    /// A path; not empty.
    Path,
    /// A glob that parses.
    Glob,
    /// A whole number.
    Integer,
    /// A finite number.
    Number,
    /// A percentage from 0 to 100.
    Percent,
    /// A size in bytes: `6GiB`, `5.5GB`, `800MB`, `1024`.
    Size,
    /// One of these words.
    Choice(Vec<String>),
    /// Values separated by commas; percentages also as ranges, `10..100:10`.
    List(Box<Kind>),
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A flag that is there.
    Flag,
    /// Text, a path, a glob or a choice.
    Text(String),
    /// A whole number, or a size in bytes.
    Integer(i64),
    /// A number or a percentage.
    Number(f64),
    /// The values of a list, or of an option that may be repeated.
    List(Vec<Value>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Kind::Flag => f.write_str("no value"),
            Kind::Text => f.write_str("a text"),
            Kind::Path => f.write_str("a path"),
            Kind::Glob => f.write_str("a glob"),
            Kind::Integer => f.write_str("a whole number"),
            Kind::Number => f.write_str("a number"),
            Kind::Percent => f.write_str("a percentage from 0 to 100"),
            Kind::Size => f.write_str("a size such as 6GiB, 5.5GB or 800MB"),
            Kind::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Kind::List(item) if **item == Kind::Percent => {
                f.write_str("percentages such as 10,20,12.5 or 10..100:10")
            }
            Kind::List(item) => write!(f, "a list, separated by commas, each {item}"),
        }
    }
}

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the option: "must be …, not `x`".
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let bad = || format!("must be {self}, not `{text}`");
        match self {
            Kind::Flag => Err("takes no value".into()),
            Kind::Text => Ok(Value::Text(text.into())),
            Kind::Path if text.is_empty() => Err("is an empty path".into()),
            Kind::Path => Ok(Value::Text(text.into())),
            Kind::Glob => match Globs::new([text]) {
                Ok(_) => Ok(Value::Text(text.into())),
                Err(error) => Err(format!("cannot be used: {error}")),
            },
            Kind::Integer => text.parse().map(Value::Integer).map_err(|_| bad()),
            Kind::Number => finite(text).map(Value::Number).ok_or_else(bad),
            Kind::Percent => Decimal::percent(text).map(|d| Value::Number(d.value())).ok_or_else(bad),
            Kind::Size => size(text).map(Value::Integer).ok_or_else(bad),
            Kind::Choice(words) if words.iter().any(|w| w == text) => Ok(Value::Text(text.into())),
            Kind::Choice(words) => Err(match nearest(text, words.iter().map(String::as_str)) {
                Some(near) => format!("{}; did you mean `{near}`?", bad()),
                None => bad(),
            }),
            Kind::List(item) if **item == Kind::Percent => {
                parse_percents(text).map(|list| Value::List(list.into_iter().map(Value::Number).collect()))
            }
            Kind::List(item) => {
                text.split(',').map(|part| item.parse(part.trim())).collect::<Result<_, _>>().map(Value::List)
            }
        }
    }
}

/// The units of a size, decimal and binary; without one, bytes.
const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a size above 0, rounded down to whole bytes.
fn size(text: &str) -> Option<i64> {
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, unit) = unit.unwrap_or((text.strip_suffix('B').unwrap_or(text), 1));
    let number = number.trim_end();
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    // Below 2^53 the product is exact to the byte.
    (1.0..9_007_199_254_740_992.0).contains(&bytes).then_some(bytes as i64)
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

/// Reads percentages: `10,20,12.5`, and ranges with a step, `10..100:10`, in the order in which they stand.
///
/// # Errors
/// The rest of a sentence that begins with the option, for what is no percentage, a bad range, or a repetition.
pub fn parse_percents(text: &str) -> Result<Vec<f64>, String> {
    let mut percents: Vec<f64> = Vec::new();
    for part in text.split(',').map(str::trim) {
        for percent in parse_part(part)? {
            if percents.contains(&percent) {
                return Err(format!("names {percent} % twice"));
            }
            percents.push(percent);
        }
    }
    Ok(percents)
}

fn parse_part(part: &str) -> Result<Vec<f64>, String> {
    let bad = |text: &str| {
        format!("must be percentages from 0 to 100 such as 10,20,12.5 or 10..100:10, not `{text}`")
    };
    let Some((first, rest)) = part.split_once("..") else {
        return Decimal::percent(part).map(|d| vec![d.value()]).ok_or_else(|| bad(part));
    };
    let Some((last, step)) = rest.split_once(':') else {
        return Err(format!("has the range `{part}` without a step; write `{part}:10`"));
    };
    match (Decimal::percent(first), Decimal::percent(last), Decimal::percent(step)) {
        (Some(first), Some(last), Some(step)) => Decimal::range(first, last, step).ok_or_else(|| {
            format!("has the range `{part}`, which has no points, or more than {MOST_POINTS}")
        }),
        _ => Err(bad(part)),
    }
}

/// A decimal number, kept exactly so that `0..1:0.1` gives 0.3 and not 0.30000000000000004.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u64,
    places: u32,
}

impl Decimal {
    /// A percentage from 0 to 100 with at most nine decimal places.
    fn percent(text: &str) -> Option<Decimal> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || text.len() > 13 || fraction.len() > 9 {
            return None;
        }
        let decimal =
            Decimal { digits: format!("{whole}{fraction}").parse().ok()?, places: fraction.len() as u32 };
        (decimal.digits <= 100 * 10u64.pow(decimal.places)).then_some(decimal)
    }

    fn value(self) -> f64 {
        self.digits as f64 / 10f64.powi(self.places as i32)
    }

    fn with_places(self, places: u32) -> u64 {
        self.digits * 10u64.pow(places - self.places)
    }

    /// The points from `first` to `last`; `None` when there are none, or too many.
    fn range(first: Decimal, last: Decimal, step: Decimal) -> Option<Vec<f64>> {
        let places = first.places.max(last.places).max(step.places);
        let (first, last, step) =
            (first.with_places(places), last.with_places(places), step.with_places(places));
        let count = last.checked_sub(first)?.checked_div(step)? + 1;
        let point = |i| Decimal { digits: first + i * step, places }.value();
        (count <= MOST_POINTS).then(|| (0..count).map(point).collect())
    }
}
