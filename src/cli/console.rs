//! What commands say: their text, and how a script ended.

use std::io::{self, IsTerminal};

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::Value;

use super::built_in::Said;
use crate::error::Error;
use crate::json::pretty;
use crate::lua::{Ending, Failure, ScriptStop, Verbosity, colour, log_file, output};
use crate::options::width;
use crate::report::table::{Table, fitted, markdown};
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
    log_file::write(text);
    write(&shown::lines(text))
}

/// The flag that asks for JSON.
pub(super) fn json_flag(help: &'static str) -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help(help)
}

/// Whether [`json_flag`] was given.
pub(super) fn as_json(values: &ArgMatches) -> bool {
    values.get_flag("json")
}

/// What a command found: `text` on standard output; with `json` that goes there and `text` to standard error. With `-q` there
/// is no text. Exit code 0.
pub(super) fn answer(said: &Said, json: Option<&Value>, text: &str) -> anyhow::Result<u8> {
    let is_quiet = said.verbosity == Verbosity::Quiet;
    match json {
        Some(value) => {
            if !is_quiet {
                output::line_to_stderr(text.trim_end_matches('\n'));
            }
            print_json(value)
        }
        None if is_quiet => {
            log_file::write(text);
            Ok(0)
        }
        None => print(text),
    }
}

/// `grid` as standard output shows it best: on a terminal with as many columns as there is room for, else as Markdown.
pub(super) fn table(grid: &Table) -> String {
    match io::stdout().is_terminal() {
        true => fitted(grid, width()),
        false => markdown(grid),
    }
}

/// Writes `text` to standard output, its judgements in colour on a terminal; exit code 0.
pub(super) fn print_findings(text: &str) -> anyhow::Result<u8> {
    log_file::write(text);
    let shown = shown::lines(text);
    match colour::is_wanted(&io::stdout()) {
        true => write(&colour::findings(&shown)),
        false => write(&shown),
    }
}

/// Writes `value` to standard output as JSON that a program reads back as it was, and that does nothing to a terminal; exit
/// code 0.
pub(super) fn print_json(value: &Value) -> anyhow::Result<u8> {
    write(&shown::json(&String::from_utf8(pretty(value))?))
}

fn write(text: &str) -> anyhow::Result<u8> {
    match output::write_stdout(text) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output { source }.into()),
        // Without a reader there is nothing more to do, and nothing went wrong.
        _ => Ok(0),
    }
}
