//! Code to run, and what it is called.

use std::path::Path;

use super::embedded::Embedded;
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::write::HashedFile;

/// The name of what standard input holds.
const STDIN: &str = "=stdin";

/// Source code and the name under which positions show it (`@path`, or `=text`).
#[derive(Debug, Clone)]
pub struct Chunk {
    name: String,
    source: Vec<u8>,
}

impl Chunk {
    /// The script in the file `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such file, [`Error::Io`] when it cannot be read.
    pub fn file(path: &Path) -> Result<Chunk> {
        let source =
            input::read(path, InputKind::Script).map_err(|error| match input::is_missing(&error) {
                true => Error::not_found(format!("there is no script `{}`", path.display())),
                false => error,
            })?;
        Ok(Chunk::new(format!("@{}", path.display()), source))
    }

    /// A script that is part of the binary.
    pub fn built_in(script: &Embedded) -> Chunk {
        Chunk::new(script.chunk_name(), script.source.into())
    }

    /// Code from the command line.
    pub fn code(code: &str) -> Chunk {
        Chunk::new("=(command line)".into(), code.into())
    }

    /// Code from standard input.
    pub fn stdin(source: Vec<u8>) -> Chunk {
        Chunk::new(STDIN.into(), source)
    }

    /// The name: `@path`, or `=text`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The code, without a byte order mark or a shebang line.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Whether its positions are in a file, or in what came as one.
    pub(super) fn has_lines(&self) -> bool {
        self.name.starts_with('@') || self.name == STDIN
    }

    /// Its name, and the hash of its source, for whoever wants to know exactly what runs.
    pub fn described(&self) -> String {
        let HashedFile { file, sha256, .. } =
            HashedFile::of(self.name.trim_start_matches(['@', '=']), &self.source);
        format!("{file} (SHA-256 {sha256})")
    }

    /// Code with the name that its positions have: `@path`, or `=text`.
    pub(super) fn new(name: String, mut source: Vec<u8>) -> Chunk {
        if source.starts_with(b"\xef\xbb\xbf") {
            source.drain(..3);
        }
        if source.starts_with(b"#") {
            // The line break stays, so that line numbers stay too.
            let end = source.iter().position(|b| *b == b'\n').unwrap_or(source.len());
            source.drain(..end);
        }
        Chunk { name, source }
    }
}
