//! `provenance.json`: what a directory was made from, so that it can be told whether it is up to date.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source_hashes::{HashedShard, SourceHashes};
use super::weight_errors::WeightErrors;
use crate::checkpoint::Checkpoint;
use crate::dialect::DialectId;
use crate::error::{Error, Result};
use crate::plan::Layout;

/// The folder of a scheme that says how it was decided.
pub(crate) const RECORDS: &str = "layer-sensitivity";
/// The record of a scheme; it is written last.
pub(crate) const PROVENANCE: &str = "provenance.json";

/// What the FP8 layers of a scheme lose, by module.
pub(crate) const WEIGHT_ERROR: &str = "weight-error.json";

/// What the FP8 layers of the scheme in `directory` lose, as far as that was recorded.
pub(crate) fn read_weight_errors(directory: &Path) -> WeightErrors {
    let text = std::fs::read(directory.join(RECORDS).join(WEIGHT_ERROR)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
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
#[derive(Debug, Clone, Serialize)]
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
    /// [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let content = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
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
    /// The base checkpoint.
    pub model: &'a Source,
    /// Where static input scales came from.
    pub input_scales: Option<String>,
    /// How FP8 layers are laid out.
    pub layout: LayoutWords,
    /// Key of all inputs: a directory whose key is that of a new run is up to date.
    pub inputs: &'a str,
    /// Every weight file of the scheme.
    pub weights: &'a [WeightFile],
}

/// What is read back from a `provenance.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct ProvenanceRecord {
    /// See [`Provenance::inputs`].
    pub inputs: String,
    /// See [`Provenance::weights`].
    pub weights: Vec<WeightFile>,
    /// See [`Provenance::model`].
    pub model: RecordedModel,
}

/// The base checkpoint of a [`ProvenanceRecord`].
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedModel {
    /// See [`Source::shards`].
    pub shards: Vec<HashedShard>,
}

impl ProvenanceRecord {
    /// Reads the record of the scheme in `directory`; nothing when it has none that this version can use.
    pub fn read(directory: &Path) -> Option<Self> {
        let text = std::fs::read(directory.join(RECORDS).join(PROVENANCE)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// The base checkpoint in a provenance record.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// The directory as it was named.
    pub directory: String,
    /// SHA-256 of `config.json`.
    pub config_sha256: String,
    /// Every weight file.
    pub shards: Vec<HashedShard>,
}

impl Source {
    /// Records `checkpoint`; what `sources` have not seen of it yet is hashed now.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) fn of(checkpoint: &Checkpoint, sources: &SourceHashes) -> Result<Self> {
        Ok(Source {
            directory: checkpoint.directory().display().to_string(),
            config_sha256: hex(&Sha256::digest(checkpoint.config_text())),
            shards: sources.finish()?,
        })
    }
}

/// A [`Layout`] in words.
#[derive(Debug, Clone, Serialize)]
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
