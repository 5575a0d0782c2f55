//! `qlua.log`: messages for people, on standard error.

use mlua::{Function as LuaFunction, IntoLua, MultiValue, Table};

use crate::lua::declare::{Function, Namespace};
use crate::lua::{Call, Type, Verbosity, log_file, output, verbosity};
use crate::shown;

const WARNING: &str = "warning: ";

pub(super) fn declare() -> Namespace {
    Namespace::new(
        "log",
        "Messages for people, on standard error, so that standard output stays for results. \
         With values after the message, it is a format as for `string.format`.",
    )
    .function(
        message("debug", "Says what helps to find a mistake; only with `qlua -v`.")
            .example("qlua.log.debug(\"%d groups\", 230)"),
        |call| say(call, "debug: ", Verbosity::Verbose),
    )
    .function(
        message("info", "Says what is going on; not with `qlua -q`.")
            .example("qlua.log.info(\"writing %s\", \"top10\")"),
        |call| say(call, "", Verbosity::Normal),
    )
    .function(
        message("warn", "Says what may be wrong.").example("qlua.log.warn(\"no layer matches the glob\")"),
        |call| say(call, WARNING, Verbosity::Quiet),
    )
}

/// Says what may be wrong, as `qlua.log.warn` does.
pub(super) fn warn(text: &str) {
    output::line_to_stderr(&format!("{WARNING}{}", shown::indented(text)));
}

fn message(name: &'static str, doc: &'static str) -> Function {
    Function::new(name, doc).param("message", Type::String, "the message, or a format").variadic(
        "...",
        Type::Any,
        "values for the format",
    )
}

/// Says what `text` gives, where `qlua -v` asked for what helps to find a mistake.
pub(super) fn debug(call: &Call, text: impl FnOnce() -> String) {
    output::debug(verbosity(call.lua()), text);
}

fn say(call: &Call, prefix: &str, least: Verbosity) -> anyhow::Result<()> {
    let is_said = verbosity(call.lua()) >= least;
    if !is_said && !log_file::is_kept() {
        return Ok(());
    }
    let mut text: String = call.get("message")?;
    if !call.rest().is_empty() {
        let format: LuaFunction = call.lua().globals().get::<Table>("string")?.get("format")?;
        let mut arguments: MultiValue = call.rest().iter().cloned().collect();
        arguments.push_front(text.into_lua(call.lua())?);
        text = format.call(arguments)?;
    }
    let line = format!("{prefix}{}", shown::indented(&text));
    match is_said {
        true => output::line_to_stderr(&line),
        false => log_file::write(&line),
    }
    Ok(())
}
