//! `qlua.export`: families of schemes, and directories put together tensor by tensor.

pub(super) mod family;
mod writer;

use serde::Serialize;

use crate::job::Written;
use crate::lua::declare::Namespace;
use crate::lua::{Key, Record, Type};

const WRITTEN: Record = Record {
    name: "Written",
    doc: "A directory that was written, or was there already.",
    keys: &[
        Key::new("name", Type::String, "the directory's name"),
        Key::new("directory", Type::Path, "the directory"),
        Key::new("bytes", Type::IntegerIn("bytes"), "sum of all tensor bytes"),
        Key::new("up_to_date", Type::Boolean, "whether it was there already, made from the same inputs"),
    ],
};

#[derive(Serialize)]
struct WrittenRow {
    name: String,
    directory: String,
    bytes: u64,
    up_to_date: bool,
}

impl From<Written> for WrittenRow {
    fn from(written: Written) -> Self {
        let Written { name, directory, bytes, up_to_date } = written;
        WrittenRow { name, directory: directory.display().to_string(), bytes, up_to_date }
    }
}

pub(super) fn declare() -> Namespace {
    let namespace = Namespace::new(
        "export",
        "Writes checkpoint directories: checked as every loader would, and whole or not at all.",
    );
    writer::declare(family::declare(namespace))
}

/// Threads when a script does not say: all cores.
fn threads(given: Option<usize>) -> usize {
    given.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}
