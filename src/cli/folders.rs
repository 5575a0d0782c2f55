//! Where files of a user's own lie that belong to no run: the folders of the XDG base directory specification.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The folder for what qlua keeps between sessions: `$XDG_STATE_HOME/qlua`, or `~/.local/state/qlua`.
///
/// # Errors
/// When neither variable is set.
pub(super) fn state() -> Result<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

/// The folder for what qlua installs for other programs: `$XDG_DATA_HOME/qlua`, or `~/.local/share/qlua`.
///
/// # Errors
/// When neither variable is set.
pub(super) fn data() -> Result<PathBuf> {
    folder("XDG_DATA_HOME", ".local/share")
}

fn folder(variable: &str, usual: &str) -> Result<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    // The specification has relative paths ignored.
    let said = std::env::var_os(variable).and_then(absolute);
    let home = || std::env::var_os("HOME").and_then(absolute).map(|home| home.join(usual));
    said.or_else(home).map(|folder| folder.join("qlua")).ok_or_else(|| {
        Error::not_found("nothing says where your home directory is")
            .with_hint(format!("set HOME, or {variable} to an absolute path"))
    })
}
