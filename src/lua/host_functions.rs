//! The functions of Rust that the prelude is built on.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mlua::{Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

use super::chunk::Chunk;
use super::embedded::{self, Embedded};
use super::install::fallible;
use super::state::{self, HOOK_INTERVAL, ScriptStop};
use super::{output, raise};
use crate::error::Error;
use crate::huge_pages;
use crate::shown;
use crate::words::nearest;

/// The functions that the prelude is built on.
pub(super) fn host_functions(lua: &Lua) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    host.raw_set(
        "stopping",
        lua.create_function(|lua, ()| state::stopping(lua).map(|s| raise::stop_value(lua, s)).transpose())?,
    )?;
    host.raw_set(
        "count_coroutine",
        lua.create_function(|lua, ()| {
            state::count(lua, HOOK_INTERVAL);
            Ok(())
        })?,
    )?;
    host.raw_set("convert", lua.create_function(|lua, value: Value| converted(lua, value))?)?;
    host.raw_set(
        "caught",
        lua.create_function(|lua, value: Value| match converted(lua, value)? {
            text @ Value::String(_) => raise::caught(lua, &text),
            other => Ok(other),
        })?,
    )?;
    host.raw_set(
        "called",
        lua.create_function(|lua, (name, raised): (String, Value)| raise::called(lua, &name, raised))?,
    )?;
    host.raw_set(
        "describe",
        lua.create_function(|lua, value: Value| {
            if state::stopping(lua).is_none() {
                let failure = raise::describe(lua, &value);
                state::with(lua, |s| *s.failure.borrow_mut() = Some(failure));
            }
            Ok(value)
        })?,
    )?;
    host.raw_set(
        "exit",
        lua.create_function(|lua, code: Value| stop(lua, ScriptStop::Exit(exit_code(&code))))?,
    )?;
    host.raw_set("interrupted", lua.create_function(|lua, ()| stop(lua, ScriptStop::Interrupted))?)?;
    host.raw_set("closed_pipe", lua.create_function(|lua, ()| stop(lua, ScriptStop::ClosedPipe))?)?;
    host.raw_set(
        "embedded",
        lua.create_function(|_, name: LuaString| {
            let module = embedded::module(&name.to_string_lossy());
            Ok((module.map(|m| m.source), module.map(Embedded::chunk_name)))
        })?,
    )?;
    host.raw_set(
        "lend_huge_pages",
        lua.create_function(|_, lent: bool| {
            huge_pages::lend(lent);
            Ok(())
        })?,
    )?;
    host.raw_set("unwritable", fallible(lua, |_, arguments| unwritable(arguments.front()))?)?;
    host.raw_set("source_of", fallible(lua, |lua, arguments| source_of(lua, &arguments))?)?;
    host.raw_set(
        "is_terminal",
        lua.create_function(|_, stream: i32| {
            Ok(if stream == 1 { std::io::stdout().is_terminal() } else { std::io::stderr().is_terminal() })
        })?,
    )?;
    host.raw_set(
        "shown",
        lua.create_function(|lua, text: LuaString| lua.create_string(shown::bytes(&text.as_bytes())))?,
    )?;
    for (name, function) in sandbox_functions(lua)? {
        host.raw_set(name, function)?;
    }
    host.raw_set("missing_module", fallible(lua, |lua, arguments| missing_module(lua, arguments.front()))?)?;
    host.raw_set(
        "syntax_error",
        lua.create_function(|lua, (name, message): (String, String)| {
            Ok((false, raise::syntax_value(lua, &name, &message)?))
        })?,
    )?;
    host.raw_set(
        "traceback",
        lua.create_function(|lua, (message, _level): (Value, Value)| match &message {
            Value::Nil => raise::traceback(lua, None).into_lua_multi(lua),
            Value::String(text) => raise::traceback(lua, Some(&text.to_string_lossy())).into_lua_multi(lua),
            Value::Table(table) if raise::is_error(lua, table) => {
                raise::traceback(lua, Some(&message.to_string()?)).into_lua_multi(lua)
            }
            _ => message.into_lua_multi(lua),
        })?,
    )?;
    Ok(host)
}

/// `value` as scripts may see it: an error of Rust, or a want of memory, as an error table.
fn converted(lua: &Lua, value: Value) -> mlua::Result<Value> {
    match raise::want_of_memory(lua, &value) {
        Some(error) => Ok(error),
        None => match value {
            Value::Error(error) => raise::value_of(lua, &anyhow::Error::from(*error)),
            other => Ok(other),
        },
    }
}

fn stop(lua: &Lua, reason: ScriptStop) -> mlua::Result<(bool, Value)> {
    state::stop(lua, reason);
    Ok((false, raise::stop_value(lua, reason)?))
}

fn exit_code(value: &Value) -> u8 {
    match value {
        Value::Nil | Value::Boolean(true) => 0,
        Value::Integer(code) => (*code & 0xff) as u8,
        Value::Number(code) if code.fract() == 0.0 => (*code as i64 & 0xff) as u8,
        _ => 1,
    }
}

/// Raises what the operating system said, by its number, when it did not take what goes to the standard output.
fn unwritable(code: Option<&Value>) -> anyhow::Result<()> {
    let code = code.and_then(Value::as_i32).unwrap_or(libc::EIO);
    Err(Error::Output { source: std::io::Error::from_raw_os_error(code) }.into())
}

/// The source of the script at a path; nothing where there is none.
fn source_of(lua: &Lua, arguments: &MultiValue) -> anyhow::Result<Option<LuaString>> {
    let Some(Value::String(path)) = arguments.front() else { return Ok(None) };
    match Chunk::file(Path::new(OsStr::from_bytes(&path.as_bytes()))) {
        Ok(chunk) => {
            state::keep_source(lua, &path.to_string_lossy(), chunk.source());
            Ok(Some(lua.create_string(chunk.source())?))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn missing_module(lua: &Lua, name: Option<&Value>) -> anyhow::Result<()> {
    let name = match name {
        Some(Value::String(name)) => name.to_string_lossy(),
        other => super::types::describe(other.unwrap_or(&Value::Nil)),
    };
    let known: Vec<String> = embedded::modules().collect();
    let error = Error::not_found(format!("there is no module `{name}`"));
    let package = lua.globals().raw_get::<Option<Table>>("package")?;
    let path: String = package.map_or(Ok(String::new()), |package| package.get("path"))?;
    let hint = match nearest(&name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if state::is_sandbox(lua) => {
            "in a sandbox there are only the modules that are part of qlua".into()
        }
        None if path.is_empty() => "built-in scripts use built-in modules only".into(),
        None => {
            let file = path.split(';').next().unwrap_or("").replace('?', &name.replace('.', "/"));
            format!("it would be read from `{file}`")
        }
    };
    Err(error.with_hint(hint).into())
}

/// What `sandbox.lua` needs beside.
fn sandbox_functions(lua: &Lua) -> mlua::Result<[(&'static str, Function); 4]> {
    Ok([
        ("print_line", fallible(lua, |lua, arguments| print_line(lua, &arguments))?),
        ("closed", fallible(lua, |_, arguments| closed(arguments.front()))?),
        ("ordered", fallible(lua, |lua, arguments| Ok(ordered(lua, arguments.front())?))?),
        (
            "orders_itself",
            lua.create_function(|_, value: Value| {
                let Value::Table(table) = &value else { return Ok(true) };
                Ok(table.metatable().is_some_and(|m| !matches!(m.raw_get("__pairs"), Ok(Value::Nil))))
            })?,
        ),
    ])
}

fn print_line(lua: &Lua, arguments: &MultiValue) -> anyhow::Result<()> {
    let Some(Value::String(text)) = arguments.front() else { return Ok(()) };
    if state::with(lua, |state| state.prints_to_stderr) {
        output::line_to_stderr(&text.to_string_lossy());
        return Ok(());
    }
    let mut line = match std::io::stdout().is_terminal() {
        true => shown::bytes(&text.as_bytes()).to_vec(),
        false => text.as_bytes().to_vec(),
    };
    line.push(b'\n');
    match output::bytes_to_stdout(&line) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(raise::stop_error(lua, ScriptStop::ClosedPipe))
        }
        other => Ok(other.map_err(|source| Error::Output { source })?),
    }
}

fn closed(name: Option<&Value>) -> anyhow::Result<()> {
    let Some(Value::String(name)) = name else { return Ok(()) };
    let problem = format!("there is no `{}` in a sandbox", name.to_string_lossy());
    Err(Error::refused(problem).with_hint("run the script without `--sandbox` once you have read it").into())
}

/// An iterator over `table` in the order of its keys: numbers, then strings, then what has no order.
fn ordered(lua: &Lua, table: Option<&Value>) -> mlua::Result<(Function, Value)> {
    let Some(Value::Table(table)) = table else {
        return Err(mlua::Error::runtime("bad argument #1 to 'pairs' (table expected)"));
    };
    let mut keys = table
        .pairs::<Value, Value>()
        .map(|pair| pair.map(|(key, _)| key))
        .collect::<mlua::Result<Vec<_>>>()?;
    let number = |key: &Value| match key {
        Value::Integer(i) => Some(*i as f64),
        Value::Number(x) => Some(*x),
        _ => None,
    };
    keys.sort_by(|a, b| match (number(a), number(b), a, b) {
        (Some(a), Some(b), ..) => a.total_cmp(&b),
        (Some(_), None, ..) => std::cmp::Ordering::Less,
        (None, Some(_), ..) => std::cmp::Ordering::Greater,
        (_, _, Value::String(a), Value::String(b)) => a.as_bytes().cmp(&b.as_bytes()),
        (_, _, Value::String(_), _) => std::cmp::Ordering::Less,
        (_, _, _, Value::String(_)) => std::cmp::Ordering::Greater,
        _ => std::cmp::Ordering::Equal,
    });
    let next = std::cell::Cell::new(0);
    let iterator = lua.create_function(move |_, arguments: MultiValue| {
        let Some(Value::Table(table)) = arguments.front() else { return Ok((Value::Nil, Value::Nil)) };
        while let Some(key) = keys.get(next.replace(next.get() + 1)) {
            let value: Value = table.raw_get(key)?;
            // A loop may take keys out of the table that it runs over.
            if !value.is_nil() {
                return Ok((key.clone(), value));
            }
        }
        Ok((Value::Nil, Value::Nil))
    })?;
    Ok((iterator, Value::Table(table.clone())))
}
