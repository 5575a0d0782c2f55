//! The wish to stop, set from a signal handler and asked for by everything that takes long.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks the work in progress to stop at its next check. The wish stays until the process ends.
pub fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Fails with [`Error::Interrupted`] once [`request`] was called.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn check() -> Result<()> {
    if REQUESTED.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}
