//! The options of a family: how they are declared, and what a script gave.

use std::path::PathBuf;
use std::sync::Arc;

use mlua::{Lua, Table, Value};

use super::super::threads::{BOUNDED, threads};
use super::max_shard_size;
use crate::dialect::{DialectChoice, Engine};
use crate::format::Rounding;
use crate::job::FamilyOptions;
use crate::lua::declare::{Options, PathUse};
use crate::lua::{Call, Type, policy};
use crate::manifest::Manifest;
use crate::plan::{ActivationsChoice, ScaleSharing};
use crate::write::{DEFAULT_SHARD_SIZE, LinkChoice, Request};

/// The options, as they are declared.
pub(super) fn options() -> Options {
    Options::new()
        .option("model", Type::Path, "the base checkpoint; without one the family is planned from the manifest alone, and cannot be written")
        .used_for(PathUse::ReadTree)
        .required(
            "manifest",
            Type::Union(&[Type::Path, Type::Handle("Manifest")]),
            "the sensitivity manifest, or where it is",
        )
        .used_for(PathUse::Read)
        .default("out", Type::Path, "quantized", "where the scheme directories go")
        .used_for(PathUse::WriteInside)
        .option("baseline", Type::Path, "an FP8 baseline whose `input_scale` tensors are used")
        .used_for(PathUse::ReadTree)
        .described(
            "amax",
            Type::Path,
            "the manifest's own `amax`, where it has one",
            "a JSON file of amax values that input scales are made from",
        )
        .used_for(PathUse::Read)
        .option("state", Type::Path, "an AutoQuant state that is copied into every directory as it is")
        .used_for(PathUse::Read)
        .default(
            "dialect",
            Type::Choice(DialectChoice::WORDS),
            "auto",
            DialectChoice::AUTO_IN_WORDS,
        )
        .option(
            "for_engines",
            Type::List(&Type::Choice(Engine::WORDS)),
            "engines that have to read every scheme: what one of them gets wrong is refused before anything is written",
        )
        .option(
            "format_from",
            Type::String,
            "the format whose scores and costs decide, by the beginning of its name in the manifest, although another one is written",
        )
        .default(
            "activations",
            Type::Choice(ActivationsChoice::WORDS),
            "auto",
            "`auto` is static when every selected layer has an input scale",
        )
        .default(
            "rounding",
            Type::Choice(Rounding::WORDS),
            "exact",
            "the F32 quotient, or the BF16 quotient as ModelOpt has it on the CPU",
        )
        .default(
            "scale_sharing",
            Type::Choice(ScaleSharing::WORDS),
            "group",
            "whether fused modules share the scale of their largest amax",
        )
        .default("overwrite", Type::Boolean, false, "whether existing scheme directories are replaced, up to date or not, unless they are links to some; what qlua did not write, or was changed since, is moved to `NAME.kept` beside them")
        .default("card", Type::Boolean, true, "whether every directory has a model card for the Hugging Face Hub, `README.md`, in the place of that of the base checkpoint")
        .default(
            "link",
            Type::Choice(LinkChoice::WORDS),
            "auto",
            "how schemes share files: `auto` is the first of reflink, hardlink and copy that the file system can do",
        )
        .default(
            "max_shard_size",
            Type::IntegerIn("bytes"),
            DEFAULT_SHARD_SIZE as i64,
            "tensor bytes that a shard holds at most; 100000 is the least",
        )
        .described("threads", Type::Integer, "all cores", BOUNDED)
        .default(
            "device",
            Type::String,
            "auto",
            "`cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; weight files are the same bytes, error sums equal to 1e-6",
        )
}

/// The manifest, where it was given as a handle.
pub(super) fn manifest(call: &Call) -> anyhow::Result<Option<Arc<Manifest>>> {
    match call.get::<Value>("manifest")? {
        Value::UserData(handle) => Ok(Some(handle.borrow::<Arc<Manifest>>()?.clone())),
        _ => Ok(None),
    }
}

/// The options, as a script gave them.
pub(super) fn family_options(call: &Call, manifest: PathBuf) -> anyhow::Result<FamilyOptions> {
    let path = |name: &str| -> anyhow::Result<Option<PathBuf>> {
        Ok(call.get::<Option<String>>(name)?.map(PathBuf::from))
    };
    let engines: Vec<String> = call.get::<Option<_>>("for_engines")?.unwrap_or_default();
    Ok(FamilyOptions {
        for_engines: engines.iter().map(|word| word.parse::<Engine>()).collect::<Result<_, _>>()?,
        model: path("model")?,
        manifest,
        out: call.get::<String>("out")?.into(),
        baseline: path("baseline")?,
        amax: path("amax")?,
        state: path("state")?,
        dialect: call.word("dialect")?,
        format_from: call.get("format_from")?,
        activations: call.word("activations")?,
        rounding: call.word("rounding")?,
        scale_sharing: call.word("scale_sharing")?,
        overwrite: call.get("overwrite")?,
        card: call.get("card")?,
        link: call.word("link")?,
        max_shard_size: max_shard_size(call)?,
        threads: threads(call)?,
        device: call.word("device")?,
        request: Request { command: command_line(call.lua())?, policy: policy(call.lua()) },
    })
}

/// The global `arg`, from its lowest index on: the command line as it was typed.
fn command_line(lua: &Lua) -> anyhow::Result<Vec<String>> {
    let Value::Table(arg) = lua.globals().raw_get("arg")? else { return Ok(vec![]) };
    let arg: Table = arg;
    let mut words: Vec<(i64, String)> = Vec::new();
    for pair in arg.pairs::<Value, Value>() {
        // Whatever else a script puts there is no word of the command line.
        if let (Value::Integer(i), Value::String(word)) = pair? {
            words.push((i, word.to_string_lossy()));
        }
    }
    words.sort();
    Ok(words.into_iter().map(|(_, word)| word).collect())
}
