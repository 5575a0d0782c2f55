//! What engines cannot read of the schemes that a family is going to have.

use super::family::Scheme;
use crate::checkpoint::{Checkpoint, canonical};
use crate::error::{Error, Result};
use crate::plan::{Engine, Layout, Limit, Scope, limits};

/// How many layers an error names.
const LISTED: usize = 3;

/// One sentence for each engine that gets some FP8 layer of `schemes` wrong, whatever is written beside it.
///
/// # Errors
/// [`Error::Refused`] when that is one of `wanted`, with the layers, the reason, and what to do instead.
pub(super) fn require_readable(
    checkpoint: &Checkpoint,
    schemes: &[Scheme],
    layout: &Layout,
    wanted: &[Engine],
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for limit in limits(checkpoint.architecture(), layout) {
        for scheme in schemes {
            let layers: Vec<&str> =
                scheme.plan.fp8.iter().map(String::as_str).filter(|l| concerns(limit, l)).collect();
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

fn concerns(limit: &Limit, module: &str) -> bool {
    match limit.scope {
        Scope::Everything => true,
        Scope::Vision => canonical(module).starts_with("vision."),
    }
}

fn refused(limit: &Limit, scheme: &str, layers: &[&str]) -> Error {
    let shown: Vec<String> = layers.iter().take(LISTED).map(|layer| format!("`{layer}`")).collect();
    let more = if layers.len() > LISTED { ", …" } else { "" };
    let problem = format!(
        "{} cannot read {} FP8 layers of `{scheme}` ({}{more}): {}",
        limit.engine.name(),
        layers.len(),
        shown.join(", "),
        limit.reason
    );
    Error::refused(problem).with_hint(format!("{}, or leave {} out of --for", limit.instead, limit.engine))
}
