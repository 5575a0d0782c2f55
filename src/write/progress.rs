//! What an export tells about itself while it runs; the terminal and the tests listen in their own ways.

use crate::error::Result;

/// Receives progress from several threads at once.
pub trait Progress: Sync {
    /// A scheme begins that will write `bytes` bytes of weights.
    fn begin(&self, scheme: &str, bytes: u64);
    /// Another `bytes` bytes of it are written.
    fn advance(&self, bytes: u64);
    /// Something that the user should know, in one short sentence.
    fn note(&self, _sentence: &str) {}
    /// The scheme is complete.
    fn end(&self);
    /// The scheme will not be complete: it failed, or was interrupted.
    fn abandon(&self) {}
}

/// Tells `progress` of a scheme of `bytes` bytes while `work` writes it, and how that ended.
///
/// # Errors
/// Those of `work`.
pub(crate) fn during<T>(
    progress: &dyn Progress,
    scheme: &str,
    bytes: u64,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    progress.begin(scheme, bytes);
    let outcome = work();
    match outcome {
        Ok(_) => progress.end(),
        Err(_) => progress.abandon(),
    }
    outcome
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
