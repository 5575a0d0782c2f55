//! The option `threads` of functions that read, compute or write much.

use crate::lua::Call;
use crate::threads::{all, bound};

/// What it does, for its documentation.
pub(super) const BOUNDED: &str = "threads that read, convert, hash, check and write; the bytes do not depend on it. The first call that says it decides \
     for what hashes and checks in the whole process";

/// The option `threads` of `call`: all cores when the script does not say. The first that says decides how many hash, verify and
/// copy too, since these share one pool of the process.
pub(super) fn threads(call: &Call) -> anyhow::Result<usize> {
    match call.get::<Option<i64>>("threads")? {
        None => Ok(all()),
        Some(given) => Ok(bound(given, &format!("`threads` of {}", call.name()))?),
    }
}
