//! The wish to stop: set once by Ctrl-C or a termination signal, and asked for wherever work can end early.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks all work of this process to stop. The wish stays until the process ends.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether somebody asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Gives the error to return when somebody asked to stop. Cheap: call it once per tensor or per megabyte.
///
/// # Errors
/// [`Error::Interrupted`] after [`request`].
pub fn check() -> Result<()> {
    if requested() { Err(Error::Interrupted) } else { Ok(()) }
}
