//! `qlua.verify`: checks of any directory.

use std::path::Path;

use serde::Serialize;

use crate::lua::declare::{Function, Namespace, Options};
use crate::lua::{Key, Plain, Record, Type};
use crate::verify::{Code, Depth, verify};

const PROBLEM: Record = Record {
    name: "Problem",
    doc: "Something that a loader rejects, or accepts and gets wrong.",
    keys: &[
        Key::new("code", Type::String, "the broken rule, a stable word; see `qlua.verify.codes`"),
        Key::new("subject", Type::String, "the file, module or tensor at fault"),
        Key::new("message", Type::String, "one sentence that says what is wrong"),
    ],
};

#[derive(Serialize)]
struct Row {
    code: &'static str,
    subject: String,
    message: String,
}

pub(super) fn declare() -> Namespace {
    Namespace::new("verify", "Checks of checkpoint directories against what loaders really accept.")
        .constant("codes", Type::List(&Type::String), "every rule that is checked", |_| {
            Ok(Code::WORDS.to_vec())
        })
        .function(
            Function::new("directory", "Checks a checkpoint directory of any origin.")
                .param("path", Type::Path, "the directory")
                .options(Options::new().default(
                    "depth",
                    Type::Choice(Depth::WORDS),
                    "full",
                    "`headers` takes milliseconds; `full` reads every FP8 code as well",
                ))
                .returns(Type::List(&Type::Record(&PROBLEM)), "what is wrong, in a fixed order; empty when nothing is")
                .raises("there is no such directory, or it cannot be read")
                .example("local demo = qlua.checkpoint.demo(\"demo\")\nassert(#qlua.verify.directory(demo.model) == 0)"),
            |call| {
                let problems = verify(Path::new(&call.get::<String>("path")?), call.word("depth")?)?;
                let row = |p: crate::verify::Problem| Row { code: p.code.word(), subject: p.subject, message: p.message };
                Ok(Plain(problems.into_iter().map(row).collect::<Vec<_>>()))
            },
        )
}
