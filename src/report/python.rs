//! Numbers and JSON as Python prints them, so that a report equals the published one.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// `'%.<digits>f' % value`.
pub(super) fn fixed(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { word(value).to_string() }
}

/// `'%.<digits>e' % value`: the exponent has a sign and at least two digits.
pub(super) fn scientific(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return word(value).to_string();
    }
    let text = format!("{value:.digits$e}");
    with_python_exponent(&text)
}

/// `repr(value)` of a finite number: the shortest decimal that reads back as the same number.
fn repr(value: f64) -> String {
    let text = format!("{value:e}");
    let exponent = text.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    // Python writes an exponent outside these bounds only, and always a decimal point within.
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        with_python_exponent(&text)
    }
}

fn with_python_exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_string() };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// The words of C for what is no finite number.
fn word(value: f64) -> &'static str {
    if value.is_nan() {
        "nan"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

/// The words of `json.dump`, which [`crate::json::Number`] reads back.
pub(super) fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Serialises `value` as `json.dump(value, indent=2)` lays it out, numbers included, with a final newline.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let formatter = PythonFormatter(PrettyFormatter::new());
    value
        .serialize(&mut Serializer::with_formatter(&mut out, formatter))
        .expect("reports have string keys and are written to memory");
    out.push(b'\n');
    out
}

/// serde_json's pretty layout with Python's spelling of floating-point numbers.
struct PythonFormatter(PrettyFormatter<'static>);

impl Formatter for PythonFormatter {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(repr(value).as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected texts are what CPython 3 prints.

    #[test]
    fn percent_formats_are_those_of_c() {
        assert_eq!([fixed(8.0, 1), fixed(0.25, 1), fixed(0.35, 1)], ["8.0", "0.2", "0.3"]);
        assert_eq!(fixed(10.998807262551553, 4), "10.9988");
        assert_eq!([scientific(1000.5, 3), scientific(1001.5, 3)], ["1.000e+03", "1.002e+03"]);
        assert_eq!(scientific(22_544_384.0, 3), "2.254e+07");
        assert_eq!(scientific(0.003874190169170788, 6), "3.874190e-03");
        assert_eq!([scientific(0.0, 3), scientific(1e100, 3)], ["0.000e+00", "1.000e+100"]);
        assert_eq!([scientific(f64::NAN, 3), fixed(f64::NEG_INFINITY, 1)], ["nan", "-inf"]);
    }

    #[test]
    fn json_numbers_are_spelled_as_by_repr() {
        let cases = [
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.2345678901234568e17, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001234, "1.234e-05"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (0.1, "0.1"),
            (22_544_384.0, "22544384.0"),
        ];
        for (value, text) in cases {
            assert_eq!(repr(value), text);
        }
        assert_eq!(
            json(&serde_json::json!({"a": [1, 1e-7], "b": {}})),
            b"{\n  \"a\": [\n    1,\n    1e-07\n  ],\n  \"b\": {}\n}\n"
        );
    }
}
