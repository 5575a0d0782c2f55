//! `qlua.export`: families of schemes, and directories put together tensor by tensor.

pub(super) mod family;
mod family_options;
mod writer;

use std::path::Path;

use crate::dialect::{DialectChoice, DialectId};
use crate::error::Error;
use crate::job::{Written, refresh_card};
use crate::lua::declare::{Function, Namespace, PathUse};
use crate::lua::rows::row;
use crate::lua::{Call, Type};
use crate::plan::ActivationsChoice;
use crate::report::bytes;
use crate::write::{Amended, LEAST_SHARD_SIZE};

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
    writer::declare(family::declare(namespace)).function(
        Function::new(
            "require_activations",
            "Makes sure that a dialect can have these activations, whatever is exported: what a policy asks before it builds anything.",
        )
        .param("dialect", Type::Choice(DialectChoice::WORDS), "the dialect; `auto` can have both")
        .param("activations", Type::Choice(ActivationsChoice::WORDS), "the activations; `auto` are what the dialect has")
        .raises("the dialect has others")
        .example("assert(not pcall(qlua.export.require_activations, \"fp8-block\", \"static\"))"),
        |call| {
            let (dialect, activations) = (call.word("dialect")?, call.word("activations")?);
            if let (DialectChoice::Named(dialect), ActivationsChoice::Named(activations)) = (dialect, activations) {
                DialectId::dialect(dialect).require_activations(activations)?;
            }
            Ok(())
        },
    )
    .function(
        Function::new(
            "refresh_card",
            "Has the model card of a scheme say what was measured of it, by the `quality.json` beside the directory; the record of the \
             scheme gets the card's new hash. A card that is not as qlua wrote it stays as it is.",
        )
        .param("path", Type::Path, "the directory of the scheme")
        .used_for(PathUse::WriteInside)
        .returns(
            Type::String,
            "`written`; `same` where there is nothing to change; `changed` where somebody has changed the card, and it stays so; \
             `absent` where the scheme has no card of qlua's",
        )
        .raises("another process writes to the directory, or it cannot be written to")
        .example(
            "local demo = qlua.checkpoint.demo(\"demo\")\nassert(qlua.export.refresh_card(demo.model) == \"absent\")",
        ),
        |call| {
            Ok(match refresh_card(Path::new(&call.get::<String>("path")?))? {
                Amended::Written => "written",
                Amended::Same => "same",
                Amended::Changed => "changed",
                Amended::Absent => "absent",
            })
        },
    )
}

/// The most bytes that file systems take for one name.
const LONGEST_FILE_NAME: usize = 255;

/// The parameter `name`, which a file or directory is to have.
fn file_name(call: &Call) -> anyhow::Result<String> {
    let name: String = call.get("name")?;
    if name.contains('\0') || name.len() > LONGEST_FILE_NAME {
        let problem = format!("must have at most {LONGEST_FILE_NAME} bytes, none of them zero");
        return Err(call.refuse("name", problem));
    }
    if name.starts_with(".qlua-") {
        return Err(call.refuse("name", "must not begin with `.qlua-`: qlua's own files are called so"));
    }
    Ok(name)
}

/// The option `max_shard_size`.
fn max_shard_size(call: &Call) -> anyhow::Result<u64> {
    let given: i64 = call.get("max_shard_size")?;
    u64::try_from(given).ok().filter(|size| *size >= LEAST_SHARD_SIZE).ok_or_else(|| {
        let problem =
            format!("`max_shard_size` of {} is {given} bytes, which no shard can keep to", call.name());
        let hint = format!("the least is {LEAST_SHARD_SIZE}, {}", bytes(LEAST_SHARD_SIZE));
        Error::usage(problem).with_hint(hint).into()
    })
}
