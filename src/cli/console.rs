//! What commands say: their text, and how a script ended.

use std::io;

use crate::error::Error;
use crate::json::pretty;
use crate::lua::{Ending, Failure, ScriptStop, output};
use crate::shown;

/// Says how a script ended, where there is something to say, and gives the exit code.
pub(super) fn conclude(ending: &Ending) -> u8 {
    match ending {
        Ending::Failed(failure) => output::line_to_stderr(&failure.to_string()),
        Ending::Stopped(ScriptStop::Interrupted) => output::line_to_stderr("qlua: interrupted"),
        Ending::Done | Ending::Stopped(_) => {}
    }
    ending.exit_code()
}

/// Writes an error as it ends a program, and gives its exit code.
pub(super) fn say(error: &anyhow::Error) -> u8 {
    let failure = Failure::of(error);
    output::line_to_stderr(&failure.to_string());
    failure.exit_code()
}

/// Writes `text` to standard output; exit code 0.
pub(super) fn print(text: &str) -> anyhow::Result<u8> {
    write(&shown::lines(text))
}

/// Writes `value` to standard output as JSON that a program reads back as it was, and that does nothing to a terminal; exit
/// code 0.
pub(super) fn print_json(value: &serde_json::Value) -> anyhow::Result<u8> {
    write(&shown::json(&String::from_utf8(pretty(value))?))
}

fn write(text: &str) -> anyhow::Result<u8> {
    match output::write_stdout(text) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output { source }.into()),
        // Without a reader there is nothing more to do, and nothing went wrong.
        _ => Ok(0),
    }
}
