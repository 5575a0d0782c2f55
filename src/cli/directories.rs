//! What commands that take directories have in common: these, and threads to read them with.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};

use crate::error::Result;
use crate::threads;

/// One directory or more.
pub(super) fn argument() -> Arg {
    Arg::new("dir")
        .value_name("DIR")
        .required(true)
        .num_args(1..)
        .action(ArgAction::Append)
        .value_hint(ValueHint::DirPath)
        .value_parser(value_parser!(PathBuf))
        .help("A checkpoint directory (may be repeated)")
}

/// The directories that were given.
pub(super) fn of(values: &mut ArgMatches) -> Vec<PathBuf> {
    values.remove_many("dir").into_iter().flatten().collect()
}

/// How many threads read.
pub(super) fn threads() -> Arg {
    Arg::new("threads")
        .long("threads")
        .value_name("N")
        .allow_negative_numbers(true)
        .value_parser(value_parser!(i64))
        .help("Threads that read and compare; all cores when left out")
}

/// Bounds them as was given.
pub(super) fn bound_threads(values: &mut ArgMatches) -> Result<()> {
    match values.remove_one::<i64>("threads") {
        Some(given) => threads::bound(given, "--threads").map(|_| ()),
        None => Ok(()),
    }
}
