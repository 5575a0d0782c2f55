//! How this process ends at once, whatever its other threads do.

use std::io;
use std::thread;
use std::time::Duration;

use crate::interrupt;

/// How long cleaning up may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes unfinished files off the disk and ends this process with `code`.
pub(super) fn end_cleanly(code: u8) -> ! {
    // Where a file system hangs, cleaning up must not keep the process.
    let _ = thread::Builder::new().spawn(move || {
        interrupt::clean_up();
        end(code);
    });
    thread::sleep(PATIENCE);
    end(code)
}

/// Writes a line to standard error, whoever holds what locks: not through those of the standard library, which may never be
/// let go.
pub(super) fn tell(text: &str) {
    // Where nobody can be told, nobody is.
    let _ = rustix::io::write(io::stderr(), format!("{text}\n").as_bytes());
}

fn end(code: u8) -> ! {
    // SAFETY: `_exit` ends the process without running anything; waiting for locks could hang here.
    unsafe { libc::_exit(code.into()) }
}
