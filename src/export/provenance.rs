//! `provenance.json`: what a directory was made from, so that it can be told whether it is up to date.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::plan::Layout;

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

/// A weight file of the base checkpoint and its BLAKE3 hash (`b3sum` prints the same): SHA-256 of all weights would take
/// longer than writing the scheme.
#[derive(Debug, Clone, Serialize)]
pub struct HashedShard {
    /// File name inside the directory.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub blake3: String,
}

/// Hashes every weight file of `checkpoint`, over all cores.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn hash_shards(checkpoint: &Checkpoint) -> Result<Vec<HashedShard>> {
    let shards: Vec<_> = checkpoint.shards().collect();
    shards
        .into_par_iter()
        .map(|(file, _, bytes)| {
            let mut hasher = blake3::Hasher::new();
            for chunk in bytes.chunks(64 << 20) {
                interrupt::check()?;
                hasher.update_rayon(chunk);
            }
            let blake3 = hasher.finalize().to_hex().to_string();
            Ok(HashedShard { file: file.into(), bytes: bytes.len() as u64, blake3 })
        })
        .collect()
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
    pub model: &'a Model,
    /// Where static input scales came from.
    pub input_scales: Option<String>,
    /// How FP8 layers are laid out.
    pub layout: LayoutWords,
}

/// The base checkpoint in a provenance record.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    /// The directory as it was named.
    pub directory: String,
    /// SHA-256 of `config.json`.
    pub config_sha256: String,
    /// Every weight file.
    pub shards: Vec<HashedShard>,
}

impl Model {
    /// Records `checkpoint`, hashing all of it.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        Ok(Model {
            directory: checkpoint.directory().display().to_string(),
            config_sha256: hex(&Sha256::digest(checkpoint.config_text())),
            shards: hash_shards(checkpoint)?,
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

impl From<&Layout> for LayoutWords {
    fn from(layout: &Layout) -> Self {
        LayoutWords {
            dialect: layout.dialect.to_string(),
            activations: layout.activations.to_string(),
            rounding: layout.rounding.to_string(),
            scale_sharing: layout.scale_sharing.to_string(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
