//! `qlua list` and `qlua doc`: what is built in.

use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command, ValueHint};
use serde_json::json;

use super::built_in::Said;
use super::console::{answer, as_json, json_flag, print};
use super::pager::page;
use crate::lua::api::declarations;
use crate::lua::embedded::Embedded;
use crate::lua::{Verbosity, docs, embedded};
use crate::options::width;
use crate::report::table::{Column, Table, wrapped};

pub(super) fn declare_list(command: Command) -> Command {
    command.arg(json_flag("Print the list as JSON"))
}

pub(super) fn list(values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let kinds = [("scripts", "scripts/"), ("examples", "examples/")];
    let of = |folder: &'static str| embedded::scripts().filter(move |s| s.path.starts_with(folder));
    if said.verbosity == Verbosity::Quiet && !as_json(&values) {
        // For other programs and shells: names alone.
        let names =
            kinds.iter().flat_map(|(_, folder)| of(folder)).map(|script| format!("{}\n", script.name()));
        return print(&names.collect::<String>());
    }
    let mut out = String::new();
    for (title, folder) in kinds {
        let mut table = Table::new(["", "", ""].map(Column::new));
        for script in of(folder) {
            table.push(["".into(), script.name().into(), script.headline().into()]);
        }
        if !table.rows.is_empty() {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = write!(out, "{gap}{title}:\n{}", wrapped(&table, width()));
        }
    }
    let entry =
        |script: &Embedded| json!({"name": script.name(), "about": script.headline(), "path": script.path});
    let all = |folder| of(folder).map(entry).collect::<Vec<_>>();
    let json = json!({"kind": "list", "scripts": all("scripts/"), "examples": all("examples/")});
    answer(said, as_json(&values).then_some(&json), &out)
}

pub(super) fn declare_doc(command: Command) -> Command {
    let name = Arg::new("name").value_name("NAME").value_hint(ValueHint::Other);
    command.arg(name.help("Such as `fs`, `fs.read` or `Parser:parse`; without it all namespaces"))
}

pub(super) fn doc(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let api = declarations();
    match values.remove_one::<String>("name") {
        Some(name) => page(&docs::lookup(&api, &name, width())?),
        None => page(&docs::overview(&api, width())),
    }
}
