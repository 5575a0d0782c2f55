//! What signals do: the first wish to stop is passed on, the second ends the process, and what was ignored stays ignored.

use std::io::{self, IsTerminal};
use std::os::raw::c_int;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::interrupt;

/// What is said on a terminal after the first signal.
const STOPPING: &[u8] = b"qlua: stopping after the current step; Ctrl-C again ends at once\n";

/// Listens to Ctrl-C and to the signals that ask a process to end, but for those that it was started to ignore, as `nohup` and
/// shells do for what runs in the background. All other signals keep what they do: SIGQUIT ends at once.
///
/// # Errors
/// What the operating system says.
pub(super) fn listen() -> io::Result<()> {
    let heard: Vec<c_int> = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|s| !is_ignored(*s)).collect();
    let mut signals = Signals::new(heard)?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for (number, _) in signals.forever().enumerate() {
            match number {
                0 => stop(),
                1 => drop(thread::Builder::new().spawn(end_cleanly).map_err(|_| end())),
                _ => end(),
            }
        }
    })?;
    Ok(())
}

fn stop() {
    interrupt::request();
    if io::stderr().is_terminal() {
        // Not through the locks and buffers of the standard library: whoever holds them may never let go.
        let _ = rustix::io::write(io::stderr(), STOPPING);
    }
}

fn end_cleanly() {
    interrupt::clean_up();
    end();
}

fn end() {
    // SAFETY: `_exit` ends the process without running anything; waiting for locks could hang here.
    unsafe { libc::_exit(130) };
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
