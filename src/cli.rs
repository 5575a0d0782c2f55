//! The command line of qlua: what runs, with which arguments, and the exit code.

mod batch;
mod detach;
mod directories;
mod inspect;
mod invocation;
mod listing;
mod verify;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use crate::error::Error;
use crate::interrupt;
use crate::lua::{Chunk, Ending, Host, Report, Stop, Verbosity, output};
use crate::options::UsageError;
use invocation::{Invocation, Step, Target};

/// A built-in command: `qlua NAME WORDS…`.
struct BuiltIn {
    name: &'static str,
    /// What follows the name, as `--help` shows it.
    usage: &'static str,
    about: &'static str,
    /// Takes the words after the name and gives the exit code.
    run: fn(&[OsString], Verbosity) -> anyhow::Result<u8>,
}

/// The built-in commands in the order in which `--help` lists them; dispatch and help are made from this list.
const COMMANDS: &[BuiltIn] = &[
    BuiltIn {
        name: "inspect",
        usage: "DIR|MANIFEST",
        about: "show what a checkpoint or a sensitivity manifest holds",
        run: inspect::inspect,
    },
    BuiltIn {
        name: "verify",
        usage: "DIR…",
        about: "check directories against what loaders accept; exit code 3 when something is wrong",
        run: verify::verify,
    },
    BuiltIn {
        name: "detach",
        usage: "DIR…",
        about: "give directories their own copies of the files that they share with others",
        run: detach::detach,
    },
    BuiltIn { name: "list", usage: "", about: "list the built-in scripts", run: listing::list },
    BuiltIn { name: "doc", usage: "[NAME]", about: "explain an entry of the Lua API", run: listing::doc },
    BuiltIn {
        name: "run",
        usage: "GLOB… [-- ARGS]",
        about: "run scripts one after another, each in a fresh state, on past failures",
        run: batch::run,
    },
];

/// Runs qlua with the arguments of this process.
pub fn main() -> ExitCode {
    let handler = ctrlc::set_handler(|| {
        if interrupt::requested() {
            // SAFETY: `_exit` ends the process without running anything; waiting for locks could hang here.
            unsafe { libc::_exit(130) };
        }
        interrupt::request();
    });
    if let Err(error) = handler {
        output::line_to_stderr(&format!("qlua: warning: Ctrl-C will not clean up: {error}"));
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    let code = match run(&words) {
        Ok(code) => code,
        Err(error) => report(&error),
    };
    ExitCode::from(finish(code))
}

fn run(words: &[OsString]) -> anyhow::Result<u8> {
    let (program, rest) =
        words.split_first().map_or((OsString::from("qlua"), words), |(p, r)| (p.clone(), r));
    let invocation = Invocation::parse(rest)?;
    match &invocation.target {
        Target::Help => print(&invocation::help()),
        Target::Version => print(&format!("qlua {} (Lua 5.4)\n", env!("CARGO_PKG_VERSION"))),
        Target::Nothing if invocation.steps.is_empty() => {
            output::line_to_stderr(invocation::help().trim_end());
            Ok(2)
        }
        Target::Command(command) => {
            if !invocation.steps.is_empty() {
                let message =
                    format!("`-e` and `-l` go with a script, not with the command `{}`", command.name);
                return Err(UsageError::new(message).into());
            }
            (command.run)(&invocation.arguments, invocation.verbosity)
        }
        _ => run_script(&program, rest, &invocation),
    }
}

fn run_script(program: &OsString, words: &[OsString], invocation: &Invocation) -> anyhow::Result<u8> {
    let chunk = invocation.target.chunk()?;
    let host = Host::new(invocation.verbosity, invocation.target.folder())?;
    match invocation.script_index {
        Some(i) => {
            let before: Vec<OsString> = std::iter::once(program).chain(&words[..i]).cloned().collect();
            host.set_arg(&before, &words[i], &invocation.arguments)?;
        }
        None => host.set_arg(&[], program, words)?,
    }
    for step in &invocation.steps {
        let ending = match step {
            Step::Code(code) => host.run(&Chunk::code(code), &[]),
            Step::Module { name, module } => host.load_module(name, module),
        };
        if ending != Ending::Done {
            return Ok(conclude(&ending));
        }
    }
    Ok(chunk.map_or(0, |chunk| conclude(&host.run(&chunk, &invocation.arguments))))
}

/// Says how a script ended, where there is something to say, and gives the exit code.
fn conclude(ending: &Ending) -> u8 {
    match ending {
        Ending::Failed(report) => output::line_to_stderr(&report.to_string()),
        Ending::Stopped(Stop::Interrupted) => output::line_to_stderr("qlua: interrupted"),
        Ending::Done | Ending::Stopped(_) => {}
    }
    ending.exit_code()
}

/// Prints an error of qlua itself and gives the exit code.
fn report(error: &anyhow::Error) -> u8 {
    let report = Report::of(error);
    if report.kind == "interrupted" {
        return conclude(&Ending::Stopped(Stop::Interrupted));
    }
    output::line_to_stderr(&report.to_string());
    report.exit_code()
}

/// Writes `text` to standard output; exit code 0.
fn print(text: &str) -> anyhow::Result<u8> {
    match output::write_stdout(text) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write", "standard output", e).into())
        }
        // Without a reader there is nothing more to do, and nothing went wrong.
        _ => Ok(0),
    }
}

/// Hands out what is still in buffers. A reader that went away is no failure, a full disk is one.
fn finish(code: u8) -> u8 {
    match output::flush_scripts() {
        Err(error) if code == 0 && error.kind() != io::ErrorKind::BrokenPipe => {
            output::line_to_stderr(&format!("qlua: error: cannot write to the standard output: {error}"));
            1
        }
        _ => code,
    }
}
