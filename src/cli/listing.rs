//! `qlua list` and `qlua doc`: what is built in.

use std::ffi::OsString;
use std::fmt::Write as _;

use super::print;
use crate::lua::api::declarations;
use crate::lua::{Verbosity, docs, embedded};
use crate::options::{Command, Kind, Parameter, Parsed, UsageError, Value};
use crate::report::table::{Column, Table, text};

/// The words of a built-in command as text.
pub(super) fn texts(words: &[OsString]) -> Result<Vec<&str>, UsageError> {
    let text = |w: &OsString| UsageError::new(format!("`{}` is not valid UTF-8", w.display()));
    words.iter().map(|w| w.to_str().ok_or_else(|| text(w))).collect()
}

pub(super) fn list(words: &[OsString], _: Verbosity) -> anyhow::Result<u8> {
    let command = Command {
        name: "qlua list".into(),
        about: "Lists the scripts that are part of qlua; `qlua NAME` runs one.".into(),
        ..Command::default()
    };
    if command.parse(&texts(words)?)? == Parsed::Help {
        return print(&command.help());
    }
    let mut out = String::new();
    for (title, folder) in [("scripts", "scripts/"), ("examples", "examples/")] {
        let mut table = Table::new(["", "", ""].map(Column::new));
        for script in embedded::scripts().filter(|s| s.path.starts_with(folder)) {
            table.push(["".into(), script.name().into(), script.headline().into()]);
        }
        if !table.rows.is_empty() {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = write!(out, "{gap}{title}:\n{}", text(&table));
        }
    }
    print(&out)
}

pub(super) fn doc(words: &[OsString], _: Verbosity) -> anyhow::Result<u8> {
    let command = Command {
        name: "qlua doc".into(),
        about: "Explains a namespace, function, class, method or field of the Lua API.".into(),
        arguments: vec![Parameter::new("name", Kind::Text, "such as `fs`, `fs.read` or `Parser:parse`")],
        ..Command::default()
    };
    let values = match command.parse(&texts(words)?)? {
        Parsed::Help => return print(&command.help()),
        Parsed::Values(values) => values,
    };
    let api = declarations();
    match values.first() {
        Some((_, Value::Text(name))) => print(&docs::lookup(&api, name)?),
        _ => print(&docs::overview(&api)),
    }
}
