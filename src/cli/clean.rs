//! `qlua clean`: what interrupted runs left is listed and removed.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::print;
use crate::interrupt;
use crate::report::bytes;
use crate::write::{LeftoverFate, leftovers};

pub(super) fn declare(command: Command) -> Command {
    command
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .num_args(1..)
                .action(ArgAction::Append)
                .value_hint(ValueHint::DirPath)
                .value_parser(value_parser!(PathBuf))
                .help("A directory that runs wrote into, as --out had it (may be repeated)"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("List what would be removed, and remove nothing"),
        )
}

pub(super) fn clean(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let dry = values.get_flag("dry-run");
    let directories: Vec<PathBuf> = values.remove_many("dir").into_iter().flatten().collect();
    let mut text = String::new();
    for directory in directories {
        let left = leftovers(&directory)?;
        if left.is_empty() {
            let _ = writeln!(text, "{}: interrupted runs left nothing", directory.display());
        }
        for leftover in left {
            interrupt::check()?;
            let fate = if dry { None } else { Some(leftover.remove()?) };
            let said = match fate {
                None => "would be removed",
                Some(LeftoverFate::Removed) => "removed",
                Some(LeftoverFate::PutBack) => "a whole scheme, has its name again",
                Some(LeftoverFate::InUse) => "in use by another process, left alone",
            };
            let _ = writeln!(text, "{}: {}, {said}", leftover.path.display(), bytes(leftover.bytes));
        }
    }
    print(&text)
}
