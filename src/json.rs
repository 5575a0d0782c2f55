//! JSON as Python writes it: the bare tokens `NaN`, `Infinity` and `-Infinity` are accepted.
//!
//! serde_json follows the standard and rejects them, so they are quoted before parsing and [`Number`] reads them back.

use std::borrow::Cow;
use std::path::Path;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use crate::error::{Error, Result};
use crate::input::{self, InputKind};

/// What Python writes for numbers that JSON has not.
const PYTHON_TOKENS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSON number that may also be one of Python's `NaN`, `Infinity`, `-Infinity`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl<'de> serde::Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a number")
            }
            fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                match v {
                    "NaN" => Ok(Number(f64::NAN)),
                    "Infinity" => Ok(Number(f64::INFINITY)),
                    "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(v), &self)),
                }
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Parses `text` from `path` (named in errors only).
///
/// # Errors
/// [`Error::Format`] with line and column when the text is no JSON or not of the expected shape.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T> {
    serde_json::from_slice(&quote_python_tokens(text, b"")).map_err(|e| unexpected(path, text, &e))
}

/// What [`parse_marked`] puts before what it makes a string of; no text begins so by chance.
pub const TOKEN_MARK: char = '\0';

/// Parses `text` from `path` (named in errors only); a bare `NaN` becomes the string [`TOKEN_MARK`] + `NaN`, so that it
/// differs from the string `"NaN"`. So does an integer of more than 64 bits, which a number of serde_json does not hold.
///
/// # Errors
/// As for [`parse`].
pub fn parse_marked<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T> {
    serde_json::from_slice(&quote_python_tokens(text, b"\\u0000")).map_err(|e| unexpected(path, text, &e))
}

/// The number that `text` stands for where it is a string that [`parse_marked`] made: of an integer, the nearest.
pub fn marked_number(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(TOKEN_MARK)?;
    let is_bare = PYTHON_TOKENS.contains(&bare.as_bytes()) || is_long_integer(bare.as_bytes());
    // Rust reads Python's tokens as Python writes them.
    is_bare.then(|| bare.parse().ok())?
}

/// Reads and parses the file `path`, which is one of this `kind`.
///
/// # Errors
/// Those of [`input::read`]; [`Error::Format`] as for [`parse`].
pub fn read<T: DeserializeOwned>(path: &Path, kind: InputKind) -> Result<T> {
    parse(path, &input::read(path, kind)?)
}

/// `text` without the byte order mark that some editors put before it, which JSON does not have.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// The error for `text` from `path` that does not parse.
fn unexpected(path: &Path, text: &[u8], error: &serde_json::Error) -> Error {
    let (found, hint) = match kind_of(text) {
        Some((kind, hint)) => (kind.to_string(), hint),
        None => (error.to_string(), "check that it is the file that was meant, and that all of it is there"),
    };
    Error::format(path, format!("is not the JSON that was expected: {found}")).with_hint(hint)
}

/// What `text` is by how it begins, where no parser of JSON says it well, and what to do about it.
fn kind_of(text: &[u8]) -> Option<(&'static str, &'static str)> {
    const OTHER_FILE: &str = "give the JSON file that was meant";
    const KINDS: [(&[u8], &str, &str); 3] = [
        (b"%PDF-", "it is a PDF", OTHER_FILE),
        (b"PK\x03\x04", "it is a zip archive, as PyTorch saves", OTHER_FILE),
        (
            BYTE_ORDER_MARK,
            "it begins with a byte order mark",
            "JSON has no byte order mark: save it as UTF-8 without one",
        ),
    ];
    if text.trim_ascii().is_empty() {
        return Some((
            "it is empty",
            "make it or copy it again: a run or a download that was stopped leaves such files",
        ));
    }
    // A safetensors file begins with eight bytes of a length, then has JSON.
    if text.get(6..10).is_some_and(|bytes| bytes == b"\0\0{\"") {
        return Some(("it is a weight file (safetensors)", OTHER_FILE));
    }
    KINDS.into_iter().find(|(start, ..)| text.starts_with(start)).map(|(_, kind, hint)| (kind, hint))
}

/// Serialises `value` as Python's `json.dump(…, indent=2)` would lay it out, with a final newline.
pub fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text =
        serde_json::to_vec_pretty(value).expect("values made here have string keys and finite numbers");
    text.push(b'\n');
    text
}

/// Puts quotes around bare `NaN`, `Infinity` and `-Infinity` outside strings, and `mark` after the first quote; borrows
/// when there are none. With a mark, integers of more than 64 bits are quoted too.
fn quote_python_tokens<'a>(text: &'a [u8], mark: &[u8]) -> Cow<'a, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let (mut i, mut copied, mut in_string) = (0, 0, false);
    while i < text.len() {
        match text[i] {
            b'\\' if in_string => i += 1,
            b'"' => in_string = !in_string,
            b'-' | b'0'..=b'9' | b'I' | b'N' if !in_string => {
                let number = number_at(&text[i..]);
                let long = (!mark.is_empty() && is_long_integer(number)).then_some(number);
                if let Some(token) = PYTHON_TOKENS.into_iter().find(|t| text[i..].starts_with(t)).or(long) {
                    let out = out.get_or_insert_with(|| Vec::with_capacity(text.len() + 64));
                    out.extend_from_slice(&text[copied..i]);
                    out.push(b'"');
                    out.extend_from_slice(mark);
                    out.extend_from_slice(token);
                    out.push(b'"');
                    i += token.len();
                    copied = i;
                    continue;
                }
                i += number.len().max(1);
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.extend_from_slice(&text[copied..]);
            Cow::Owned(out)
        }
    }
}

/// The characters of a number at the beginning of `text`.
fn number_at(text: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let end = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
    &text[..end]
}

/// Whether `number` is an integer as JSON writes them, and needs more than 64 bits.
fn is_long_integer(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let is_integer = digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0") && !digits.is_empty();
    let text = std::str::from_utf8(number).unwrap_or_default();
    is_integer && text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_tokens_become_numbers_and_strings_stay() {
        let text = br#"{"a": NaN, "b": [-Infinity, Infinity, -1.5], "c \"NaN": "Infinity NaN"}"#;
        let value: serde_json::Value = parse(Path::new("x.json"), text).unwrap();
        assert_eq!(value["c \"NaN"], "Infinity NaN");
        let b: Vec<Number> = serde_json::from_value(value["b"].clone()).unwrap();
        assert_eq!(b, [Number(f64::NEG_INFINITY), Number(f64::INFINITY), Number(-1.5)]);
        let a: Number = serde_json::from_value(value["a"].clone()).unwrap();
        assert!(a.0.is_nan());
    }

    #[test]
    fn marked_tokens_differ_from_strings_of_the_same_letters() {
        let text = br#"[NaN, "NaN", -Infinity, 18446744073709551615, 18446744073709551616, -9223372036854775809, 1.5e3]"#;
        let value: serde_json::Value = parse_marked(Path::new("x.json"), text).unwrap();
        let long = ["\x0018446744073709551616", "\0-9223372036854775809"];
        let expected = serde_json::json!(["\0NaN", "NaN", "\0-Infinity", u64::MAX, long[0], long[1], 1500.0]);
        assert_eq!(value, expected);
        assert_eq!(marked_number(long[1]), Some(-9_223_372_036_854_775_808.0));
        assert_eq!(
            ["\x0012", "\0inf", "NaN", long[0].trim_start_matches('\0')].map(marked_number),
            [None; 4]
        );
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let error = parse::<serde_json::Value>(Path::new("m.json"), b"{\n  \"a\": ,\n}").unwrap_err();
        assert!(error.to_string().starts_with("`m.json` is not the JSON that was expected"), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
