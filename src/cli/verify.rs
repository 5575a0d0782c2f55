//! `qlua verify`: checks of directories, with exit code 3 when something is wrong.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use super::listing::texts;
use super::{directories, print};
use crate::lua::Verbosity;
use crate::options::{Command, Kind, Parameter, Parsed};
use crate::verify::{Depth, verify as check};

/// Exit code when verification found problems.
const PROBLEMS: u8 = 3;

pub(super) fn verify(words: &[OsString], _: Verbosity) -> anyhow::Result<u8> {
    let command = Command {
        name: "qlua verify".into(),
        about: "Checks checkpoint directories against what loaders accept, and above all against what they accept and get \
                wrong. Exit code 3 when something is wrong."
            .into(),
        options: vec![Parameter::new("headers", Kind::Flag, "look at headers and configurations only, not at FP8 codes")],
        arguments: vec![directories::parameter()],
    };
    let values = match command.parse(&texts(words)?)? {
        Parsed::Help => return print(&command.help()),
        Parsed::Values(values) => values,
    };
    let depth = if values.iter().any(|(key, _)| key == "headers") { Depth::Headers } else { Depth::Full };
    let mut found = 0;
    let mut text = String::new();
    for directory in directories::of(&values) {
        let problems = check(Path::new(directory), depth)?;
        found += problems.len();
        match problems.len() {
            0 => _ = writeln!(text, "{directory}: ok"),
            1 => _ = writeln!(text, "{directory}: 1 problem"),
            n => _ = writeln!(text, "{directory}: {n} problems"),
        }
        for problem in problems {
            let _ = writeln!(text, "  {problem}");
        }
    }
    print(&text)?;
    Ok(if found == 0 { 0 } else { PROBLEMS })
}
