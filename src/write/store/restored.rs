//! A source that lies there anew, from a copy or a download, while finished work of a stopped run waits: its times are others, its
//! content is the same. Hashes of what each finished shard was made from decide; single blocks are asked the same when they are gone on with.

use std::fs::{self, File};
use std::path::Path;

use super::workplace::{DIRECTORY, Finished, Inputs, JOURNAL, append, read_journal};
use crate::error::{Error, Result};
use crate::write::held::HeldDirectory;

/// What a run works on: what says so by content, and what by the times of files, which is told without reading them.
pub(crate) struct WorkInputs {
    content: String,
    times: String,
}

impl WorkInputs {
    /// Of two hashes.
    pub fn new(content: &blake3::Hash, times: &blake3::Hash) -> Self {
        WorkInputs { content: content.to_hex().to_string(), times: times.to_hex().to_string() }
    }

    /// As a journal has them.
    pub fn word(&self) -> String {
        format!("{} {}", self.content, self.times)
    }

    /// Whether `other`, from a journal, may be the same inputs in files of other times.
    fn may_be(&self, other: &str) -> bool {
        other != self.word() && other.split(' ').next() == Some(&self.content)
    }
}

/// Whether [`adopt`] has to decide on what lies below `out`.
pub(crate) fn is_undecided(out: &Path, inputs: &WorkInputs) -> bool {
    read_journal(&out.join(DIRECTORY)).0.is_some_and(|left| inputs.may_be(&left))
}

/// Lets a run on `inputs` go on with what another left below `out`, if `is_made_of_them` says so of every finished shard.
///
/// # Errors
/// [`Error::Exists`] when another process works there; [`Error::Io`]; those of `is_made_of_them`.
pub(crate) fn adopt(
    out: &Path,
    inputs: &WorkInputs,
    is_made_of_them: impl Fn(&Finished) -> Result<bool>,
) -> Result<()> {
    if !is_undecided(out, inputs) {
        return Ok(());
    }
    let path = out.join(DIRECTORY);
    let Some(_held) = HeldDirectory::find(&path)? else { return Ok(()) };
    let journal = path.join(JOURNAL);
    let (_, finished) = read_journal(&path);
    for record in finished.values() {
        if !is_made_of_them(record)? {
            return Ok(());
        }
    }
    let new = path.join(format!("{JOURNAL}.new"));
    let mut file = File::create(&new).map_err(|e| Error::io("create", &new, e))?;
    append(&mut file, &new, &Inputs { inputs: inputs.word() })?;
    finished.values().try_for_each(|record| append(&mut file, &new, record))?;
    fs::rename(&new, &journal).map_err(|e| Error::io("rename", &new, e))
}
