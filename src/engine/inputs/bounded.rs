//! Work on what strangers wrote, with bounds: a deep text ends no process, and one that never ends keeps nobody waiting.

use std::io;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::interrupt;

/// Address space for nested expressions and values; pages that are not touched take no memory.
const STACK: usize = 512 << 20;
/// Far longer than any honest text takes.
const LONGEST: Duration = Duration::from_secs(10);
/// Time between two questions whether somebody asked to stop.
const STEP: Duration = Duration::from_millis(20);

/// What `work` gives, which has a deep stack of its own. After [`LONGEST`] it is left to itself, as nothing can stop it but the end of
/// the process; `what` says in the error whose work it was.
///
/// # Errors
/// [`Error::Limit`] when it takes too long; [`Error::Interrupted`]; [`Error::Io`] when there can be no thread.
pub(super) fn bounded<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (send, done) = mpsc::sync_channel(1);
    // Nobody listens any more to one that took too long.
    let work = move || drop(send.send(work()));
    let begun = Instant::now();
    let thread = thread::Builder::new().name("template".into()).stack_size(STACK).spawn(work);
    let thread = thread.map_err(|error| Error::io("begin a thread for", what, error))?;
    loop {
        match done.recv_timeout(STEP) {
            Ok(made) => return Ok(made),
            Err(RecvTimeoutError::Timeout) => interrupt::check()?,
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panicked) => panic::resume_unwind(panicked),
                Ok(()) => return Err(Error::io("use", what, io::Error::other("it gave nothing"))),
            },
        }
        if begun.elapsed() > LONGEST {
            return Err(Error::Limit {
                problem: format!("{what} takes longer than {} s", LONGEST.as_secs()),
                hint: Some("take the file from the model's page".into()),
            });
        }
    }
}
