//! The lines of earlier sessions.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use crate::cli::folders;
use crate::error::{Error, Result};

/// How many lines are kept.
pub(super) const MOST_LINES: usize = 1000;

/// The file that the lines are kept in, whose folder is there.
///
/// # Errors
/// When there is no home directory, or the folder cannot be made.
pub(super) fn file() -> Result<PathBuf> {
    let folder = folders::state()?;
    // Lines may hold what is nobody else's business.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|e| Error::io("create", &folder, e))?;
    Ok(folder.join("history"))
}
