//! `qlua setup`: a folder in which lua-language-server knows the Lua API.

mod comments;
mod configuration;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::print;
use super::folders;
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::lua::{api, docs, embedded};
use crate::shown;
use configuration::Configuration;

/// What lua-language-server reads in a folder, and what it reads when comments are to be allowed in it.
const FILE: &str = ".luarc.json";
const WITH_COMMENTS: &str = ".luarc.jsonc";

pub(super) fn declare(command: Command) -> Command {
    command
        .arg(
            Arg::new("directory")
                .value_name("DIR")
                .value_hint(ValueHint::DirPath)
                .value_parser(value_parser!(PathBuf))
                .default_value(".")
                .help("The folder of your policies"),
        )
        .after_help(
            "The declarations of the API are written to $XDG_DATA_HOME/qlua/library, by default ~/.local/share/qlua/library. \
             What a .luarc.json that is there says stays. After an upgrade of qlua, run this once more, in any folder: \
             the declarations stay those of the version that wrote them.",
        )
}

pub(super) fn setup(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let directory = values.remove_one::<PathBuf>("directory").unwrap_or_default();
    if !directory.is_dir() {
        return Err(Error::not_found(format!("there is no directory `{}`", directory.display()))
            .with_hint("name the folder of your policies, or leave it out for the current one")
            .into());
    }
    let library = folders::data()?.join("library");
    let Some(library_name) = library.to_str() else {
        return Err(Error::refused(format!(
            "the path `{}` is not valid UTF-8, which JSON needs",
            library.display()
        ))
        .into());
    };
    let path = place(&directory);
    let by_hand = || {
        format!(
            "add this by hand: \"runtime.version\": \"Lua 5.4\", \"workspace.library\": [{}]",
            serde_json::json!(library_name)
        )
    };
    // What cannot be read is refused before anything is written.
    let mut configuration = read(&path, by_hand)?;
    let notes = configuration.know(library_name)?;
    let installed = install(&library)?;
    if configuration.has_comments() && configuration.is_changed() {
        return Err(Error::exists(path, "has comments, which would be lost").with_hint(by_hand()).into());
    }
    let shown = |path: &Path| shown::line(&path.display().to_string()).into_owned();
    let mut said = match installed {
        0 => format!("{}: up to date\n", shown(&library)),
        _ => format!("{}: the declarations of qlua {}\n", shown(&library), env!("CARGO_PKG_VERSION")),
    };
    if configuration.is_changed() {
        replace(&path, &configuration.text())?;
        said += &format!("{}: lua-language-server reads them, as Lua 5.4\n", shown(&path));
    } else {
        said += &format!("{}: says all that is needed already\n", shown(&path));
    }
    for note in notes {
        said += &format!("note: {note}\n");
    }
    print(&said)
}

/// The file that lua-language-server reads in `directory`, or will: of both, the one without comments.
fn place(directory: &Path) -> PathBuf {
    let is_there = |name: &&str| fs::symlink_metadata(directory.join(name)).is_ok();
    directory.join([FILE, WITH_COMMENTS].into_iter().find(is_there).unwrap_or(FILE))
}

/// The configuration at `path`; an empty one where there is none.
fn read(path: &Path, by_hand: impl FnOnce() -> String) -> Result<Configuration> {
    let text = match input::read(path, InputKind::Configuration) {
        Err(error) if input::is_missing(&error) => return Ok(Configuration::default()),
        read => read?,
    };
    Configuration::parse(&text).map_err(|problem| {
        Error::format(path, format!("{problem}, and is left as it is")).with_hint(by_hand())
    })
}

/// Writes the declarations and the modules that policies require, and gives how many of these files were not there as they are.
fn install(library: &Path) -> Result<usize> {
    let mut files = vec![("qlua.lua".to_string(), docs::annotations(&api::declarations()))];
    files.extend(embedded::modules().filter_map(|name| {
        let module = embedded::module(&name)?;
        Some((format!("{}.lua", name.replace('.', "/")), module.source.to_string()))
    }));
    let mut written = 0;
    for (name, text) in files {
        let path = library.join(name);
        if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        let folder = path.parent().unwrap_or(library);
        fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        replace(&path, text.as_bytes())?;
        written += 1;
    }
    Ok(written)
}

/// Writes `text` to `path`, whole or not at all; where `path` is a link, to the file that it leads to.
fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let failed = |source| Error::io("write", &path, source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = fs::metadata(&path).map_or(0o666, |there| {
        use std::os::unix::fs::PermissionsExt as _;
        there.permissions().mode()
    });
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    let mut builder = tempfile::Builder::new();
    let mut file =
        builder.prefix(".qlua-setup").permissions(permissions).tempfile_in(folder).map_err(failed)?;
    file.write_all(text).map_err(failed)?;
    file.persist(&path).map(drop).map_err(|error| failed(error.error))
}
