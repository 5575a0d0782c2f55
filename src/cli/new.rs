//! `qlua new`: a policy of one's own, to begin from.

mod policy;

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::print;
use crate::error::{Error, Result};
use crate::lua::embedded;
use crate::options::{OptionValue, ValueKind, width};
use crate::report::table::wrap;
use crate::shown;

/// What a policy begins from where nothing else is named.
const USUAL: &str = "all_layers_topx";

/// The most characters of a name: file systems take 255 bytes, and schemes put more behind it.
const LONGEST_NAME: usize = 64;

pub(super) fn declare(command: Command) -> Command {
    let scripts = ValueKind::Choice(embedded::scripts().map(|script| script.name().to_string()).collect());
    command
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .required(true)
                .value_hint(ValueHint::FilePath)
                .value_parser(value_parser!(PathBuf))
                .help("What it is called: `mine` is written to mine.lua, `policies/mine` into that folder"),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("SCRIPT")
                .value_parser(scripts)
                .hide_possible_values(true)
                .default_value(USUAL)
                .help("The built-in script to begin from; `qlua list` shows them"),
        )
        .after_help("A file that is there is never overwritten.")
}

pub(super) fn new(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let Some(path) = values.remove_one::<PathBuf>("name") else { return Ok(2) };
    let from = match values.remove_one("from") {
        Some(OptionValue::Text(from)) => from,
        _ => USUAL.into(),
    };
    let Some(script) = embedded::script(&from) else { return Ok(2) };
    let (path, name) = named(&path)?;
    write(&path, policy::text(script, &name, &path).as_bytes())?;
    let shown = shown::line(&path.display().to_string()).into_owned();
    let runs = if policy::is_sweep(script) { "runs on the demo as it is" } else { "runs" };
    let said = format!(
        "{shown} is written. `qlua {shown}` {runs}, `qlua {shown} --help` lists its options; `qlua setup` makes editors know the API."
    );
    print(&(wrap(&said, width()).join("\n") + "\n"))
}

/// The file that `given` names, and the policy's name: the file's, without `.lua`.
fn named(given: &Path) -> Result<(PathBuf, String)> {
    let hint = "take letters, digits, `_` and `-`, such as `mine`: the names of schemes begin with it";
    let path = match given.extension() {
        Some(extension) if extension == "lua" => given.to_path_buf(),
        _ => {
            let mut file = given.as_os_str().to_os_string();
            file.push(".lua");
            PathBuf::from(file)
        }
    };
    let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default().to_string();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = given.file_name().is_some() && !name.starts_with(['.', '-']) && name.chars().all(fits);
    if !is_name || name.is_empty() || name.chars().count() > LONGEST_NAME {
        let given = shown::line(&given.display().to_string()).into_owned();
        return Err(Error::usage(format!("`{given}` cannot be the name of a policy")).with_hint(hint));
    }
    Ok((path, name))
}

/// Writes a script that can be run by its name, whole or not at all, and over nothing.
fn write(path: &Path, text: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let missing = format!("there is no directory `{}`", folder.display());
        return Err(Error::not_found(missing).with_hint("make it first, or leave it out of the name"));
    }
    let failed = |source| Error::io("write", path, source);
    let mut file = tempfile::Builder::new()
        .prefix(".qlua-new")
        .permissions(Permissions::from_mode(0o777))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(text).map_err(failed)?;
    file.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => Error::exists(path, "is there already, and is left as it is")
            .with_hint("choose another name; nothing was written"),
        _ => failed(error.error),
    })
}
