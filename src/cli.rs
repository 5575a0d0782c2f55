//! The command line of qlua: what runs, with which arguments, and the exit code.

mod batch;
mod built_in;
mod clean;
mod commands;
mod console;
mod declaration;
mod detach;
mod diff;
mod directories;
mod ending;
mod folders;
mod inspect;
mod invocation;
mod listing;
mod new;
mod pager;
mod repl;
mod report;
mod setup;
mod shell;
mod signals;
mod verify;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::ArgMatches;

use crate::error::Error;
use crate::lua::sandbox::{Limits, ProcessUsage, ScriptLimit, restrict};
use crate::lua::{Chunk, Ending, Failure, Host, ScriptStop, Verbosity, answer_request, log_file, output};
use crate::options::{self, Parsed};
use built_in::{BuiltIn, Said};
use commands::COMMANDS;
use console::{conclude, print};
use ending::{end_cleanly, tell};
use invocation::{Invocation, RunTarget, StartupStep};

/// Runs qlua with the arguments of this process.
pub fn main() -> ExitCode {
    if let Err(error) = signals::listen() {
        output::line_to_stderr(&format!("qlua: warning: Ctrl-C will not clean up: {error}"));
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    let code = match run(&words) {
        Ok(code) => code,
        Err(error) => say_error(&error),
    };
    ExitCode::from(finish(code))
}

/// Ends a sandbox whose script goes beyond its limits where no hook sees it. Nothing is half written then.
fn end_sandbox(limit: ScriptLimit, limits: &Limits) -> ! {
    let failure = Failure::of(&limit.error(limits).into());
    tell(&failure.to_string());
    end_cleanly(failure.exit_code())
}

fn run(words: &[OsString]) -> anyhow::Result<u8> {
    let (program, rest) =
        words.split_first().map_or((OsString::from("qlua"), words), |(p, r)| (p.clone(), r));
    let invocation = Invocation::parse(rest)?;
    if let Some(path) = &invocation.log {
        log_file::log_to(path)?;
    }
    match &invocation.target {
        RunTarget::Text(text) => print(text),
        RunTarget::Nothing if invocation.steps.is_empty() && !invocation.is_interactive => {
            output::line_to_stderr(declaration::help(COMMANDS).trim_end());
            Ok(2)
        }
        RunTarget::PolicyWorker => answer_request(),
        RunTarget::Command(command) => {
            let of_scripts = [
                (invocation.roots.is_some(), "`--sandbox` goes", "leave it out"),
                (invocation.is_interactive, "`-i` goes", "leave it out; `qlua repl` is a session alone"),
                (!invocation.steps.is_empty(), "`-e` and `-l` go", "leave them out"),
            ];
            if let Some((_, option, hint)) = of_scripts.iter().find(|(is_given, ..)| *is_given) {
                let message = format!("{option} with a script, not with the command `{}`", command.name);
                return Err(Error::usage(message).with_hint(*hint).into());
            }
            match options::parse(command.declaration(), invocation.arguments.iter().cloned())? {
                Parsed::Text(text) => print(&text),
                Parsed::Values(values) => {
                    let Invocation { verbosity, limits, .. } = invocation;
                    let said = Said { verbosity, limits, commands: COMMANDS }.with(&values);
                    if let Some(path) = values.get_one::<PathBuf>("log") {
                        log_file::log_to(path)?;
                    }
                    run_command(command, values, &said)
                }
            }
        }
        _ => run_script(&program, rest, &invocation),
    }
}

fn run_command(command: &BuiltIn, values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let begun = Instant::now();
    said.debug(|| format!("{} runs on qlua {}", command.name, env!("CARGO_PKG_VERSION")));
    let outcome = (command.run)(values, said);
    if let Ok(code) = &outcome {
        said.debug(|| format!("exit code {code} after {:.3} s", begun.elapsed().as_secs_f64()));
    }
    outcome
}

fn run_script(program: &OsString, words: &[OsString], invocation: &Invocation) -> anyhow::Result<u8> {
    let chunk = invocation.target.chunk()?;
    let host = host(invocation)?;
    match invocation.script_index {
        Some(i) => {
            let before: Vec<OsString> = std::iter::once(program).chain(&words[..i]).cloned().collect();
            host.set_arg(&before, &words[i], &invocation.arguments)?;
        }
        None => host.set_arg(&[], program, words)?,
    }
    let begun = Instant::now();
    if invocation.is_interactive {
        return repl::run(&host, invocation.verbosity, |host| run_steps(host, invocation, chunk.as_ref()));
    }
    let code = conclude(&run_steps(&host, invocation, chunk.as_ref()));
    if chunk.is_some() {
        output::debug(invocation.verbosity, || {
            format!("exit code {code} after {:.3} s", begun.elapsed().as_secs_f64())
        });
    }
    Ok(code)
}

/// Runs what comes before the script, and the script.
fn run_steps(host: &Host, invocation: &Invocation, chunk: Option<&Chunk>) -> Ending {
    for step in &invocation.steps {
        let ending = match step {
            StartupStep::Code(code) => host.run(&Chunk::code(code), &[]),
            StartupStep::Module { name, module } => host.load_module(name, module),
        };
        if ending != Ending::Done {
            return ending;
        }
    }
    let Some(chunk) = chunk else { return Ending::Done };
    output::debug(invocation.verbosity, || {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        format!("{} runs on qlua {} with {cores} cores", chunk.described(), env!("CARGO_PKG_VERSION"))
    });
    host.run(chunk, &invocation.arguments)
}

/// The state that the script runs in.
fn host(invocation: &Invocation) -> anyhow::Result<Host> {
    let Some(roots) = &invocation.roots else {
        if invocation.is_interactive {
            return Host::interactive(invocation.verbosity, invocation.target.folder(), invocation.limits);
        }
        return Host::limited(invocation.verbosity, invocation.target.folder(), invocation.limits);
    };
    if ProcessUsage::open().written().is_none() {
        output::line_to_stderr(
            "qlua: warning: this system does not count what a process writes, so that `--write-limit` does not hold",
        );
    }
    let host = Host::sandboxed(invocation.verbosity, roots.clone(), invocation.limits, end_sandbox)?;
    let is_enforced = restrict(roots).map_err(|e| Error::io("restrict", "this process", e))?;
    if !is_enforced && invocation.verbosity == Verbosity::Verbose {
        output::line_to_stderr(
            "debug: this kernel has no Landlock: qlua alone keeps the script to its files",
        );
    }
    Ok(host)
}

/// Prints an error of qlua itself and gives the exit code.
fn say_error(error: &anyhow::Error) -> u8 {
    let failure = Failure::of(error);
    if failure.kind == "interrupted" {
        return conclude(&Ending::Stopped(ScriptStop::Interrupted));
    }
    output::line_to_stderr(&failure.to_string());
    failure.exit_code()
}

/// Hands out what is still in buffers. A reader that went away is no failure, a full disk is one.
fn finish(code: u8) -> u8 {
    match output::flush_scripts() {
        Err(source) if code == 0 && source.kind() != io::ErrorKind::BrokenPipe => {
            say_error(&Error::Output { source }.into())
        }
        _ => code,
    }
}
