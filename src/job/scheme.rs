//! One scheme of a family: a name and what was selected for it.

use std::path::Path;

use crate::error::{Error, Result};
use crate::manifest::Selection;
use crate::plan::Plan;

/// A scheme as it was added.
#[derive(Debug, Clone)]
pub struct Scheme {
    /// The name, which is its directory's.
    pub name: String,
    /// The groups that it quantises.
    pub selection: Selection,
    /// The modules that this amounts to, and their formats.
    pub plan: Plan,
}

/// Fails unless `name` can be the name of a new scheme beside those in `taken`.
///
/// # Errors
/// [`Error::Argument`] when it is no plain directory name or used already.
pub(super) fn require_name<'a>(name: &str, mut taken: impl Iterator<Item = &'a str>) -> Result<()> {
    let plain = Path::new(name).file_name().is_some_and(|n| n == name) && !name.starts_with('.');
    if !plain {
        return Err(Error::argument(format!("`{name}` is no plain directory name")));
    }
    if taken.any(|other| other == name) {
        return Err(Error::argument(format!("the family has a scheme `{name}` already")));
    }
    Ok(())
}

/// Fails when nothing is selected.
///
/// # Errors
/// [`Error::Argument`].
pub(super) fn require_selected(name: &str, selection: &Selection) -> Result<()> {
    if selection.selected().len() > 0 {
        return Ok(());
    }
    Err(Error::argument(format!("nothing is selected for the scheme `{name}`"))
        .with_hint("a scheme without any quantised layer is the base checkpoint itself"))
}
