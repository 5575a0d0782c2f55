//! A sweep that is planned from a manifest alone: no checkpoint, nothing to write.

use std::path::Path;
use std::sync::Arc;

use super::scheme::{FP8, require_whole};
use super::{CostModel, Figures};
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Selection};

/// The schemes of a sweep over a model of which only the manifest is there.
#[derive(Debug, Clone)]
pub struct Draft {
    manifest: Arc<Manifest>,
    costs: CostModel,
    schemes: Vec<DraftScheme>,
}

/// One scheme of a [`Draft`].
#[derive(Debug, Clone)]
pub struct DraftScheme {
    /// The name.
    pub name: String,
    /// The groups that it stores in FP8.
    pub selection: Selection,
    /// What it amounts to; the bytes are those of the manifest's costs.
    pub figures: Figures,
}

/// Fails unless `name` can be the name of a new scheme beside those in `taken`.
///
/// # Errors
/// [`Error::Argument`] when it is no plain directory name or used already.
pub fn require_scheme_name<'a>(name: &str, mut taken: impl Iterator<Item = &'a str>) -> Result<()> {
    let plain = Path::new(name).file_name().is_some_and(|n| n == name) && !name.starts_with('.');
    if !plain {
        return Err(Error::argument(format!("`{name}` is no plain directory name")));
    }
    if taken.any(|other| other == name) {
        return Err(Error::argument(format!("the family has a scheme `{name}` already")));
    }
    Ok(())
}

impl Draft {
    /// A draft without schemes.
    pub fn new(manifest: Arc<Manifest>) -> Self {
        Draft { costs: CostModel::of_manifest(&manifest), manifest, schemes: Vec::new() }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The costs as the manifest states them.
    pub fn costs(&self) -> &CostModel {
        &self.costs
    }

    /// The schemes in the order in which they were added.
    pub fn schemes(&self) -> &[DraftScheme] {
        &self.schemes
    }

    /// Adds a scheme.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name as in [`require_scheme_name`] or an empty selection; [`Error::Refused`] when the
    /// selection splits modules that loaders fuse.
    pub fn add(&mut self, name: &str, selection: Selection) -> Result<()> {
        require_scheme_name(name, self.schemes.iter().map(|s| s.name.as_str()))?;
        require_selected(name, &selection)?;
        let fp8: std::collections::HashSet<&str> =
            selection.selected().flat_map(|g| g.members.iter().map(String::as_str)).collect();
        require_whole(self.modules(), |module| fp8.contains(module))?;
        let figures = self.costs.figures(selection.selected());
        self.schemes.push(DraftScheme { name: name.into(), selection, figures });
        Ok(())
    }

    /// Every module of the manifest in model order with its format in the scheme `name`: `FP8`, or `BF16` for what stays as it
    /// is.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such scheme.
    pub fn formats(&self, name: &str) -> Result<Vec<(String, String)>> {
        let scheme = self.schemes.iter().find(|s| s.name == name);
        let scheme = scheme.ok_or_else(|| Error::not_found(format!("the family has no scheme `{name}`")))?;
        let fp8: std::collections::HashSet<&str> = scheme
            .selection
            .selected()
            .filter(|g| self.costs.group(&g.name).is_some_and(|cost| cost.fp8_layers > 0))
            .flat_map(|g| g.members.iter().map(String::as_str))
            .collect();
        let format = |module: &str| if fp8.contains(module) { FP8 } else { "BF16" };
        Ok(self.modules().map(|module| (module.to_string(), format(module).to_string())).collect())
    }

    fn modules(&self) -> impl Iterator<Item = &str> {
        self.manifest.groups().iter().flat_map(|g| g.members.iter().map(String::as_str))
    }
}

/// Fails when nothing is selected.
///
/// # Errors
/// [`Error::Argument`].
pub(crate) fn require_selected(name: &str, selection: &Selection) -> Result<()> {
    if selection.selected().len() > 0 {
        return Ok(());
    }
    Err(Error::argument(format!("nothing is selected for the scheme `{name}`"))
        .with_hint("a scheme without any layer in FP8 is the base checkpoint itself"))
}
