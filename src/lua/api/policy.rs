//! `qlua.policy`: selections by files that somebody else wrote.

use std::path::PathBuf;

use mlua::{IntoLua, Table, Value};

use super::json::encode::text_of;
use super::manifest::named_groups;
use crate::input::{self, InputKind};
use crate::lua::declare::{Class, Function, Namespace, Options, PathUse};
use crate::lua::failure::Failure;
use crate::lua::policy_process::{PolicyAnswer, PolicyChoice, PolicyRequest, ask, source_text};
use crate::lua::rows::rows;
use crate::lua::sandbox::Limits;
use crate::lua::{Call, Handle, Type, raise, state};
use crate::manifest::{Ranking, Selection};
use crate::selector::Globs;

/// A policy that was read.
struct Policy {
    path: PathBuf,
    source: String,
    memory: usize,
    seconds: f64,
}

/// An example that begins with a policy and a ranking.
macro_rules! with_policy {
    ($rest:literal $(,)?) => {
        concat!(
            "qlua.fs.write(\"early.lua\", [[\n\
             return function(groups, options)\n  \
             return function(group) return group.block and group.block < options.blocks end\n\
             end]])\n\
             local policy = qlua.policy.load(\"early.lua\")\n\
             local ranking = qlua.manifest.open(qlua.checkpoint.demo(\"demo\").manifest):ranking()\n",
            $rest
        )
    };
}

pub(super) fn declare() -> Namespace {
    Namespace::new(
        "policy",
        "Selections by files that somebody else wrote. Such a file is a text chunk that returns a function of the ranked groups and \
         of options; it sees plain data and pure functions (`qlua.sorted`, `qlua.json`, `qlua.fp8`, `qlua.report` as far as they \
         take no files and no weights), and reaches no file.",
    )
    .function(
        Function::new("load", "Reads a policy. It runs when it is asked, each time in a process of its own that is killed when its time is over.")
            .param("path", Type::Path, "a file of Lua text: `return function(groups, options) … end`")
            .used_for(PathUse::Read)
            .options(
                Options::new()
                    .default("memory", Type::IntegerIn("bytes"), Limits::POLICY.memory as i64, "the most memory that Lua takes for it")
                    .default("seconds", Type::NumberIn("s"), 10.0, "the longest that it may take"),
            )
            .returns(Type::Handle("Policy"), "the policy")
            .raises("the file cannot be read")
            .raises("`memory` is below 1 MiB, or `seconds` not above 0 and at most 86400")
            .example(with_policy!("assert(policy.path == \"early.lua\")")),
        load,
    )
    .class(
        Class::<Policy>::new("Policy", "A policy that somebody else wrote.")
            .text(|this| format!("Policy({})", this.path.display()))
            .field("path", Type::Path, "where it was read from", |this, _| Ok(this.path.display().to_string()))
            .method(
                Function::new(
                    "select",
                    "Asks the policy. Its function gets the ranked groups in order, each a `Group`, and the options; it gives a \
                     glob, a list of names or globs, a list of groups, or a predicate of groups.",
                )
                .param("ranking", Type::Handle("Ranking"), "the groups to choose from")
                .optional("options", Type::Table, "what it is told: anything that JSON can hold")
                .returns(Type::Handle("Selection"), "the selection; it may be empty")
                .raises("the policy raises, or uses up its time or memory")
                .raises("it chooses what is not ranked")
                .example(with_policy!(
                    "local selection = policy:select(ranking, { blocks = 1 })\n\
                     assert(#selection > 0 and #selection < #ranking)"
                )),
                select,
            ),
    )
}

fn load(call: &Call) -> anyhow::Result<Handle<Policy>> {
    let path: PathBuf = call.get("path")?;
    let memory: i64 = call.get("memory")?;
    let memory = usize::try_from(memory).ok().filter(|memory| *memory >= 1 << 20);
    let memory = memory.ok_or_else(|| call.refuse("memory", "must be at least 1048576, 1 MiB"))?;
    let seconds: f64 = call.get("seconds")?;
    if !(seconds > 0.0 && seconds <= 86_400.0) {
        return Err(call.refuse("seconds", "must be above 0 and at most 86400"));
    }
    let source = source_text(&input::read(&path, InputKind::Script)?);
    Ok(Handle(Policy { path, source, memory, seconds }))
}

fn select(this: &Policy, call: &Call) -> anyhow::Result<Handle<Selection>> {
    let ranking = call.handle::<Ranking>("ranking")?;
    let options = match call.get::<Option<Table>>("options")? {
        Some(options) => text_of(call, "options", &Value::Table(options))?,
        None => "{}".into(),
    };
    let groups = rows(call.lua(), ranking.groups())?.into_lua(call.lua())?;
    // A policy has no more than whoever asks it.
    let own = state::with(call.lua(), |state| state.limits);
    let request = PolicyRequest {
        name: format!("@{}", this.path.display()),
        source: this.source.clone(),
        groups: text_of(call, "ranking", &groups)?,
        options,
        memory: this.memory.min(own.memory),
        seconds: this.seconds.min(own.time.map_or(f64::INFINITY, |time| time.as_secs_f64())),
        instructions: [Limits::POLICY.instructions, own.instructions]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(u64::MAX),
    };
    match ask(&request)? {
        PolicyAnswer::Chosen(choice) => {
            let selection = match choice {
                PolicyChoice::Globs(globs) => {
                    Globs::new(globs).and_then(|globs| ranking.named(&globs)).map_err(anyhow::Error::from)
                }
                PolicyChoice::Names(names) => named_groups(&ranking, &names).map_err(anyhow::Error::from),
            };
            // What is wrong with the choice is the policy's mistake, not that of the call.
            selection.map(Handle).map_err(|error| {
                let Failure { message, hint, .. } = Failure::of(&error);
                raise::failed(call.lua(), "policy", &message, hint, Vec::new())
            })
        }
        PolicyAnswer::Failed { kind, message, hint, at } => {
            let (kind, hint) = match kind.as_str() {
                "limit" => (
                    "limit",
                    Some("the options `seconds` and `memory` of qlua.policy.load allow more".into()),
                ),
                // Scripts raise kinds of their own, so there is no list of them. Exit codes go by kinds, and are not the policy's
                // to choose.
                _ => ("policy", hint),
            };
            Err(raise::failed(call.lua(), kind, &message, hint, at))
        }
    }
}
