//! Which of the formats that a manifest scored decides.

use std::collections::BTreeSet;

use super::options::FamilyOptions;
use crate::dialect::DialectId;
use crate::error::{Error, Result};
use crate::format::FormatId;
use crate::manifest::{Group, Manifest, RecipeFormat};
use crate::plan::Activations;

/// The manifest with the candidates of the format that will be written, as far as it is known before any scheme is there, or
/// of the one whose scores were asked for, and what is to be said of it. A group that has no such candidate is none.
///
/// # Errors
/// [`Error::Refused`] when no group has such a candidate, with the formats that there are; those of [`with_wanted`].
pub(super) fn with_candidates(
    options: &FamilyOptions,
    manifest: &Manifest,
    has_input_scales: bool,
) -> Result<(Manifest, Option<String>)> {
    let expected = if has_input_scales { Activations::Static } else { Activations::Dynamic };
    let activations = options.activations.named().or(options.dialect.only_activations()).unwrap_or(expected);
    with_candidates_of(
        manifest,
        options.dialect.with(activations),
        activations,
        options.format_from.as_deref(),
    )
}

/// The same for schemes of `dialect` with `activations`; `format_from` is the format whose scores were asked for.
///
/// # Errors
/// Those of [`with_candidates`].
pub(super) fn with_candidates_of(
    manifest: &Manifest,
    dialect: DialectId,
    activations: Activations,
    format_from: Option<&str>,
) -> Result<(Manifest, Option<String>)> {
    let formats = manifest.formats();
    let known = || formats.iter().copied().collect::<Vec<_>>().join(", ");
    let path = manifest.path().display();
    let dialect = dialect.dialect();
    let format = dialect.format();
    let granularity = dialect.activations().iter().find(|(known, _)| *known == activations).map(|(_, g)| *g);
    let rank = |scored: &RecipeFormat| match FormatId::of_manifest(&scored.name) {
        // Formats of the key-value cache say nothing of weights.
        _ if scored.name.contains("KV") => None,
        Some((id, scales)) if id == format && Some(scales) == granularity => Some(0),
        Some((id, _)) if id == format => Some(1),
        // Codes of the same kind under scales of another shape.
        Some(_) => Some(2),
        None if scored.name.starts_with("FP8") => Some(3),
        // A configuration of the user's own, which ModelOpt numbers: its bits say what it can be.
        None if !is_of_another_kind(&scored.name) && scored.effective_bits == 8.0 => Some(4),
        None => None,
    };
    if let Some(wanted) = format_from {
        return with_wanted(manifest, wanted, format, rank);
    }
    let scored =
        manifest.groups().iter().flat_map(|group| group.formats.iter()).filter(|format| !format.is_none());
    match scored.filter_map(rank).min() {
        None if formats.is_empty() => Ok((manifest.clone(), None)),
        None => {
            Err(Error::refused(format!("`{path}` has no candidate in {format}: its formats are {}", known()))
                .with_hint(format!(
                    "score the model in {format}, or pass --format-from {} to use those scores on purpose",
                    formats.first().copied().unwrap_or("NAME")
                )))
        }
        Some(best) => {
            let is_other =
                |group: &&Group| matches!(group.formats.iter().filter_map(rank).min(), Some(2 | 3));
            let others = manifest.groups().iter().filter(is_other).count();
            let note = match (best, others) {
                (2, _) => {
                    Some(format!("no group was scored in {format}: the scores are those of {}", known()))
                }
                (_, 0) => None,
                _ => Some(format!(
                    "{} not scored in {format}: their scores are those of another kind of FP8",
                    match others {
                        1 => "1 group was".to_string(),
                        others => format!("{others} groups were"),
                    }
                )),
            };
            Ok((manifest.with_candidates(rank), note))
        }
    }
}

/// The manifest with the candidates of the formats that `wanted` means, of which those are preferred that `rank` prefers, and
/// what is to be said where they are others than `rank` would choose.
///
/// # Errors
/// [`Error::Usage`] when `wanted` names nothing or is no spelling of a format; [`Error::Refused`] when the manifest has no such
/// candidate, with the formats that there are.
fn with_wanted(
    manifest: &Manifest,
    wanted: &str,
    written: FormatId,
    rank: impl Fn(&RecipeFormat) -> Option<u8>,
) -> Result<(Manifest, Option<String>)> {
    let formats = manifest.formats();
    let known = || {
        format!("the formats of the manifest are {}", formats.iter().copied().collect::<Vec<_>>().join(", "))
    };
    if wanted.trim().is_empty() {
        return Err(Error::usage("no format was named whose scores decide").with_hint(known()));
    }
    let Some(wanted) = WantedFormat::parse(wanted) else {
        return Err(Error::usage(format!("`{wanted}` is no spelling of a format"))
            .with_hint("write a name, or NAME(effective-bits: 8.0) as in the manifest"));
    };
    // Every group keeps its own best of those that were asked for.
    let own = |format: &RecipeFormat| wanted.means(format).then(|| rank(format).unwrap_or(u8::MAX));
    let scored = manifest.with_candidates(own);
    if !scored.groups().iter().any(Group::is_candidate) {
        let problem =
            format!("`{}` has no candidate in a format `{}`", manifest.path().display(), wanted.shown());
        return Err(Error::refused(problem).with_hint(known()));
    }
    let is_as_ever = scored
        .groups()
        .iter()
        .flat_map(Group::candidate)
        .all(|candidate| rank(candidate.format).is_some_and(|rank| rank <= 1));
    let note = (!is_as_ever).then(|| {
        let names: BTreeSet<&str> = scored
            .groups()
            .iter()
            .flat_map(Group::candidate)
            .map(|found| found.format.name.as_str())
            .collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        format!("the scores are those of {names}, as asked for, and {written} is written")
    });
    Ok((scored.with_candidate_bits(written.format().bits()), note))
}

/// A format as it was asked for: the beginning of a name, or a whole name with bits.
struct WantedFormat<'a> {
    name: &'a str,
    bits: Option<f64>,
}

impl<'a> WantedFormat<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let Some((name, rest)) = text.split_once('(') else {
            return Some(WantedFormat { name: text.trim(), bits: None });
        };
        let bits =
            rest.trim().strip_suffix(')')?.trim().strip_prefix("effective-bits:")?.trim().parse().ok()?;
        let name = name.trim();
        (!name.is_empty()).then_some(WantedFormat { name, bits: Some(bits) })
    }

    fn means(&self, format: &RecipeFormat) -> bool {
        match self.bits {
            _ if format.is_none() => false,
            Some(bits) => format.name.eq_ignore_ascii_case(self.name) && format.effective_bits == bits,
            None => {
                let start = format.name.get(..self.name.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(self.name))
            }
        }
    }

    fn shown(&self) -> String {
        match self.bits {
            Some(bits) => format!("{}(effective-bits: {bits:?})", self.name),
            None => format!("{}…", self.name),
        }
    }
}

/// Whether ModelOpt calls formats so that have other codes than E4M3.
fn is_of_another_kind(format: &str) -> bool {
    ["NVFP4", "MXFP", "MXINT", "INT", "W4", "W8", "MAMBA", "NF4"]
        .iter()
        .any(|start| format.starts_with(start))
}
