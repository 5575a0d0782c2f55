//! `provenance.json`: what a directory was made from, so that it can be told whether it is up to date.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::RecordedFile;
use crate::checkpoint::hub::HubOrigin;
use crate::checkpoint::{Checkpoint, RECORDS};
use crate::dialect::DialectId;
use crate::error::Result;
use crate::input::{self, InputKind};
use crate::plan::Layout;
use crate::seal::{is_sealed, resealed, sealed};

/// The record of a scheme; it is written last.
pub(crate) const PROVENANCE: &str = "provenance.json";

/// Where it is in the directory of its scheme.
pub(crate) fn record_path() -> String {
    format!("{RECORDS}/{PROVENANCE}")
}

/// Who asked for an export: recorded, never interpreted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    /// The command line, program first.
    pub command: Vec<String>,
    /// The policy script, where one ran.
    pub policy: Option<HashedFile>,
}

/// A small file and the SHA-256 of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedFile {
    /// Its path as it was named, or the name of a built-in script.
    pub file: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl HashedFile {
    /// The record of `content`, which was read from `file`.
    pub fn of(file: impl Into<String>, content: &[u8]) -> Self {
        HashedFile { file: file.into(), sha256: hex(&Sha256::digest(content)) }
    }

    /// Reads `path` and records it.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let content = input::read(path, InputKind::Data)?;
        Ok(Self::of(path.display().to_string(), &content))
    }
}

/// A weight file of a scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightFile {
    /// File name inside the directory.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its content, lower-case hexadecimal.
    pub blake3: String,
    /// What its content was made from, for the same source: equal keys, equal bytes.
    pub content: String,
}

/// The content of `provenance.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Provenance<'a> {
    /// Version of qlua.
    pub qlua: &'static str,
    /// Name of the scheme.
    pub scheme: &'a str,
    /// Who asked.
    #[serde(flatten)]
    pub request: &'a Request,
    /// The sensitivity manifest.
    pub manifest: &'a HashedFile,
    /// The format whose scores decided, where another one than that of the weights was asked for.
    pub format_from: Option<&'a str>,
    /// The base checkpoint.
    pub model: &'a Source,
    /// Bytes of all tensors of the base checkpoint.
    pub base_bytes: u64,
    /// Where static input scales came from.
    pub input_scales: Option<String>,
    /// How FP8 layers are laid out.
    pub layout: LayoutWords,
    /// Key of all inputs: a directory whose key is that of a new run is up to date.
    pub inputs: &'a str,
    /// Every weight file of the scheme.
    pub weights: &'a [WeightFile],
    /// Every other file of the scheme but this record, sorted by name.
    pub files: &'a [RecordedFile],
}

impl Provenance<'_> {
    /// The content of `provenance.json`, whose last entry tells whether any of it was changed since.
    pub fn to_json(&self) -> Vec<u8> {
        sealed(self)
    }
}

/// What is read back from a `provenance.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct ProvenanceRecord {
    /// See [`Provenance::scheme`].
    #[serde(default)]
    pub scheme: Option<String>,
    /// See [`Request::command`].
    #[serde(default)]
    pub command: Vec<String>,
    /// See [`Request::policy`].
    #[serde(default)]
    pub policy: Option<HashedFile>,
    /// See [`Provenance::manifest`].
    #[serde(default)]
    pub manifest: Option<HashedFile>,
    /// See [`Provenance::format_from`].
    #[serde(default)]
    pub format_from: Option<String>,
    /// See [`Provenance::base_bytes`]; records of older releases have none.
    #[serde(default)]
    pub base_bytes: Option<u64>,
    /// See [`Provenance::inputs`].
    pub inputs: String,
    /// See [`Provenance::weights`].
    pub weights: Vec<WeightFile>,
    /// See [`Provenance::model`].
    pub model: RecordedModel,
    /// See [`Provenance::layout`].
    pub layout: LayoutWords,
    /// See [`Provenance::files`]; records of older releases have none.
    #[serde(default)]
    pub files: Option<Vec<RecordedFile>>,
}

/// `record`, the text of a sealed one, with `file` in the place of the file of its name; nothing where that is not on record once.
pub(crate) fn with_file(record: &[u8], file: &RecordedFile) -> Option<Vec<u8>> {
    resealed(record, |body| {
        // As it is written: what stands before and after it stays, whatever a later release may have put there.
        let name = format!("\"file\": {},", serde_json::Value::from(file.file.as_str()));
        let (before, after) = body.split_once(&name)?;
        let (_, after) = after.split_once('}').filter(|(_, after)| !after.contains(&name))?;
        let indent = before.rsplit('\n').next()?;
        Some(format!(
            "{before}{name}\n{indent}\"bytes\": {},\n{indent}\"blake3\": \"{}\"\n{}}}{after}",
            file.bytes,
            file.blake3,
            indent.strip_suffix("  ")?
        ))
    })
}

/// The base checkpoint of a [`ProvenanceRecord`].
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedModel {
    /// See [`Source::directory`].
    #[serde(default)]
    pub directory: String,
    /// See [`Source::config_sha256`].
    #[serde(default)]
    pub config_sha256: String,
    /// See [`Source::shards`].
    pub shards: Vec<RecordedFile>,
}

/// What stands where a scheme has its record.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "it is taken apart where it is made: no list holds any")]
pub enum FoundRecord {
    /// Nothing.
    Absent,
    /// Something else, or a record that was changed: the rest of a sentence about it.
    Damaged(String),
    /// A record.
    Read(ProvenanceRecord),
}

impl FoundRecord {
    /// Looks into `directory`.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when there is a record that cannot be read.
    pub fn of(directory: &Path) -> Result<Self> {
        let path = directory.join(RECORDS).join(PROVENANCE);
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(FoundRecord::Damaged("is no file".into()));
        }
        let text = match input::read(&path, InputKind::Record) {
            Ok(text) => text,
            Err(error) if input::is_missing(&error) => return Ok(FoundRecord::Absent),
            Err(error) => return Err(error),
        };
        Ok(FoundRecord::parse(&text))
    }

    /// What `text` is, which stands where a record does.
    pub fn parse(text: &[u8]) -> Self {
        let record: ProvenanceRecord = match serde_json::from_slice(text) {
            Ok(record) => record,
            Err(error) => return FoundRecord::Damaged(format!("is no record of a scheme: {error}")),
        };
        match (is_sealed(text), &record.files) {
            (Some(true), Some(_)) | (None, None) => FoundRecord::Read(record),
            _ => FoundRecord::Damaged("was changed since it was written".into()),
        }
    }
}

impl ProvenanceRecord {
    /// The name, the size and the hash of every file on record, weights first.
    pub fn all_files(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        let weights =
            self.weights.iter().map(|weight| (weight.file.as_str(), weight.bytes, weight.blake3.as_str()));
        let others = self.files.iter().flatten();
        weights.chain(others.map(|other| (other.file.as_str(), other.bytes, other.blake3.as_str())))
    }

    /// Reads the record of the scheme in `directory`; nothing when it has none that can be trusted.
    pub fn read(directory: &Path) -> Option<Self> {
        match FoundRecord::of(directory) {
            Ok(FoundRecord::Read(record)) => Some(record),
            _ => None,
        }
    }
}

/// The base checkpoint in a provenance record.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// The directory as it was named; that of a model of the Hugging Face Hub by the name of the model.
    pub directory: String,
    /// Which model of the Hugging Face Hub it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubOrigin>,
    /// SHA-256 of `config.json`.
    pub config_sha256: String,
    /// Every weight file.
    pub shards: Vec<RecordedFile>,
}

impl Source {
    /// Records `checkpoint`, whose weight files are `shards`.
    pub(crate) fn of(checkpoint: &Checkpoint, shards: Vec<RecordedFile>) -> Self {
        Source {
            directory: checkpoint.named().display().to_string(),
            hub: checkpoint.hub().cloned(),
            config_sha256: hex(&Sha256::digest(checkpoint.config_text())),
            shards,
        }
    }
}

/// A [`Layout`] in words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "see Layout")]
pub struct LayoutWords {
    pub dialect: String,
    pub activations: String,
    pub rounding: String,
    pub scale_sharing: String,
}

impl LayoutWords {
    /// The words for `layout` in `dialect`.
    pub fn of(dialect: DialectId, layout: &Layout) -> Self {
        LayoutWords {
            dialect: dialect.to_string(),
            activations: layout.activations.to_string(),
            rounding: layout.encoding.rounding.to_string(),
            scale_sharing: layout.scale_sharing.to_string(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
