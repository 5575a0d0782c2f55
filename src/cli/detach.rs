//! `qlua detach`: files that a directory shares with others become its own.

use std::fmt::Write as _;

use clap::{ArgMatches, Command};

use super::built_in::Said;
use super::console::print;
use super::directories;
use crate::report::bytes;
use crate::write::detach as detach_directory;

pub(super) fn declare(command: Command) -> Command {
    command.arg(directories::argument())
}

pub(super) fn detach(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let mut text = String::new();
    for path in directories::of(&mut values) {
        let directory = path.display();
        let detached = detach_directory(&path)?;
        let _ = match detached.files {
            0 => writeln!(text, "{directory}: shares no file"),
            1 => writeln!(text, "{directory}: 1 file is its own now, {}", bytes(detached.bytes)),
            n => writeln!(text, "{directory}: {n} files are its own now, {}", bytes(detached.bytes)),
        };
    }
    print(&text)
}
