//! How many threads hash, verify and copy: one pool of the process.

use crate::error::{Error, Result};

/// More threads than this help nobody, and may take a machine down.
const MOST: usize = 1024;

/// The number of threads when nobody says.
pub fn all() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `given` as a number of threads; `None` when that is none, or more than any machine has.
pub fn counted(given: i64) -> Option<usize> {
    usize::try_from(given).ok().filter(|threads| (1..=MOST).contains(threads))
}

/// What can be given.
pub fn demanded() -> String {
    format!("a number of threads from 1 to {MOST}")
}

/// Bounds the pool to `given` threads; the first that says decides, since there can be one such pool only. `what` names the
/// option in an error.
///
/// # Errors
/// [`Error::Usage`] when that is none, or more than any machine has.
pub fn bound(given: i64, what: &str) -> Result<usize> {
    let Some(threads) = counted(given) else {
        return Err(Error::usage(format!("{what} must be {}, not {given}", demanded()))
            .with_hint("leave it out for all cores"));
    };
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    Ok(threads)
}
