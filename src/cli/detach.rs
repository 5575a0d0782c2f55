//! `qlua detach`: files that a directory shares with others become its own.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use super::listing::texts;
use super::{directories, print};
use crate::lua::Verbosity;
use crate::options::{Command, Parsed};
use crate::report::bytes;
use crate::write::detach as detach_directory;

pub(super) fn detach(words: &[OsString], _: Verbosity) -> anyhow::Result<u8> {
    let command = Command {
        name: "qlua detach".into(),
        about: "Gives directories copies of their own of the weight files that they share with other schemes, so that they can \
                be changed or moved to another file system."
            .into(),
        options: vec![],
        arguments: vec![directories::parameter()],
    };
    let values = match command.parse(&texts(words)?)? {
        Parsed::Help => return print(&command.help()),
        Parsed::Values(values) => values,
    };
    let mut text = String::new();
    for directory in directories::of(&values) {
        let detached = detach_directory(Path::new(directory))?;
        let _ = match detached.files {
            0 => writeln!(text, "{directory}: shares no file"),
            1 => writeln!(text, "{directory}: 1 file is its own now, {}", bytes(detached.bytes)),
            n => writeln!(text, "{directory}: {n} files are its own now, {}", bytes(detached.bytes)),
        };
    }
    print(&text)
}
