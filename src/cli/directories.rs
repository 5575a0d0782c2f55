//! What `qlua verify` and `qlua detach` have in common: they take directories.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};

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
