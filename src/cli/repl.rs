//! `qlua repl`, and `-i` before a script: lines of Lua, entered one after another.

mod editor;
mod history;

use std::io::{self, IsTerminal as _};
use std::path::Path;

use clap::{ArgMatches, Command};

use super::built_in::Said;
use super::console::conclude;
use super::signals::SessionSignals;
use crate::lua::{Ending, Host, ScriptStop, Session, Verbosity, output};
use editor::{Editor, Entered};

/// The exit code of a session that a signal ended.
const INTERRUPTED: u8 = 130;

pub(super) fn declare(command: Command) -> Command {
    command.after_help(
        "Expressions are shown, rows as tables; help(x) explains whatever x is; Tab completes. Ctrl-C stops the line that runs, \
         Ctrl-D ends the session. Lines are kept in $XDG_STATE_HOME/qlua/history, by default ~/.local/state/qlua/history. \
         `qlua -i SCRIPT` runs a script first, `qlua -i -l MODULE` loads a module.",
    )
}

pub(super) fn repl(_: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let host = Host::interactive(said.verbosity, Some(Path::new("")), said.limits)?;
    host.set_arg(&[], "qlua".as_ref(), &[])?;
    run(&host, said.verbosity, |_| Ending::Done)
}

/// Runs `first` in the state of `host`, and then what is entered. Gives the exit code.
///
/// # Errors
/// When memory runs out, or the terminal cannot be read.
pub(super) fn run(
    host: &Host,
    verbosity: Verbosity,
    first: impl FnOnce(&Host) -> Ending,
) -> anyhow::Result<u8> {
    let session = Session::new(host)?;
    let signals = SessionSignals::begin();
    let (ending, is_over) = signals.line(|| first(host));
    session.resume();
    if let Some(code) = exit_code(&ending, is_over) {
        return Ok(code);
    }
    conclude(&ending);
    if io::stdin().is_terminal() && verbosity > Verbosity::Quiet {
        output::line_to_stderr(&format!(
            "qlua {} (Lua 5.4). help() explains, Tab completes, Ctrl-D ends.",
            env!("CARGO_PKG_VERSION")
        ));
    }
    let mut editor = Editor::new(&session)?;
    loop {
        let text = match editor.read()? {
            Entered::Text(text) if text.trim().is_empty() => continue,
            Entered::Text(text) => text,
            Entered::Dropped => continue,
            Entered::End => return Ok(0),
        };
        let (ending, is_over) = signals.line(|| session.enter(&text));
        if let Some(code) = exit_code(&ending, is_over) {
            return Ok(code);
        }
        conclude(&ending);
    }
}

/// The exit code where a line ends the session.
fn exit_code(ending: &Ending, is_over: bool) -> Option<u8> {
    match ending {
        Ending::Stopped(ScriptStop::Exit(_) | ScriptStop::ClosedPipe) => Some(ending.exit_code()),
        _ => is_over.then_some(INTERRUPTED),
    }
}
