//! Shards that are there, and how the directories of a run get them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::record::WeightFile;
use crate::tensor::TensorSpec;
use crate::write::WeightErrors;
use crate::write::store::bucket::FileOrder;
use crate::write::store::link::{self, Link, LinkChoice};

/// A shard that is there, and who gets it.
pub(super) struct ReadyShard<'a> {
    /// Where it stands among the files of a directory.
    pub order: FileOrder,
    /// What it holds.
    pub tensors: Vec<&'a TensorSpec>,
    /// Its size and hashes; the name of the file is each directory's.
    pub weight: WeightFile,
    /// What its codes lose.
    pub errors: WeightErrors,
    /// The schemes of the run that hold it.
    pub schemes: Vec<usize>,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it lies in the workplace, so that its last scheme can have the file itself.
    pub own: bool,
}

impl ReadyShard<'_> {
    /// Puts it at `to`, for the scheme `number` of this run; how it was shared, unless it was given away.
    pub fn place(&self, to: &Path, number: usize, choice: LinkChoice) -> Result<Option<Link>> {
        if self.own && self.schemes.last() == Some(&number) {
            return move_or_link(&self.path, to).map(|()| None);
        }
        link::share(&self.path, to, choice).map(Some)
    }
}

/// Gives a file of the workplace to the last directory that needs it. It keeps its old name for as long as the workplace
/// is there, so that a run that is stopped now need not write it again.
fn move_or_link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::rename(from, to)).map_err(|e| Error::io("rename", from, e))
}
