//! `qlua detach`: files that a directory shares with others become its own.

use clap::{ArgMatches, Command};

use super::built_in::Said;
use super::console::{answer, say};
use super::directories;
use crate::error::Error;
use crate::report::bytes;
use crate::shown;
use crate::write::{Detached, detach as detach_directory};

pub(super) fn declare(command: Command) -> Command {
    command.arg(directories::argument())
}

pub(super) fn detach(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let mut code = 0;
    for path in directories::of(&mut values) {
        match detach_directory(&path) {
            Ok(detached) => {
                answer(said, None, &format!("{}: {}\n", shown::path(&path), told(&detached)))?;
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted.into()),
            // One that cannot be detached keeps nobody from the others.
            Err(error) => code = say(&error.into()),
        }
    }
    Ok(code)
}

fn told(detached: &Detached) -> String {
    match detached.files {
        0 => "shares no file".into(),
        1 => format!("1 file is its own now, {}", bytes(detached.bytes)),
        n => format!("{n} files are its own now, {}", bytes(detached.bytes)),
    }
}
