//! What signals do: the first wish to stop is passed on, the second ends the process, and what was ignored stays ignored. In a
//! session the first ends the line that runs.

use std::io::{self, IsTerminal};
use std::os::raw::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::ending::{end_cleanly, tell};
use crate::interrupt;
use crate::lua::sandbox::is_stuck;

/// What is said on a terminal after the first signal.
const STOPPING: &str = "qlua: stopping after the current step; Ctrl-C again ends at once";

/// How long a script may go on in spite of a wish to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a line of a session may go on before something is said.
const PATIENCE_OF_LINES: Duration = Duration::from_millis(700);

/// What ends the bracketed paste that an editor of lines switched on.
const NO_BRACKETED_PASTE: &[u8] = b"\x1b[?2004l";

/// The exit code of what Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What a wish to stop is for.
#[derive(Clone, Copy, PartialEq)]
enum Foreground {
    /// All that this process does.
    Process,
    /// A line of a session, by its number.
    Line(u64),
    /// Nothing of qlua's: an editor waits for keys, or another program has the terminal.
    Waiting,
}

struct Heard {
    foreground: Foreground,
    /// Lines so far.
    lines: u64,
    /// Wishes for what is in the foreground.
    wishes: usize,
    /// Whether the next wish ends the process.
    is_told: bool,
    /// Whether the session is to end with its line.
    ends_session: bool,
    /// The terminal as a session found it.
    terminal: Option<Termios>,
}

static HEARD: Mutex<Heard> = Mutex::new(Heard {
    foreground: Foreground::Process,
    lines: 0,
    wishes: 0,
    is_told: false,
    ends_session: false,
    terminal: None,
});

fn heard() -> MutexGuard<'static, Heard> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens to Ctrl-C and to the signals that ask a process to end, but for those that it was started to ignore, as `nohup` and
/// shells do for what runs in the background. All other signals keep what they do: SIGQUIT ends at once.
///
/// # Errors
/// What the operating system says.
pub(super) fn listen() -> io::Result<()> {
    let signals: Vec<c_int> = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|s| !is_ignored(*s)).collect();
    let mut signals = Signals::new(signals)?;
    thread::Builder::new().name("signals".into()).spawn(move || signals.forever().for_each(hear))?;
    Ok(())
}

fn hear(signal: c_int) {
    let mut state = heard();
    if state.foreground == Foreground::Waiting {
        if signal != SIGINT {
            end(state);
        }
        return;
    }
    state.wishes += 1;
    state.ends_session |= signal != SIGINT;
    match (state.wishes, state.foreground) {
        (1, Foreground::Process) => {
            interrupt::request();
            drop(state);
            watch_process();
        }
        (1, Foreground::Line(number)) => {
            interrupt::request();
            drop(state);
            watch_line(number);
        }
        (_, Foreground::Line(_)) if !state.is_told => {}
        _ => end(state),
    }
}

/// Ends the process at once, and leaves the terminal as it was.
fn end(state: MutexGuard<'static, Heard>) -> ! {
    if let Some(terminal) = &state.terminal {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, terminal);
        let _ = rustix::io::write(io::stdout(), NO_BRACKETED_PASTE);
    }
    end_cleanly(INTERRUPTED)
}

fn watch_process() {
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

/// Says what to do about a line that goes on.
fn watch_line(number: u64) {
    let _ = thread::Builder::new().spawn(move || {
        thread::sleep(PATIENCE_OF_LINES);
        let mut state = heard();
        if state.foreground == Foreground::Line(number) {
            state.is_told = true;
            drop(state);
            tell("qlua: the line stops after its current step; Ctrl-C again ends the session at once");
        }
    });
}

/// A session, until it is dropped: what a wish to stop ends is the line that runs.
pub(super) struct SessionSignals(());

impl SessionSignals {
    /// Begins one, in which nothing runs yet.
    pub fn begin() -> Self {
        let mut state = heard();
        (state.foreground, state.wishes) = (Foreground::Waiting, 0);
        state.terminal = tcgetattr(io::stdin()).ok();
        SessionSignals(())
    }

    /// Runs `line`, which a wish to stop ends, and gives with its result whether the session is to end with it.
    pub fn line<R>(&self, line: impl FnOnce() -> R) -> (R, bool) {
        {
            let mut state = heard();
            state.lines += 1;
            (state.foreground, state.wishes, state.is_told) = (Foreground::Line(state.lines), 0, false);
        }
        let result = line();
        let mut state = heard();
        state.foreground = Foreground::Waiting;
        interrupt::withdraw();
        (result, state.ends_session)
    }
}

impl Drop for SessionSignals {
    fn drop(&mut self) {
        let mut state = heard();
        (state.foreground, state.wishes, state.terminal) = (Foreground::Process, 0, None);
    }
}

/// Has another program decide what Ctrl-C does, until the guard goes.
pub(super) fn lend_terminal() -> LentTerminal {
    let mut state = heard();
    LentTerminal(std::mem::replace(&mut state.foreground, Foreground::Waiting))
}

/// See [`lend_terminal`].
pub(super) struct LentTerminal(Foreground);

impl Drop for LentTerminal {
    fn drop(&mut self) {
        heard().foreground = self.0;
    }
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
