//! `qlua.export`: families of schemes, and directories put together tensor by tensor.

pub(super) mod family;
mod writer;

use crate::job::Written;
use crate::lua::Type;
use crate::lua::declare::Namespace;
use crate::lua::rows::row;

row! {
    /// A directory that was written, or was there already.
    const WRITTEN = "Written" for |written: &Written| {
        /// the directory's name
        name: Type::String => written.name.as_str(),
        /// the directory
        directory: Type::Path => written.directory.display().to_string(),
        /// sum of all tensor bytes
        bytes: Type::IntegerIn("bytes") => written.bytes,
        /// whether it was there already, made from the same inputs
        up_to_date: Type::Boolean => written.up_to_date,
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
