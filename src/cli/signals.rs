//! What signals do: the first wish to stop is passed on, the second ends the process, and what was ignored stays ignored.

use std::io::{self, IsTerminal};
use std::os::raw::c_int;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::interrupt;

/// What is said on a terminal after the first signal.
const STOPPING: &[u8] = b"qlua: stopping after the current step; Ctrl-C again ends at once\n";

/// How long cleaning up may take after the second signal.
const PATIENCE: Duration = Duration::from_secs(5);

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
            // Where a file system hangs, cleaning up must not keep the process.
            let _ = thread::Builder::new().spawn(end_cleanly);
            thread::sleep(PATIENCE);
            end();
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
