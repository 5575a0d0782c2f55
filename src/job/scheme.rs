//! One scheme of a family: a name and what was selected for it.

use std::path::Path;

use super::beside::{QUALITY, REPORT_HTML, REPORT_MARKDOWN};
use crate::error::{Error, Result};
use crate::manifest::Selection;
use crate::plan::Plan;
use crate::shown;

/// The most bytes of a name: file systems take 255, and a directory that is being replaced is called `.NAME.replaced`.
const LONGEST: usize = 245;

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
    if !plain || name.contains(char::is_control) {
        return Err(Error::argument(format!("`{}` is no plain directory name", shown::line(name))));
    }
    if name.len() > LONGEST {
        let problem = format!("the name `{name}` has {} bytes, and may have {LONGEST}", name.len());
        return Err(Error::argument(problem));
    }
    if [REPORT_HTML, REPORT_MARKDOWN, QUALITY].contains(&name) {
        return Err(Error::argument(format!("no scheme can be called `{name}`: a file beside them is"))
            .with_hint("choose another name"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_directory_can_take_beside_the_report() {
        let refused = |name: &str| require_name(name, std::iter::once("top10")).err().map(|e| e.to_string());
        for name in ["top20", "trail ", "ünïcode", &"b".repeat(LONGEST)] {
            assert_eq!(refused(name), None);
        }
        for (name, why) in [
            ("top10", "has a scheme `top10` already"),
            ("a/b", "no plain directory name"),
            (".hidden", "no plain directory name"),
            ("two\nlines", "`two\\nlines` is no plain directory name"),
            (&"b".repeat(LONGEST + 1), "has 246 bytes, and may have 245"),
            ("report.html", "a file beside them is"),
            ("report.md", "a file beside them is"),
            ("quality.json", "a file beside them is"),
        ] {
            let found = refused(name).unwrap_or_default();
            assert!(found.contains(why), "{name:?}: {found}");
        }
    }
}
