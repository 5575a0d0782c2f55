//! `qlua.cli`: the command line of a script, declared once.

mod declared;

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgMatches, Command};
use mlua::{Lua, Table, Value as LuaValue};

use crate::checkpoint::hub;
use crate::error::Error;
use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::{Call, Handle, ScriptStop, Tidy, Type, state};
use crate::options::{self, OptionValue, Parsed, ValueKind, width};
use crate::shown;
use declared::{Declared, LONGEST_NAME, OPTION};

/// The command line of one script.
struct Parser {
    name: String,
    command: Command,
    options: Vec<Declared>,
}

pub(super) fn declare() -> Namespace {
    Namespace::new("cli", "The command line of a script: declared once, then parsed, checked and explained by `--help`.")
        .function(
            Function::new("parser", "Declares what a script takes on its command line; `--help` is added.")
                .options(
                    Options::new()
                        .required("name", Type::String, "the script's name, as it is typed")
                        .option("about", Type::String, "what the script does, for `--help`")
                        .option("options", Type::List(&Type::Record(&OPTION)), "what is given as `--name VALUE`")
                        .option(
                            "arguments",
                            Type::List(&Type::Record(&OPTION)),
                            "what is given without dashes, in order",
                        ),
                )
                .returns(Type::Handle("Parser"), "the declared command line")
                .raises("the declaration contradicts itself")
                .example(
                    "local parser = qlua.cli.parser{\n  name = \"demo\",\n  options = {\n    \
                     { name = \"model\", metavar = \"DIR\", type = \"path\", doc = \"the base checkpoint\" },\n    \
                     { name = \"top\", type = \"percent list\", default = \"10..30:10\" },\n    \
                     { name = \"dry-run\", flag = true },\n  },\n}\n\
                     local opts = parser:parse{ \"--model=m\", \"--top\", \"5,12.5\" }\n\
                     assert(opts.model == \"m\" and opts.top[2] == 12.5 and opts.dry_run == false)",
                ),
            parser,
        )
        .class(
            Class::<Parser>::new("Parser", "A declared command line.")
                .field("name", Type::String, "the script's name", |this, _| Ok(this.name.clone()))
                .method(
                    Function::new(
                        "parse",
                        "Reads a command line: a plain table with a key per option (`dry-run` as `dry_run`). \
                         `--help` prints the help and ends the script with exit code 0.",
                    )
                    .optional("words", Type::List(&Type::String), "the words; without them, those of the global `arg`")
                    .returns(Type::Table, "the values; nil for what was left out and has no default")
                    .raises("the words are no such command line; uncaught, that is exit code 2")
                    .example(
                        "local parser = qlua.cli.parser{ name = \"demo\", arguments = { { name = \"file\" } } }\n\
                         assert(parser:parse{ \"a.json\" }.file == \"a.json\")\n\
                         local ok, problem = pcall(parser.parse, parser, { \"--fast\" })\n\
                         assert(not ok and problem.kind == \"usage\")",
                    ),
                    parse,
                )
                .method(
                    Function::new("help", "The text that `--help` prints.")
                        .returns(Type::String, "lines of text")
                        .example("assert(qlua.cli.parser{ name = \"demo\" }:help():find(\"Usage: qlua demo\"))"),
                    |this, _| {
                        let help = this.command.clone().term_width(width()).render_help().to_string();
                        Ok(shown::lines(&help).into_owned())
                    },
                ),
        )
}

fn parser(call: &Call) -> anyhow::Result<Handle<Parser>> {
    let list = |name: &str| -> anyhow::Result<Vec<Table>> {
        Ok(call.get::<Option<Vec<Table>>>(name)?.unwrap_or_default())
    };
    let mut options = Vec::new();
    for (is_argument, table) in list("options")?
        .into_iter()
        .map(|table| (false, table))
        .chain(list("arguments")?.into_iter().map(|table| (true, table)))
    {
        options.push(Declared::read(call, &table, is_argument)?);
    }
    declared::check(&options).map_err(|problem| Error::argument(format!("{}: {problem}", call.name())))?;
    let name: String = call.get("name")?;
    if name.chars().count() > LONGEST_NAME {
        return Err(call.refuse("name", format!("must have at most {LONGEST_NAME} characters")));
    }
    let mut command = Command::new(name.clone())
        .bin_name(format!("qlua {name}"))
        .disable_version_flag(true)
        .args(options.iter().map(Declared::argument));
    if let Some(about) = call.get::<Option<String>>("about")? {
        command = command.about(about);
    }
    Ok(Handle(Parser { name, command, options }))
}

fn parse(this: &Parser, call: &Call) -> anyhow::Result<Table> {
    if state::is_declaring(call.lua()) {
        state::declare(call.lua(), this.command.clone());
        return Err(call.stop(ScriptStop::Exit(0)));
    }
    let words: Vec<String> = match call.get("words")? {
        Some(words) => words,
        None => script_arguments(call.lua())?,
    };
    match options::parse(this.command.clone(), words.into_iter().map(OsString::from))? {
        Parsed::Text(help) => {
            call.write_stdout(&shown::lines(&help))?;
            Err(call.stop(ScriptStop::Exit(0)))
        }
        Parsed::Values(mut values) => {
            let result = call.lua().create_table()?;
            for option in &this.options {
                result.raw_set(option.key(), value(call.lua(), option, &mut values)?)?;
            }
            Ok(result)
        }
    }
}

/// What was given for `option`; a flag is true or false, what may be repeated is a list.
fn value(lua: &Lua, option: &Declared, values: &mut ArgMatches) -> anyhow::Result<LuaValue> {
    let key = option.key();
    if option.is_flag() {
        return Ok(LuaValue::Boolean(values.get_flag(&key)));
    }
    let mut given: Vec<OptionValue> = values.remove_many(&key).into_iter().flatten().collect();
    if let (true, Some(kind)) = (state::is_sandbox(lua), &option.kind) {
        given.iter().try_for_each(|value| allow(lua, option, kind, value))?;
    }
    Ok(match option.repeated {
        true => to_lua(lua, OptionValue::List(given))?,
        false => given.pop().map_or(Ok(LuaValue::Nil), |value| to_lua(lua, value))?,
    })
}

/// Fails unless a sandbox may use the paths in `value`, which `option` was given; then they are looked at.
fn allow(lua: &Lua, option: &Declared, kind: &ValueKind, value: &OptionValue) -> anyhow::Result<()> {
    match (kind, value) {
        (ValueKind::List(item), OptionValue::List(values)) => {
            values.iter().try_for_each(|value| allow(lua, option, item, value))
        }
        (kind, OptionValue::Text(path)) if kind.is_path() => {
            let said = |error: Error| {
                let with_hint = |e: Error| match error.hint() {
                    Some(hint) => e.with_hint(hint),
                    None => e,
                };
                with_hint(Error::usage(format!("`{}`: {error}", option.shown())))
            };
            // The name of a model is allowed by where that lies.
            let place = match kind {
                ValueKind::Checkpoint => hub::reads(Path::new(path)),
                _ => path.into(),
            };
            state::allow_path(lua, |roots| roots.allow_any(&place)).map_err(said)?;
            kind.parse(path).map_err(|error| {
                let hint = error.hint();
                let error = Error::usage(format!("`{}` {error}", option.shown()));
                if let Some(hint) = hint { error.with_hint(hint) } else { error }
            })?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn script_arguments(lua: &Lua) -> anyhow::Result<Vec<String>> {
    match lua.globals().raw_get("arg")? {
        LuaValue::Table(arg) => arg
            .sequence_values::<String>()
            .enumerate()
            .map(|(i, word)| {
                word.map_err(|_| Error::usage(format!("argument {} is not valid UTF-8", i + 1)).into())
            })
            .collect(),
        _ => Ok(Vec::new()),
    }
}

fn to_lua(lua: &Lua, value: OptionValue) -> mlua::Result<LuaValue> {
    use mlua::IntoLua;
    match value {
        OptionValue::Text(text) => text.into_lua(lua),
        OptionValue::Integer(i) => Ok(LuaValue::Integer(i)),
        OptionValue::Number(x) => Tidy(x).into_lua(lua),
        OptionValue::List(items) => {
            let items: Vec<LuaValue> =
                items.into_iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<_>>()?;
            items.into_lua(lua)
        }
    }
}
