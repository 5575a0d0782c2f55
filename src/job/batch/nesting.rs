//! Jobs that run jobs: how deep that goes is handed on from process to process, so that a script which runs itself comes to an end.

use crate::error::{Error, Result};

/// How many batches this process is a job of, one inside the other.
pub(super) const DEPTH: &str = "QLUA_JOBS_DEPTH";
/// A batch of batches has a use; more than these have none.
const MOST: usize = 3;

/// How deep the jobs of this process are.
pub(super) fn below() -> usize {
    depth() + 1
}

/// Fails in a job that is as deep as jobs go.
///
/// # Errors
/// [`Error::Refused`].
pub(super) fn require_shallow() -> Result<()> {
    match depth() {
        depth if depth < MOST => Ok(()),
        depth => Err(Error::refused(format!(
            "this is a job inside of {depth} batches, one in the other, and begins no further jobs"
        ))
        .with_hint("a script whose jobs run the script itself never ends: leave it out of its jobs")),
    }
}

/// What nobody set, or no number, is none.
fn depth() -> usize {
    std::env::var(DEPTH).ok().and_then(|depth| depth.parse().ok()).unwrap_or(0)
}
