//! Text files, which are UTF-8.

use std::path::Path;

use crate::error::{Error, Result};
use crate::input::{InputKind, read_watched};

/// The content of a text file, and the hash of it in hexadecimal.
///
/// # Errors
/// Those of [`read_watched`]; [`Error::Format`] for what is no UTF-8.
pub(super) fn read_text(path: &Path) -> Result<(String, String)> {
    let (bytes, watched) = read_watched(path, InputKind::Data)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        Error::format(path, format!("is no UTF-8 in line {line}")).with_hint("save it as UTF-8")
    })?;
    Ok((text, watched.hash().unwrap_or_default()))
}

/// The name of a file without its folders, for records.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
