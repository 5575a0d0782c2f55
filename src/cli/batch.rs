//! `qlua run GLOB… [-- ARGS]`: scripts one after another, each in a fresh state, on past failures.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::{conclude, print};
use crate::error::Error;
use crate::lua::sandbox::Limits;
use crate::lua::{Chunk, Ending, Failure, Host, ScriptStop, Verbosity, log_file, output};
use crate::shown;

pub(super) fn declare(command: Command) -> Command {
    command
        .arg(
            Arg::new("glob")
                .value_name("GLOB")
                .required(true)
                .num_args(1..)
                .action(ArgAction::Append)
                .value_hint(ValueHint::FilePath)
                .help("Scripts to run; each glob must match a file (may be repeated)"),
        )
        .arg(
            Arg::new("args")
                .value_name("ARGS")
                .last(true)
                .num_args(0..)
                .value_hint(ValueHint::Other)
                .value_parser(value_parser!(OsString))
                .help("What every script gets"),
        )
}

pub(super) fn run(mut values: ArgMatches, &Said { verbosity, limits, .. }: &Said) -> anyhow::Result<u8> {
    let globs: Vec<String> = values.remove_many("glob").into_iter().flatten().collect();
    let arguments: Vec<OsString> = values.remove_many("args").into_iter().flatten().collect();
    let mut rows = Vec::new();
    for path in scripts(&globs)? {
        if verbosity > Verbosity::Quiet {
            output::line_to_stderr(&format!("qlua: running {}", path.display()));
        }
        let start = Instant::now();
        let ending = run_one(&path, &arguments, verbosity, limits);
        let code = conclude(&ending);
        if let Ending::Stopped(ScriptStop::Interrupted | ScriptStop::ClosedPipe) = ending {
            return Ok(code);
        }
        rows.push(ScriptRun { path, code, seconds: start.elapsed().as_secs_f64() });
    }
    let is_failed = rows.iter().any(|row| row.code != 0);
    // With -q only what failed is worth a word.
    if verbosity == Verbosity::Quiet && !is_failed {
        log_file::write(&summary(&rows));
    } else {
        print(&summary(&rows))?;
    }
    Ok(u8::from(is_failed))
}

/// The files that the globs match, in the order of the globs, each once.
fn scripts(globs: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in globs {
        let matches = glob::glob(pattern)
            .map_err(|e| Error::usage(format!("the glob `{pattern}` does not parse: {}", e.msg)))?;
        let before = paths.len();
        let mut matched = false;
        for path in matches {
            let path = path.map_err(|e| {
                let path = e.path().to_path_buf();
                Error::io("read", path, e.into())
            })?;
            if path.is_file() {
                matched = true;
                if !paths[..before].contains(&path) {
                    paths.push(path);
                }
            }
        }
        if !matched {
            return Err(Error::usage(format!("no script matches `{pattern}`"))
                .with_hint("`*` matches any run of characters; quote the glob, or the shell takes it apart")
                .into());
        }
    }
    Ok(paths)
}

fn run_one(path: &Path, arguments: &[OsString], verbosity: Verbosity, limits: Limits) -> Ending {
    let outcome = || -> anyhow::Result<Ending> {
        let chunk = Chunk::file(path)?;
        let host = Host::limited(verbosity, path.parent(), limits)?;
        host.set_arg(&[], path.as_os_str(), arguments)?;
        Ok(host.run(&chunk, arguments))
    };
    outcome().unwrap_or_else(|error| Ending::Failed(Failure::of(&error)))
}

struct ScriptRun {
    path: PathBuf,
    code: u8,
    seconds: f64,
}

fn summary(rows: &[ScriptRun]) -> String {
    let name = |row: &ScriptRun| shown::line(&row.path.display().to_string()).into_owned();
    let width = rows.iter().map(|r| name(r).chars().count()).max().unwrap_or(0).max("script".len());
    let mut out = format!("\n{:<width$}  {:<11}  seconds\n", "script", "result");
    for row in rows {
        let result = match row.code {
            0 => "ok".into(),
            code => format!("exit code {code}"),
        };
        let _ = writeln!(out, "{:<width$}  {result:<11}  {:>7.1}", name(row), row.seconds);
    }
    let failed = rows.iter().filter(|row| row.code != 0).count();
    let _ = match failed {
        0 => writeln!(out, "all {} ok", rows.len()),
        _ => writeln!(out, "{failed} of {} failed", rows.len()),
    };
    out
}
