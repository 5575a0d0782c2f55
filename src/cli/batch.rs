//! `qlua run GLOB… [-- ARGS]`: scripts one after another, each in a fresh state, on past failures; and batches of them, several at
//! a time, each in a process of its own: `qlua run --workers N`, `qlua run RECIPE.toml`.

mod in_turn;
mod recipe;
mod summary;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::{as_json, json_flag, print, print_json};
use crate::error::Error;
use crate::interrupt;
use crate::job::batch::{BatchJob, BatchOptions, MachineShare, run_batch};
use crate::lua::batch_progress::batch_listener;
use crate::lua::jobs::{JobRequest, jobs};
use crate::lua::{Verbosity, log_file};
use crate::threads;
use recipe::Recipe;
use summary::{SummaryRow, summary, to_json};

/// Where the logs of a batch go when nobody says.
const LOGS: &str = "batch-logs";

pub(super) fn declare(command: Command) -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .allow_negative_numbers(true)
            .value_hint(ValueHint::Other)
            .value_parser(value_parser!(i64))
            .help(help)
    };
    command
        .arg(
            Arg::new("glob")
                .value_name("GLOB")
                .required(true)
                .num_args(1..)
                .action(ArgAction::Append)
                .value_hint(ValueHint::FilePath)
                .help("Scripts to run; each glob must match a file (may be repeated). Or one recipe, a file that ends in .toml"),
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
        .arg(number("workers", "Run so many at a time, each in a process of its own that writes to a log"))
        .arg(number("threads", "Threads of all workers together; all cores when left out"))
        .arg(
            Arg::new("part")
                .long("part")
                .value_name("I/N")
                .value_hint(ValueHint::Other)
                .help("Do only every N-th from the I-th on, where N machines share a batch"),
        )
        .arg(
            Arg::new("logs")
                .long("logs")
                .value_name("DIR")
                .value_hint(ValueHint::DirPath)
                .value_parser(value_parser!(PathBuf))
                .help("The directory of the logs of workers, one for each (default: batch-logs)"),
        )
        .arg(json_flag("Print how each ended as JSON, with workers or a recipe"))
        .after_help("Exit code 1 when one failed; the others run all the same.")
}

pub(super) fn run(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let globs: Vec<String> = values.remove_many("glob").into_iter().flatten().collect();
    let arguments: Vec<OsString> = values.remove_many("args").into_iter().flatten().collect();
    let share: Option<MachineShare> =
        values.remove_one::<String>("part").map(|text| text.parse()).transpose()?;
    if let Some(path) = recipe_of(&globs, &arguments)? {
        return run_recipe(&path, share, values, said);
    }
    let given = |name: &str| values.value_source(name) == Some(ValueSource::CommandLine);
    let has_workers = ["workers", "threads", "logs", "json"].into_iter().any(given);
    let mut paths = in_turn::scripts(&globs)?;
    if !has_workers {
        retain_share(&mut paths, share);
        return in_turn::run(&paths, &arguments, said);
    }
    let arguments = arguments.iter().map(|word| word.to_str().map(String::from));
    let arguments: Vec<String> = arguments.collect::<Option<_>>().ok_or_else(|| {
        Error::usage("an argument of the scripts is no text in UTF-8, and workers take only such")
    })?;
    let request = |path: &PathBuf| JobRequest {
        // A path, also where a built-in script has the name.
        script: Path::new(".").join(path).display().to_string(),
        arguments: arguments.clone(),
        ..JobRequest::default()
    };
    let requests: Vec<JobRequest> = paths.iter().map(request).collect();
    let options = options(&mut values, None)?;
    match jobs(&requests, &options, said.verbosity)? {
        Ok(jobs) => run_jobs(jobs, share, &options, as_json(&values), said),
        Err((_, mistake)) => Err(mistake.error.into()),
    }
}

/// The recipe among `globs`, which is then alone and has no arguments.
fn recipe_of(globs: &[String], arguments: &[OsString]) -> Result<Option<PathBuf>, Error> {
    let is_recipe = |glob: &&String| Path::new(glob).extension().is_some_and(|extension| extension == "toml");
    let Some(path) = globs.iter().find(is_recipe) else { return Ok(None) };
    if globs.len() > 1 {
        return Err(Error::usage(format!(
            "the recipe `{path}` goes alone, without other scripts or recipes"
        ))
        .with_hint("add them to its `[[policies]]`"));
    }
    if !arguments.is_empty() {
        return Err(Error::usage(format!("the recipe `{path}` takes no arguments for scripts"))
            .with_hint("add them to its `[options]`"));
    }
    if !Path::new(path).is_file() {
        return Err(Error::usage(format!("there is no recipe `{path}`")).with_hint("give the path of a file"));
    }
    Ok(Some(path.into()))
}

fn run_recipe(
    path: &Path,
    share: Option<MachineShare>,
    mut values: ArgMatches,
    said: &Said,
) -> anyhow::Result<u8> {
    let recipe = Recipe::read(path)?;
    let options = options(&mut values, Some(&recipe))?;
    match jobs(&recipe.jobs, &options, said.verbosity)? {
        Ok(jobs) => run_jobs(jobs, share, &options, as_json(&values), said),
        Err((at, mistake)) => Err(recipe.explained(path, at, mistake).into()),
    }
}

/// What was given, or else what the recipe says.
fn options(values: &mut ArgMatches, recipe: Option<&Recipe>) -> Result<BatchOptions, Error> {
    let workers = values.remove_one("workers").or(recipe.and_then(|recipe| recipe.workers)).unwrap_or(1);
    let threads = values.remove_one("threads").or(recipe.and_then(|recipe| recipe.threads));
    let logs = values
        .remove_one::<PathBuf>("logs")
        .or(recipe.and_then(|recipe| recipe.logs.clone().map(PathBuf::from)));
    Ok(BatchOptions {
        workers: BatchOptions::require_workers(workers)?,
        threads: threads.map_or(Ok(threads::all()), |threads| threads::bound(threads, "threads"))?,
        logs: logs.unwrap_or_else(|| LOGS.into()),
    })
}

fn run_jobs(
    mut jobs: Vec<BatchJob>,
    share: Option<MachineShare>,
    options: &BatchOptions,
    is_json: bool,
    said: &Said,
) -> anyhow::Result<u8> {
    retain_share(&mut jobs, share);
    let ends = run_batch(&jobs, options, &*batch_listener(said.verbosity))?;
    let rows: Vec<SummaryRow> =
        jobs.iter().zip(&ends).map(|(job, end)| SummaryRow::of(job, end.as_ref())).collect();
    let is_failed = rows.iter().any(SummaryRow::is_failed);
    match (is_json, said.verbosity) {
        (true, _) => print_json(&to_json(&jobs, &ends))?,
        (false, Verbosity::Quiet) if !is_failed => {
            log_file::write(&summary("job", &rows));
            0
        }
        _ => print(&summary("job", &rows))?,
    };
    interrupt::check()?;
    Ok(u8::from(is_failed))
}

/// Keeps what of `all` this machine does.
fn retain_share<T>(all: &mut Vec<T>, share: Option<MachineShare>) {
    let mut index = 0;
    all.retain(|_| {
        index += 1;
        share.is_none_or(|share| share.has(index - 1))
    });
}
