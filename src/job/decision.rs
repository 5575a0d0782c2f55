//! Dialect and activations: one layout for a whole family, so that its schemes can be compared.

use std::collections::BTreeSet;

use super::basis::Basis;
use super::engines::require_readable;
use super::options::FamilyOptions;
use super::scheme::Scheme;
use crate::dialect::{DialectChoice, DialectId};
use crate::error::{Error, Result};
use crate::manifest::Ranking;
use crate::plan::{Activations, ActivationsChoice, Layout};

/// How many names an error or a note lists before it only counts.
const LISTED: usize = 5;

/// The layout of a family and why it is so.
#[derive(Debug, Clone)]
pub(super) struct LayoutDecision {
    /// The conventions of every directory.
    pub dialect: DialectId,
    /// The layout of every scheme.
    pub layout: Layout,
    /// One sentence for each choice that `auto` made, and for each engine that cannot read some quantised layer.
    pub notes: Vec<String>,
}

/// Chooses for `schemes`.
///
/// # Errors
/// [`Error::Format`] when the scale of a selected layer is nothing that was measured; [`Error::Refused`] when `static` was
/// asked for and layers lack an input scale (lists them), the combination is one that
/// loaders misread, or a layer that stays as it is and a quantised one have names that they cannot keep apart.
pub(super) fn decide(options: &FamilyOptions, basis: &Basis, schemes: &[Scheme]) -> Result<LayoutDecision> {
    let mut notes = Vec::new();
    let quantised: BTreeSet<&str> =
        schemes.iter().flat_map(|s| s.plan.formats.keys().map(AsRef::as_ref)).collect();
    let missing: Vec<&str> =
        quantised.iter().copied().filter(|module| !basis.has_input_scale(module)).collect();
    let activations = match options.activations {
        ActivationsChoice::Named(Activations::Dynamic) => Activations::Dynamic,
        ActivationsChoice::Named(Activations::Static) if missing.is_empty() => Activations::Static,
        ActivationsChoice::Named(Activations::Static) => {
            return Err(Error::refused(format!(
                "static activations need an input scale for every selected layer, and {} have none: {}",
                missing.len(),
                listed(&missing)
            ))
            .with_hint("give --baseline or --amax that covers them, or choose --activations dynamic"));
        }
        ActivationsChoice::Auto => {
            let (activations, why) = match &basis.input_scales {
                _ if options.dialect.only_activations() == Some(Activations::Dynamic) => {
                    (Activations::Dynamic, format!("the dialect {} has no other", options.dialect))
                }
                None => (Activations::Dynamic, "no input scales were given".to_string()),
                Some(scales) if missing.is_empty() => (
                    Activations::Static,
                    format!("every selected layer has an input scale in `{}`", scales.origin().display()),
                ),
                Some(scales) if options.baseline.is_some() || options.amax.is_some() => {
                    return Err(Error::refused(format!(
                        "`{}` was given for the input scales and has none for {} selected layers: {}",
                        scales.origin().display(),
                        missing.len(),
                        listed(&missing)
                    ))
                    .with_hint(
                        "give one that covers them, or choose --activations dynamic, which needs none",
                    ));
                }
                Some(_) => (
                    Activations::Dynamic,
                    format!("{} selected layers have no input scale: {}", missing.len(), listed(&missing)),
                ),
            };
            notes.push(format!("activations are {activations}: {why}"));
            activations
        }
    };
    let (dialect, layout) = layout(options, activations)?;
    if let Some(scales) = basis.input_scales.as_ref().filter(|_| activations == Activations::Static) {
        scales.require_usable(quantised)?;
    }
    let given = options.baseline.as_ref().or(options.amax.as_ref());
    if let Some(path) = given.filter(|_| activations == Activations::Dynamic) {
        let why = match dialect.dialect().only_activations() {
            Some(Activations::Dynamic) => format!("{dialect} is always dynamic"),
            _ => "dynamic activations were asked for, which need none".to_string(),
        };
        notes.push(format!("the input scales of `{}` are not used: {why}", path.display()));
    }
    if let Some(model) = &basis.model {
        schemes.iter().try_for_each(|scheme| dialect.dialect().require_expressible(model, &scheme.plan))?;
    }
    if options.dialect == DialectChoice::Auto {
        let why = match activations {
            Activations::Static => "static activations, which every loader reads",
            Activations::Dynamic => "dynamic activations need no calibration",
        };
        notes.push(format!("the dialect is {dialect}: {why}"));
    }
    if let Some(model) = &basis.model {
        notes.extend(require_readable(model, schemes, dialect, activations, &options.for_engines)?);
    }
    Ok(LayoutDecision { dialect, layout, notes })
}

/// The layout that costs are counted in before any scheme is there. Where `auto` would choose the activations, they are
/// static when all of `ranking` have input scales: no selection of it takes more bytes than this says.
///
/// # Errors
/// [`Error::Refused`] for a combination that loaders misread.
pub(super) fn largest_layout(options: &FamilyOptions, basis: &Basis, ranking: &Ranking) -> Result<Layout> {
    let quantisable = ranking.groups().filter_map(|group| basis.located.group(&group.name));
    let mut modules = quantisable.flat_map(|found| &found.quantisable);
    let activations = match options.activations {
        ActivationsChoice::Named(Activations::Static) => Activations::Static,
        ActivationsChoice::Named(Activations::Dynamic) => Activations::Dynamic,
        ActivationsChoice::Auto => match options.dialect.only_activations() {
            Some(only) => only,
            None if modules.all(|module| basis.has_input_scale(module)) => Activations::Static,
            None => Activations::Dynamic,
        },
    };
    layout(options, activations).map(|(_, layout)| layout)
}

/// The dialect that was asked for, or suits these activations, and its layout for them.
fn layout(options: &FamilyOptions, activations: Activations) -> Result<(DialectId, Layout)> {
    let id = options.dialect.with(activations);
    Ok((id, id.dialect().layout(activations, options.rounding, options.scale_sharing)?))
}

fn listed(names: &[&str]) -> String {
    let first = names.iter().take(LISTED).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{first}, …") } else { first }
}
