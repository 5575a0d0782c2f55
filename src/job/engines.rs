//! What engines cannot read of the schemes that a family is going to have.

use super::scheme::Scheme;
use crate::dialect::{DialectId, Engine, Limit, Scope, limits};
use crate::error::{Error, Result};
use crate::model::{Model, Tower, canonical};
use crate::plan::Activations;
use crate::report::sweep::Serving;
use crate::units::counted;

/// How many layers an error names.
const LISTED: usize = 3;

/// One sentence for each engine that gets some FP8 layer of `schemes` wrong, whatever is written beside it.
///
/// # Errors
/// [`Error::Refused`] when that is one of `wanted`, with the layers, the reason, and what to do instead.
pub(super) fn require_readable(
    model: &Model,
    schemes: &[Scheme],
    dialect: DialectId,
    activations: Activations,
    wanted: &[Engine],
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for limit in limits(model.architecture(), dialect, activations) {
        for scheme in schemes {
            let layers: Vec<&str> =
                scheme.plan.formats.keys().map(AsRef::as_ref).filter(|l| concerns(limit, l)).collect();
            if layers.is_empty() {
                continue;
            }
            if wanted.contains(&limit.engine) {
                return Err(refused(limit, &scheme.name, &layers));
            }
            let note = format!("{}: {}", limit.reason, limit.instead);
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    Ok(notes)
}

/// What each engine makes of a scheme whose FP8 layers are `layers`, whatever is written beside it.
pub(super) fn serving<'a>(
    architecture: Option<&str>,
    dialect: DialectId,
    activations: Activations,
    layers: impl Iterator<Item = &'a str> + Clone,
) -> Vec<Serving> {
    let limits: Vec<&Limit> = limits(architecture, dialect, activations).collect();
    let serving = |engine: &Engine| {
        let meets = |limit: &&&Limit| limit.engine == *engine && layers.clone().any(|l| concerns(limit, l));
        let refusal = limits.iter().find(meets).map(|limit| format!("{}: {}", limit.reason, limit.instead));
        Serving { engine: *engine, refusal }
    };
    Engine::ALL.iter().map(serving).collect()
}

fn concerns(limit: &Limit, module: &str) -> bool {
    match limit.scope {
        Scope::Everything => true,
        Scope::Vision => canonical(module).starts_with("vision."),
        Scope::Merger => Tower::of(module) == Tower::Merger,
    }
}

fn refused(limit: &Limit, scheme: &str, layers: &[&str]) -> Error {
    let shown: Vec<String> = layers.iter().take(LISTED).map(|layer| format!("`{layer}`")).collect();
    let more = if layers.len() > LISTED { ", …" } else { "" };
    let problem = format!(
        "{} cannot read {} of `{scheme}` ({}{more}): {}",
        limit.engine.name(),
        counted(layers.len(), "quantised layer"),
        shown.join(", "),
        limit.reason
    );
    Error::refused(problem).with_hint(format!("{}, or leave {} out of --for", limit.instead, limit.engine))
}
