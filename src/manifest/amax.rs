//! The largest absolute values that calibration saw, by quantizer name.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::document::{ManifestSection, first_duplicate};
use crate::error::{Error, Result};
use crate::input::{InputKind, Watched, read_watched};
use crate::json::{self, Number};

/// An ordered map from quantizer name (`<module>.input_quantizer`, `<module>.weight_quantizer`) to amax, in the spelling
/// of the file. Values are as published: not checked for sign, NaN or infinity.
#[derive(Debug, Clone, Default)]
pub struct RecordedAmax {
    entries: Vec<(String, f64)>,
    index: HashMap<String, usize>,
    /// The file that it was read from, as it was then.
    watched: Option<Watched>,
}

/// The same values in the same order, wherever they were read from.
impl PartialEq for RecordedAmax {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl RecordedAmax {
    /// Reads an amax file: `{"<module>.input_quantizer": amax}`, or the same under the top-level key `amax`, as in a
    /// manifest.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it holds no amax or a value that is no number.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (bytes, watched) = read_watched(path, InputKind::Manifest)?;
        Ok(RecordedAmax { watched: Some(watched), ..Self::parse(path, &bytes)? })
    }

    /// As [`RecordedAmax::open`], from `bytes`; `path` is named in errors only.
    ///
    /// # Errors
    /// [`Error::Format`] as for [`RecordedAmax::open`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let bytes = json::without_mark(bytes);
        let ManifestSection::Object(top) = json::parse::<ManifestSection<Value>>(path, bytes)? else {
            return Err(Error::format(path, "is not an amax file, which is a JSON object"));
        };
        let entries = match top.iter().position(|(key, _)| key == "amax") {
            // Read once more, so that repeated keys below `amax` are not lost in a map.
            Some(_) => json::parse::<WithAmax>(path, bytes)?.amax,
            None => ManifestSection::Object(numbers(path, top)?),
        };
        Self::from_section(path, entries)
    }

    /// The map under a manifest's key `amax`.
    pub(super) fn from_section(path: &Path, section: ManifestSection<Number>) -> Result<Self> {
        let ManifestSection::Object(entries) = section else {
            return Err(Error::format(path, "has an `amax` that is not an object of quantizer names"));
        };
        if let Some(name) = first_duplicate(entries.iter().map(|(name, _)| name)) {
            return Err(Error::format(path, format!("has the amax of `{name}` twice")));
        }
        let entries: Vec<_> = entries.into_iter().map(|(name, value)| (name, value.0)).collect();
        let index = entries.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        Ok(RecordedAmax { entries, index, watched: None })
    }

    /// The file that it was read from, as it was then; nothing for a part of a manifest, or what was parsed from memory.
    pub fn watched(&self) -> Option<&Watched> {
        self.watched.as_ref()
    }

    /// The amax of the quantizer `name`, e.g. `visual.blocks.0.attn.qkv.input_quantizer`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.index.get(name).map(|&at| self.entries[at].1)
    }

    /// The entries in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, f64)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[derive(serde::Deserialize)]
struct WithAmax {
    amax: ManifestSection<Number>,
}

/// The entries of a flat amax file as numbers.
fn numbers(path: &Path, entries: Vec<(String, Value)>) -> Result<Vec<(String, Number)>> {
    if !entries.iter().any(|(name, _)| name.ends_with("_quantizer")) {
        return Err(Error::format(path, "holds no amax").with_hint(
            "an amax file reads {\"<module>.input_quantizer\": 1.5}, or has that under the key `amax`",
        ));
    }
    entries
        .into_iter()
        .map(|(name, value)| match serde_json::from_value(value) {
            Ok(number) => Ok((name, number)),
            Err(_) => Err(Error::format(path, format!("has an amax of `{name}` that is not a number"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RecordedAmax> {
        RecordedAmax::parse(Path::new("amax.json"), text.as_bytes())
    }

    #[test]
    fn a_flat_file_and_the_key_of_a_manifest_give_the_same_map() {
        let flat = parse(r#"{"b.input_quantizer": 2, "a.input_quantizer": 1.5}"#).unwrap();
        let below =
            parse(r#"{"x": [], "amax": {"b.input_quantizer": 2, "a.input_quantizer": 1.5}}"#).unwrap();
        assert_eq!(flat, below);
        let entries: Vec<_> = flat.iter().collect();
        assert_eq!(entries, [("b.input_quantizer", 2.0), ("a.input_quantizer", 1.5)]);
        assert_eq!((flat.get("a.input_quantizer"), flat.get("a")), (Some(1.5), None));
    }

    #[test]
    fn what_holds_no_amax_is_refused() {
        let cases = [
            (r#"{"model_type": "qwen2"}"#, "holds no amax"),
            (r#"[1]"#, "not an amax file"),
            (r#"{"amax": [1]}"#, "not an object"),
            (r#"{"a.input_quantizer": [1, 2]}"#, "`a.input_quantizer` that is not a number"),
            (r#"{"a.input_quantizer": 1, "a.input_quantizer": 2}"#, "`a.input_quantizer` twice"),
            (r#"{"amax": {"a.input_quantizer": 1, "a.input_quantizer": 2}}"#, "`a.input_quantizer` twice"),
            (r#"{"amax": {"a.input_quantizer": "x"}}"#, "in `a.input_quantizer`"),
        ];
        for (text, problem) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("amax.json") && error.contains(problem), "{text}: {error}");
        }
    }
}
