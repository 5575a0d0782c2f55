//! `help(x)`: the declared documentation of whatever `x` is.

use mlua::{Function, Lua, Table, Value};

use super::names::Names;
use crate::error::Error;
use crate::lua::install::fallible;
use crate::lua::{api, docs, output, state};
use crate::options::width;
use crate::shown;

const INTRODUCTION: &str = "help(x) explains a function, a method (help(ranking.first)), a handle, a row, a namespace, or a name: help\"fs.read\".
Tab completes names, fields, methods, options and files. A statement may take several lines; a local variable ends with its line.
Ctrl-C stops what runs, Ctrl-D ends the session.
";

/// Makes the global function `help`.
pub(super) fn install(lua: &Lua, names: Names) -> mlua::Result<()> {
    let help: Function = state::wrap(lua)?.call(fallible(lua, move |lua, arguments| {
        let text = match arguments.front() {
            None => format!("{INTRODUCTION}\n{}", docs::overview(&api::declarations(), width())),
            Some(value) => explanation(lua, &names, value)?,
        };
        output::write_stdout(&shown::lines(&text)).map_err(|source| Error::Output { source })?;
        Ok(())
    })?)?;
    lua.globals().raw_set("help", help)
}

fn explanation(lua: &Lua, names: &Names, value: &Value) -> anyhow::Result<String> {
    let entry = match value {
        Value::String(name) => Some(name.to_string_lossy()),
        Value::Function(function) => match names.get(function) {
            Some(name) => Some(name.to_string()),
            None => return Ok(of_function(lua, function)),
        },
        Value::UserData(handle) => handle.type_name().ok().map(|name| name.to_string_lossy()),
        Value::Table(table) => declared_name(table),
        _ => None,
    };
    let Some(entry) = entry else {
        let text = value.to_string().unwrap_or_default();
        return Ok(format!("{text}: a plain {} of Lua\n", value.type_name()));
    };
    Ok(docs::lookup(&api::declarations(), &entry, width())?)
}

/// The name of the namespace or row that `table` is.
pub(super) fn declared_name(table: &Table) -> Option<String> {
    let name = table.metatable()?.raw_get::<Option<String>>("__name").ok()??;
    let is_declared = name == "qlua" || name.starts_with("qlua.");
    is_declared.then_some(name).filter(|name| name != "qlua.Error")
}

/// What is known of a function that the API does not declare: where it is, and the comment above it.
fn of_function(lua: &Lua, function: &Function) -> String {
    let info = function.info();
    let source = info.source.unwrap_or_default();
    let (name, line) = (source.trim_start_matches(['@', '=']), info.line_defined.unwrap_or(0));
    if line == 0 || name.starts_with('[') {
        let library = library_name(lua, function).unwrap_or_else(|| "this function".into());
        return format!("{library} is part of Lua: https://www.lua.org/manual/5.4/manual.html\n");
    }
    let mut comment: Vec<String> = Vec::new();
    for above in (1..line).rev() {
        match state::code_at(lua, &format!("{name}:{above}")) {
            Some(code) if code.starts_with("--") => {
                comment.insert(0, code.trim_start_matches('-').trim().into())
            }
            _ => break,
        }
    }
    let code = state::code_at(lua, &format!("{name}:{line}")).unwrap_or_else(|| "a function".into());
    let comment: String = comment.iter().map(|line| format!("{line}\n")).collect();
    let gap = if comment.is_empty() { "" } else { "\n" };
    format!("{code}\n\n{comment}{gap}defined at {name}:{line}\n")
}

/// What a function of Lua's own library is called, such as `string.format`.
fn library_name(lua: &Lua, function: &Function) -> Option<String> {
    let find = |table: &Table| {
        let mut pairs = table.pairs::<String, Value>().flatten();
        pairs
            .find(|(_, value)| matches!(value, Value::Function(other) if other == function))
            .map(|(name, _)| name)
    };
    let globals = lua.globals();
    find(&globals).or_else(|| {
        let libraries = globals
            .pairs::<String, Value>()
            .flatten()
            .filter(|(_, value)| matches!(value, Value::Table(table) if table.metatable().is_none()));
        let mut named =
            libraries.filter_map(|(library, value)| Some(format!("{library}.{}", find(value.as_table()?)?)));
        named.next()
    })
}
