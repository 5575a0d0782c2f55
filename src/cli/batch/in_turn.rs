//! Scripts one after another in this process, each in a fresh state.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::summary::{SummaryResult, SummaryRow, summary};
use crate::cli::built_in::Said;
use crate::cli::console::{conclude, print};
use crate::error::Error;
use crate::lua::sandbox::Limits;
use crate::lua::{Chunk, Ending, Failure, Host, ScriptStop, Verbosity, log_file, output};

/// Runs the scripts at `paths` with `arguments`, and sums up.
pub(super) fn run(paths: &[PathBuf], arguments: &[OsString], said: &Said) -> anyhow::Result<u8> {
    let &Said { verbosity, limits, .. } = said;
    let mut rows = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        if verbosity > Verbosity::Quiet {
            output::line_to_stderr(&format!("qlua: running {}", path.display()));
        }
        let start = Instant::now();
        let ending = run_one(path, arguments, verbosity, limits);
        let code = conclude(&ending);
        if let Ending::Stopped(ScriptStop::ClosedPipe) = ending {
            return Ok(code);
        }
        rows.push(SummaryRow {
            name: path.display().to_string(),
            result: SummaryResult::Ended(code.into()),
            seconds: start.elapsed().as_secs_f64(),
            message: None,
        });
        if let Ending::Stopped(ScriptStop::Interrupted) = ending {
            let open = paths[at + 1..].iter().map(|path| SummaryRow::not_begun(path.display().to_string()));
            rows.extend(open);
            if verbosity > Verbosity::Quiet {
                print(&summary("script", &rows))?;
            }
            return Ok(code);
        }
    }
    let is_failed = rows.iter().any(SummaryRow::is_failed);
    // With -q only what failed is worth a word.
    if verbosity == Verbosity::Quiet && !is_failed {
        log_file::write(&summary("script", &rows));
    } else {
        print(&summary("script", &rows))?;
    }
    Ok(u8::from(is_failed))
}

/// The files that the globs match, in the order of the globs, each once.
pub(super) fn scripts(globs: &[String]) -> anyhow::Result<Vec<PathBuf>> {
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
