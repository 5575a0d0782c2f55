//! `qlua verify`: checks of directories, with exit code 3 when something is wrong.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::built_in::Said;
use super::console::print;
use super::directories;
use crate::units::counted;
use crate::verify::{Depth, verify as check};

/// Exit code when verification found problems.
const PROBLEMS: u8 = 3;

pub(super) fn declare(command: Command) -> Command {
    let headers = Arg::new("headers").long("headers").action(ArgAction::SetTrue);
    command
        .arg(headers.help("Look at headers and configurations only, not at weights"))
        .arg(directories::argument())
}

pub(super) fn verify(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let depth = if values.get_flag("headers") { Depth::Headers } else { Depth::Full };
    let mut found = 0;
    let mut text = String::new();
    for path in directories::of(&mut values) {
        let directory = path.display();
        let problems = check(&path, depth)?;
        let faults = problems.iter().filter(|problem| problem.is_fault()).count();
        let unknown = problems.len() - faults;
        found += faults;
        let said = if faults == 0 { "ok".into() } else { counted(faults, "problem") };
        _ = match unknown {
            0 => writeln!(text, "{directory}: {said}"),
            _ if faults == 0 => writeln!(text, "{directory}: not checked in {}", counted(unknown, "respect")),
            _ => writeln!(text, "{directory}: {said}, and not checked in {}", counted(unknown, "respect")),
        };
        for problem in problems {
            let _ = writeln!(text, "  {problem}");
        }
    }
    print(&text)?;
    Ok(if found == 0 { 0 } else { PROBLEMS })
}
