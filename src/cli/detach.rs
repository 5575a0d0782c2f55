//! `qlua detach`: files that a directory shares with others become its own.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use super::listing::texts;
use super::print;
use crate::export::detach as detach_directory;
use crate::lua::Verbosity;
use crate::options::{Command, Kind, Parameter, Parsed, Value};
use crate::report::bytes;

pub(super) fn detach(words: &[OsString], _: Verbosity) -> anyhow::Result<u8> {
    let command = Command {
        name: "qlua detach".into(),
        about: "Gives directories copies of their own of the weight files that they share with other schemes, so that they can \
                be changed or moved to another file system."
            .into(),
        options: vec![],
        arguments: vec![Parameter {
            required: true,
            repeated: true,
            ..Parameter::new("dir", Kind::Text, "a checkpoint directory")
        }],
    };
    let values = match command.parse(&texts(words)?)? {
        Parsed::Help => return print(&command.help()),
        Parsed::Values(values) => values,
    };
    let mut text = String::new();
    for value in values.into_iter().flat_map(|(_, value)| match value {
        Value::List(list) => list,
        other => vec![other],
    }) {
        let Value::Text(directory) = value else { continue };
        let detached = detach_directory(Path::new(&directory))?;
        let _ = match detached.files {
            0 => writeln!(text, "{directory}: shares no file"),
            1 => writeln!(text, "{directory}: 1 file is its own now, {}", bytes(detached.bytes)),
            n => writeln!(text, "{directory}: {n} files are its own now, {}", bytes(detached.bytes)),
        };
    }
    print(&text)
}
