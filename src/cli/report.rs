//! `qlua report`: the report over every scheme in a directory, whatever runs wrote it.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::{answer, as_json, json_flag};
use crate::error::Error;
use crate::job::{report_directory, write_report};
use crate::options::width;
use crate::units::counted;

pub(super) fn declare(command: Command) -> Command {
    let directory = |name: &'static str| {
        Arg::new(name)
            .value_name("DIR")
            .action(ArgAction::Set)
            .value_hint(ValueHint::DirPath)
            .value_parser(value_parser!(PathBuf))
    };
    command
        .arg(directory("dir").required(true).help("The directory that schemes were written to, as --out had it"))
        .arg(directory("out").long("out").help("Where report.html and report.md go (default: beside the schemes)"))
        .arg(json_flag("Print everything as JSON, and write no files"))
        .after_help(
            "Schemes are read from their own records, so the base checkpoint need not be there. One whose record, configuration \
             or sizes of weight files are no longer what was written is left out, and the report says so; `qlua verify` \
             compares every byte.",
        )
}

pub(super) fn report(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let Some(directory) = values.remove_one::<PathBuf>("dir") else { return Ok(2) };
    if !directory.is_dir() {
        let problem = format!("there is no directory `{}`", directory.display());
        return Err(Error::not_found(problem)
            .with_hint("name the directory that schemes were written to, as --out had it")
            .into());
    }
    let report = report_directory(&directory)?;
    said.debug(|| {
        let count = report.schemes().count();
        format!("{} on record in {}", counted(count, "scheme"), directory.display())
    });
    let mut text = report.to_text(width());
    if as_json(&values) {
        return answer(said, Some(&report.to_json()), &text);
    }
    let out = values.remove_one::<PathBuf>("out").unwrap_or(directory);
    let [page, _] = write_report(&out, &report)?;
    text.push_str(&format!("\nthe report is {}\n", Path::display(&page)));
    answer(said, None, &text)
}
