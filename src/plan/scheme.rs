//! From selected recipe groups to the modules of one scheme that are quantised.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Located;
use crate::error::{Error, Result};
use crate::format::FormatId;
use crate::manifest::{Group, KeptLayer};
use crate::model::Model;

/// The decision for one scheme: the format of every module that is quantised, everything else as in the base checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The format of each quantised module, by its on-disk name (the manifest's where there is no model).
    pub formats: BTreeMap<Arc<str>, FormatId>,
    /// Selected groups that stay as they are all the same, in the order of the selection.
    pub kept: Vec<KeptLayer>,
}

impl Plan {
    /// The plan that stores `groups` in `format`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a group of another manifest; [`Error::Refused`] when a fused group would be split.
    pub fn resolve<'a>(
        located: &Located,
        groups: impl IntoIterator<Item = &'a Group>,
        format: FormatId,
    ) -> Result<Self> {
        let (mut modules, mut kept) = (Vec::new(), Vec::new());
        for group in groups {
            let found = located.group(&group.name).ok_or_else(|| {
                Error::argument(format!(
                    "the selection holds `{}`, which the family's manifest does not",
                    group.name
                ))
                .with_hint("select from a ranking of the family's own manifest")
            })?;
            modules.extend(found.quantisable.iter().map(|module| (module.clone(), format)));
            if let Some(reason) = found.kept {
                kept.push(KeptLayer { layer: group.key().into_owned(), reason: reason.into() });
            }
        }
        // Built at once: one by one in the order of scores takes most of the time of planning a large manifest.
        let plan = Plan { formats: modules.into_iter().collect(), kept };
        located.require_whole(plan.formats.keys().map(AsRef::as_ref))?;
        Ok(plan)
    }

    /// The format of `module`; nothing for one that stays as it is.
    pub fn format(&self, module: &str) -> Option<FormatId> {
        self.formats.get(module).copied()
    }

    /// Every module that owns a weight, by its on-disk name in file order, with the name of its format: that of a quantised
    /// format, or the dtype that it keeps.
    pub fn named_formats<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = (&'a str, String)> {
        model.tensors().filter_map(|(name, tensor)| {
            let module = name.strip_suffix(".weight")?;
            let kept = || tensor.dtype().to_string();
            Some((module, self.format(module).map_or_else(kept, |format| format.to_string())))
        })
    }

    /// On-disk names of the modules that stay as they are and that loaders must be told of, in file order: see
    /// [`Modules::listed`](crate::model::Modules::listed). A stored `lm_head` is among them.
    pub fn listed<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = &'a str> {
        model.modules().listed().filter(|module| !self.formats.contains_key(*module))
    }
}
