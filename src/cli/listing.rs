//! `qlua list` and `qlua doc`: what is built in.

use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command, ValueHint};

use super::built_in::Said;
use super::console::print;
use super::pager::page;
use crate::lua::api::declarations;
use crate::lua::{docs, embedded};
use crate::options::width;
use crate::report::table::{Column, Table, wrapped};

pub(super) fn list(_: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let mut out = String::new();
    for (title, folder) in [("scripts", "scripts/"), ("examples", "examples/")] {
        let mut table = Table::new(["", "", ""].map(Column::new));
        for script in embedded::scripts().filter(|s| s.path.starts_with(folder)) {
            table.push(["".into(), script.name().into(), script.headline().into()]);
        }
        if !table.rows.is_empty() {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = write!(out, "{gap}{title}:\n{}", wrapped(&table, width()));
        }
    }
    print(&out)
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
