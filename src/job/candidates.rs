//! Which of the formats that a manifest scored decides.

use super::options::FamilyOptions;
use crate::error::{Error, Result};
use crate::format::FormatId;
use crate::manifest::{Group, Manifest, RecipeFormat};
use crate::plan::Activations;

/// The manifest with the candidates of the format that will be written, as far as it is known before any scheme is there, or
/// of the one whose scores were asked for, and what is to be said of it. A group that has no such candidate is none.
///
/// # Errors
/// [`Error::Refused`] when no group has such a candidate, with the formats that there are.
pub(super) fn with_candidates(
    options: &FamilyOptions,
    manifest: &Manifest,
    has_input_scales: bool,
) -> Result<(Manifest, Option<String>)> {
    let formats = manifest.formats();
    let known = || formats.iter().copied().collect::<Vec<_>>().join(", ");
    let path = manifest.path().display();
    if let Some(wanted) = &options.format_from {
        // The manifest's own spelling, `NAME(effective-bits: 4.5)`, is one as well.
        let wanted = wanted.split('(').next().unwrap_or_default().trim();
        if wanted.is_empty() {
            return Err(Error::argument("no format was named whose scores decide")
                .with_hint(format!("the formats of the manifest are {}", known())));
        }
        let is_wanted =
            |name: &str| name.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
        if !formats.iter().any(|name| is_wanted(name)) {
            return Err(Error::refused(format!("`{path}` has no candidate in a format `{wanted}…`"))
                .with_hint(format!("its formats are {}", known())));
        }
        let format = options.dialect.format();
        let bits = format.format().bits();
        let note = format!("the scores are those of {wanted}, as asked for, and {format} is written");
        let scored = manifest.with_candidates(|format| is_wanted(&format.name).then_some(0));
        return Ok((scored.with_candidate_bits(bits), Some(note)));
    }
    let expected = if has_input_scales { Activations::Static } else { Activations::Dynamic };
    let activations = options.activations.named().or(options.dialect.only_activations()).unwrap_or(expected);
    let dialect = options.dialect.with(activations).dialect();
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
    let scored = manifest.groups().iter().flat_map(|group| &group.formats).filter(|format| !format.is_none());
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

/// Whether ModelOpt calls formats so that have other codes than E4M3.
fn is_of_another_kind(format: &str) -> bool {
    ["NVFP4", "MXFP", "MXINT", "INT", "W4", "W8", "MAMBA", "NF4"]
        .iter()
        .any(|start| format.starts_with(start))
}
