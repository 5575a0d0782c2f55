//! `qlua.cli`: the command line of a script, declared once.

use mlua::{Lua, Table, Value as LuaValue};

use crate::error::Error;
use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::types::describe;
use crate::lua::{Call, Handle, Key, Record, Stop, Tidy, Type};
use crate::options::{Command, Kind, Parameter, Parsed, Value};

const KINDS: &[&str] = &[
    "string",
    "path",
    "glob",
    "integer",
    "number",
    "percent",
    "size",
    "string list",
    "path list",
    "glob list",
    "integer list",
    "number list",
    "percent list",
    "size list",
];

const OPTION: Record = Record {
    name: "CliOption",
    doc: "An option (`--name VALUE`) or argument of a script.",
    keys: &[
        Key::new(
            "name",
            Type::String,
            "the name without dashes: `dry-run`; its key in the result is `dry_run`",
        ),
        Key::optional("doc", Type::String, "what it means, for `--help`"),
        Key::optional(
            "type",
            Type::Choice(KINDS),
            "what the value must be (default: `\"string\"`); a `percent list` is `10,20,12.5` or `10..100:10`, \
             a `size` is `6GiB` or `5.5GB` and comes as bytes",
        ),
        Key::optional("choices", Type::List(&Type::String), "the words that the value may be"),
        Key::optional("flag", Type::Boolean, "takes no value; false in the result when it is not there"),
        Key::optional(
            "default",
            Type::Union(&[Type::String, Type::Number, Type::List(&Type::Number)]),
            "what is parsed when it is left out",
        ),
        Key::optional("metavar", Type::String, "what stands for the value in `--help`: `DIR`"),
        Key::optional("required", Type::Boolean, "must be given"),
        Key::optional("repeated", Type::Boolean, "may be given several times; the result is a list"),
    ],
};

struct Parser {
    command: Command,
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
                .field("name", Type::String, "the script's name", |this, _| Ok(this.command.name.clone()))
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
                        .example("assert(qlua.cli.parser{ name = \"demo\" }:help():find(\"usage: demo\"))"),
                    |this, _| Ok(this.command.help()),
                ),
        )
}

fn parser(call: &Call) -> anyhow::Result<Handle<Parser>> {
    let list = |name: &str| -> anyhow::Result<Vec<Parameter>> {
        let tables: Option<Vec<Table>> = call.get(name)?;
        tables.unwrap_or_default().iter().map(|table| parameter(call, table)).collect()
    };
    let command = Command {
        name: call.get("name")?,
        about: call.get::<Option<String>>("about")?.unwrap_or_default(),
        options: list("options")?,
        arguments: list("arguments")?,
    };
    command.check().map_err(|problem| Error::argument(format!("{}: {problem}", call.name())))?;
    Ok(Handle(Parser { command }))
}

fn parameter(call: &Call, table: &Table) -> anyhow::Result<Parameter> {
    let name: String = table.raw_get("name")?;
    let fail = |problem: &str| Error::argument(format!("{}: the option `{name}` {problem}", call.name()));
    let choices: Option<Vec<String>> = table.raw_get("choices")?;
    let ty: Option<String> = table.raw_get("type")?;
    let flag = table.raw_get::<Option<bool>>("flag")?.unwrap_or(false);
    let kind = match (flag, choices, ty) {
        (true, None, None) => Kind::Flag,
        (false, Some(choices), None) => Kind::Choice(choices),
        (false, None, ty) => kind(ty.as_deref().unwrap_or("string")),
        _ => return Err(fail("can have only one of `flag`, `choices` and `type`").into()),
    };
    let mut parameter =
        Parameter::new(&name, kind, table.raw_get::<Option<String>>("doc")?.unwrap_or_default());
    if let Some(metavar) = table.raw_get::<Option<String>>("metavar")? {
        parameter.metavar = metavar;
    }
    parameter.default = default_text(&table.raw_get("default")?)?;
    parameter.required = table.raw_get::<Option<bool>>("required")?.unwrap_or(false);
    parameter.repeated = table.raw_get::<Option<bool>>("repeated")?.unwrap_or(false);
    Ok(parameter)
}

fn kind(name: &str) -> Kind {
    match name.strip_suffix(" list") {
        Some(item) => Kind::List(Box::new(kind(item))),
        None => match name {
            "path" => Kind::Path,
            "glob" => Kind::Glob,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "percent" => Kind::Percent,
            "size" => Kind::Size,
            _ => Kind::Text,
        },
    }
}

fn default_text(value: &LuaValue) -> anyhow::Result<Option<String>> {
    Ok(match value {
        LuaValue::Nil => None,
        LuaValue::String(text) => Some(text.to_string_lossy()),
        LuaValue::Table(list) => {
            let items: Vec<f64> = list.sequence_values().collect::<mlua::Result<_>>()?;
            Some(items.iter().map(f64::to_string).collect::<Vec<_>>().join(","))
        }
        other => Some(describe(other)),
    })
}

fn parse(this: &Parser, call: &Call) -> anyhow::Result<Table> {
    let words: Vec<String> = match call.get("words")? {
        Some(words) => words,
        None => script_arguments(call.lua())?,
    };
    match this.command.parse(&words)? {
        Parsed::Help => {
            call.write_stdout(&this.command.help())?;
            Err(call.stop(Stop::Exit(0)))
        }
        Parsed::Values(values) => {
            let result = call.lua().create_table()?;
            for option in this.command.options.iter().filter(|o| o.kind == Kind::Flag) {
                result.raw_set(option.key(), false)?;
            }
            for (key, value) in values {
                result.raw_set(key, to_lua(call.lua(), value)?)?;
            }
            Ok(result)
        }
    }
}

fn script_arguments(lua: &Lua) -> anyhow::Result<Vec<String>> {
    match lua.globals().raw_get("arg")? {
        LuaValue::Table(arg) => arg
            .sequence_values::<String>()
            .enumerate()
            .map(|(i, word)| {
                word.map_err(|_| {
                    crate::options::UsageError::new(format!("argument {} is not valid UTF-8", i + 1)).into()
                })
            })
            .collect(),
        _ => Ok(Vec::new()),
    }
}

fn to_lua(lua: &Lua, value: Value) -> mlua::Result<LuaValue> {
    use mlua::IntoLua;
    match value {
        Value::Flag => Ok(LuaValue::Boolean(true)),
        Value::Text(text) => text.into_lua(lua),
        Value::Integer(i) => Ok(LuaValue::Integer(i)),
        Value::Number(x) => Tidy(x).into_lua(lua),
        Value::List(items) => {
            let items: Vec<LuaValue> =
                items.into_iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<_>>()?;
            items.into_lua(lua)
        }
    }
}
