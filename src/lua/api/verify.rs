//! `qlua.verify`: checks of any directory.

use std::path::{Path, PathBuf};

use crate::lua::Type;
use crate::lua::declare::{Function, Namespace, Options, PathUse};
use crate::lua::rows::{row, rows};
use crate::verify::{Code, Depth, Problem, VerifyOptions, open_base, verify_with};

row! {
    /// Something that a loader rejects, or accepts and gets wrong.
    const PROBLEM = "Problem" for |problem: &Problem| {
        /// the broken rule, a stable word; see `qlua.verify.codes`
        code: Type::String => problem.code.word(),
        /// the file, module or tensor at fault
        subject: Type::String => problem.subject.as_str(),
        /// one sentence that says what is wrong
        message: Type::String => problem.message.as_str(),
        /// what to do about it
        hint: Type::String => problem.code.hint(),
    }
}

pub(super) fn declare() -> Namespace {
    Namespace::new("verify", "Checks of checkpoint directories against what loaders really accept.")
        .constant("codes", Type::List(&Type::String), "every rule that is checked", |_| {
            Ok(Code::WORDS.to_vec())
        })
        .function(
            Function::new("directory", "Checks a checkpoint directory of any origin.")
                .param("path", Type::Path, "the directory")
                .used_for(PathUse::ReadTree)
                .long()
                .options(Options::new().default(
                    "depth",
                    Type::Choice(Depth::WORDS),
                    "full",
                    "`headers` takes milliseconds; `full` reads every file, compares hashes with those on record, and looks at every weight",
                ).option(
                    "base",
                    Type::Path,
                    "the checkpoint that it was made from: what is not quantised must be the same bit for bit, codes the exact encoding",
                ).used_for(PathUse::ReadTree))
                .returns(Type::List(&Type::Record(&PROBLEM)), "what is wrong, in a fixed order; empty when nothing is. Rows of the code `not_checked` say what the checks know nothing of")
                .raises("there is no such directory, or it cannot be read")
                .example("local demo = qlua.checkpoint.demo(\"demo\")\nassert(#qlua.verify.directory(demo.model) == 0)"),
            |call| {
                let base = call.get::<Option<PathBuf>>("base")?.map(|base| open_base(&base)).transpose()?;
                let options = VerifyOptions { depth: call.word("depth")?, base: base.as_ref() };
                let verified = verify_with(Path::new(&call.get::<String>("path")?), &options)?;
                rows(call.lua(), &verified.problems)
            },
        )
}
