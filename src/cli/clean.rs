//! `qlua clean`: what interrupted runs left is listed and removed.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::built_in::Said;
use super::console::{answer, say};
use super::directories;
use crate::error::Error;
use crate::interrupt;
use crate::report::bytes;
use crate::shown;
use crate::write::{LeftoverFate, leftovers};

pub(super) fn declare(command: Command) -> Command {
    command
        .arg(
            directories::argument()
                .help("A directory that runs wrote into, as --out had it (may be repeated)"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("List what would be removed, and remove nothing"),
        )
}

pub(super) fn clean(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let dry = values.get_flag("dry-run");
    let mut code = 0;
    for directory in directories::of(&mut values) {
        // One that cannot be cleaned keeps nobody from the others.
        match clean_directory(&directory, dry, said) {
            Ok(0) => {}
            Ok(failed) => code = failed,
            Err(error) if error.downcast_ref::<Error>().is_some_and(|e| matches!(e, Error::Interrupted)) => {
                return Err(error);
            }
            Err(error) => code = say(&error),
        }
    }
    Ok(code)
}

/// Says what is there and what becomes of it, each as soon as it is known.
fn clean_directory(directory: &Path, dry: bool, said: &Said) -> anyhow::Result<u8> {
    let mut code = 0;
    if !directory.is_dir() {
        let missing = Error::not_found(format!("there is no directory `{}`", directory.display()));
        return Err(missing.with_hint("name the directory that runs wrote into, as --out had it").into());
    }
    let left = leftovers(directory)?;
    if left.is_empty() {
        answer(said, None, &format!("{}: interrupted runs left nothing\n", shown::path(directory)))?;
    }
    for leftover in left {
        interrupt::check()?;
        let fate = if dry { Ok(leftover.expected_fate()) } else { leftover.remove() };
        let done = match fate {
            Ok(LeftoverFate::Removed) if dry => "would be removed",
            Ok(LeftoverFate::PutBack) if dry => "a whole scheme, would get its name again",
            Ok(LeftoverFate::Removed) => "removed",
            Ok(LeftoverFate::PutBack) => "a whole scheme, has its name again",
            Ok(LeftoverFate::InUse) => "in use by another process, left alone",
            Err(error) => {
                code = say(&error.into());
                continue;
            }
        };
        answer(said, None, &format!("{}: {}, {done}\n", shown::path(&leftover.path), bytes(leftover.bytes)))?;
    }
    Ok(code)
}
