//! What signals do: the first wish to stop is passed on, the second ends the process, and what was ignored stays ignored.

use std::io::{self, IsTerminal};
use std::os::raw::c_int;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::ending::{end_cleanly, tell};
use crate::interrupt;
use crate::lua::sandbox::is_stuck;

/// What is said on a terminal after the first signal.
const STOPPING: &str = "qlua: stopping after the current step; Ctrl-C again ends at once";

/// How long a script may go on in spite of a wish to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// The exit code of what Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Listens to Ctrl-C and to the signals that ask a process to end, but for those that it was started to ignore, as `nohup` and
/// shells do for what runs in the background. All other signals keep what they do: SIGQUIT ends at once.
///
/// # Errors
/// What the operating system says.
pub(super) fn listen() -> io::Result<()> {
    let heard: Vec<c_int> = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|s| !is_ignored(*s)).collect();
    let mut signals = Signals::new(heard)?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            stop();
        }
        if signals.next().is_some() {
            end_cleanly(INTERRUPTED);
        }
    })?;
    Ok(())
}

fn stop() {
    interrupt::request();
    if io::stderr().is_terminal() {
        tell(STOPPING);
    }
    // A function of Lua's own library sees no wish to stop.
    let _ = thread::Builder::new().spawn(|| {
        if is_stuck(PATIENCE) {
            tell("qlua: interrupted");
            end_cleanly(INTERRUPTED);
        }
    });
}

fn is_ignored(signal: c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills in the old one, which is plain data that may be all zeros.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}
