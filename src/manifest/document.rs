//! The JSON of a manifest as published, before anything is concluded from it.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::json::{self, Number};
use crate::seal;

/// A JSON object in file order, duplicate keys included; or something else where an object was expected.
#[derive(Debug)]
pub(super) enum ManifestSection<T> {
    Object(Vec<(String, T)>),
    Other,
}

/// One entry of `layer_sensitivity`.
#[derive(Debug)]
pub(super) struct RawGroup {
    /// One list for all groups in a row that have the same.
    pub formats: Option<Arc<[String]>>,
    pub scores: Option<Vec<Number>>,
    pub costs: Option<Vec<Number>>,
    pub importance: Option<Number>,
    pub rank: Option<u64>,
    pub module_names: Option<Vec<String>>,
}

/// One entry as it stands in the file.
#[derive(Deserialize)]
struct GroupEntry {
    formats: Option<Vec<String>>,
    scores: Option<Vec<Number>>,
    costs: Option<Vec<Number>>,
    importance: Option<Number>,
    rank: Option<Value>,
    module_names: Option<Vec<String>>,
}

/// `layer_sensitivity`, each entry taken in as soon as it is read: a million of them do not stand in memory twice.
#[derive(Debug)]
pub(super) struct GroupEntries(pub ManifestSection<RawGroup>);

impl<'de> Deserialize<'de> for GroupEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut last: Option<Arc<[String]>> = None;
        let mut take_in = |entry: GroupEntry| {
            let formats = entry.formats.map(|formats| match &last {
                Some(last) if last[..] == formats[..] => Arc::clone(last),
                _ => Arc::clone(last.insert(formats.into())),
            });
            // A vector that grew has room for more, which a million of them would keep.
            fn fitting<T>(mut list: Vec<T>) -> Vec<T> {
                list.shrink_to_fit();
                list
            }
            RawGroup {
                formats,
                scores: entry.scores.map(fitting),
                costs: entry.costs.map(fitting),
                importance: entry.importance,
                rank: entry.rank.as_ref().and_then(Value::as_u64),
                module_names: entry.module_names.map(fitting),
            }
        };
        deserializer.deserialize_any(SectionVisitor(&mut take_in, PhantomData)).map(GroupEntries)
    }
}

/// One entry of the published `sensitivity_ranking`.
#[derive(Debug, Deserialize)]
pub(super) struct RankedName {
    pub name: String,
}

/// The top level of a manifest. Keys that qlua does not read are only remembered.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub scheme: Value,
    pub model: Value,
    pub autoquant_state: Value,
    pub layers: Option<ManifestSection<IgnoredAny>>,
    pub layer_sensitivity: Option<GroupEntries>,
    pub sensitivity_ranking: Option<Vec<RankedName>>,
    pub amax: Option<ManifestSection<Number>>,
    baseline_manifest: Value,
    seal: Value,
    keys: Vec<String>,
}

impl Document {
    /// Parses `bytes` from `path` and refuses what is no manifest.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        if bytes.starts_with(b"PK\x03\x04") {
            return Err(Error::format(path, "is a PyTorch archive, not a sensitivity manifest")
                .with_hint("give the `*_quant_manifest.json` that was written beside the AutoQuant state"));
        }
        let document: Document = json::parse(path, json::without_mark(bytes))?;
        if let Some(key) = first_duplicate(document.keys.iter()) {
            return Err(Error::format(path, format!("has the key `{key}` twice")));
        }
        if !matches!(document.layer_sensitivity, Some(GroupEntries(ManifestSection::Object(_)))) {
            return Err(document.not_a_manifest(path));
        }
        // Those of other tools have none.
        if document.seal.is_string() && seal::is_sealed(bytes) != Some(true) {
            return Err(Error::format(path, seal::BROKEN).with_hint(
                "write it again; where the change was meant, take out its last entry, `seal`, with the comma before it",
            ));
        }
        Ok(document)
    }

    /// Whether the top level has `key`.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k == key)
    }

    /// Says what a file without usable `layer_sensitivity` looks like instead.
    fn not_a_manifest(&self, path: &Path) -> Error {
        let looks_like = |what: &str, hint: String| {
            Error::format(path, format!("is not a sensitivity manifest: it looks like {what}"))
                .with_hint(hint)
        };
        let manifest = "give the `*_quant_manifest.json` of an AutoQuant run".to_string();
        if self.has("selected_layers") {
            let hint = match self.baseline_manifest.as_str() {
                Some(baseline) => format!("give the manifest that it was cut from: `{baseline}`"),
                None => manifest,
            };
            return looks_like("a coverage manifest", hint);
        }
        if self.has("layer_sensitivity") {
            let hint =
                "give the `*_quant_manifest.json` beside it, which has every format's scores and costs";
            return looks_like("a per-layer sensitivity report", hint.into());
        }
        if self.has("model_type") || self.has("architectures") {
            return looks_like("a model's config.json", manifest);
        }
        if self.has("weight_map") {
            return looks_like("a checkpoint's shard index", manifest);
        }
        if self.has("producer") || self.has("quantization") && !self.has("layers") {
            return looks_like("the hf_quant_config.json of a checkpoint", manifest);
        }
        if self.keys.iter().any(|k| k.ends_with("_quantizer")) {
            return looks_like("an amax file", manifest);
        }
        Error::format(path, "is not a sensitivity manifest: it has no `layer_sensitivity`")
            .with_hint(manifest)
    }
}

/// The first of `names` that occurred before.
pub(super) fn first_duplicate<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let mut seen = HashSet::with_capacity(names.size_hint().0);
    names.map(String::as_str).find(|name| !seen.insert(*name))
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;
        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a sensitivity manifest, which is a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut document = Document::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "scheme" => document.scheme = map.next_value()?,
                        "model" => document.model = map.next_value()?,
                        "autoquant_state" => document.autoquant_state = map.next_value()?,
                        "layers" => document.layers = map.next_value()?,
                        "layer_sensitivity" => document.layer_sensitivity = map.next_value()?,
                        "sensitivity_ranking" => document.sensitivity_ranking = map.next_value()?,
                        "amax" => document.amax = map.next_value()?,
                        "baseline_manifest" => document.baseline_manifest = map.next_value()?,
                        "seal" => document.seal = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                    document.keys.push(key);
                }
                Ok(document)
            }
        }
        deserializer.deserialize_map(DocumentVisitor)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ManifestSection<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SectionVisitor(&mut |value: T| value, PhantomData))
    }
}

/// Reads a section whose values stand in the file as `E`; each is turned into what is kept at once.
struct SectionVisitor<'f, F, E>(&'f mut F, PhantomData<E>);

impl<'de, F, E, T> Visitor<'de> for SectionVisitor<'_, F, E>
where
    E: Deserialize<'de>,
    F: FnMut(E) -> T,
{
    type Value = ManifestSection<T>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ManifestSection<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            // The name is added here because serde_json only knows the line.
            let value = map.next_value().map_err(|e| de::Error::custom(format!("in `{key}`: {e}")))?;
            entries.push((key, (self.0)(value)));
        }
        Ok(ManifestSection::Object(entries))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ManifestSection<T>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ManifestSection::Other)
    }
    fn visit_str<X>(self, _: &str) -> Result<ManifestSection<T>, X> {
        Ok(ManifestSection::Other)
    }
    fn visit_bool<X>(self, _: bool) -> Result<ManifestSection<T>, X> {
        Ok(ManifestSection::Other)
    }
    fn visit_u64<X>(self, _: u64) -> Result<ManifestSection<T>, X> {
        Ok(ManifestSection::Other)
    }
    fn visit_i64<X>(self, _: i64) -> Result<ManifestSection<T>, X> {
        Ok(ManifestSection::Other)
    }
    fn visit_f64<X>(self, _: f64) -> Result<ManifestSection<T>, X> {
        Ok(ManifestSection::Other)
    }
}
