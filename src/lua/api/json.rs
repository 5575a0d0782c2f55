//! `qlua.json`: JSON to Lua tables and back, in one order and without loss.

pub(super) mod decode;
pub(super) mod encode;

use std::path::{Path, PathBuf};

use mlua::{AnyUserData, Function as LuaFunction, Lua, LuaString, Table, Value};

use super::fs::write_whole;
use crate::error::Error;
use crate::input::{self, InputKind};
use crate::lua::declare::{Class, Function, Namespace, Options, PathUse};
use crate::lua::rows::is_row;
use crate::lua::{Call, Handle, Type};
use crate::seal;

/// The type behind `qlua.json.null`.
pub(super) struct Null;

const NULL: &str = "qlua.json.null";
/// Where the metatable of a decoded object keeps its keys in the order of the document.
const KEYS: &str = "json_keys";

pub(super) fn declare() -> Namespace {
    Namespace::new(
        "json",
        "JSON to Lua tables and back. A decoded object remembers the order of its keys: `pairs` and `encode` follow it. \
         Integers stay integers; null is `qlua.json.null`, which is not nil and counts as true.",
    )
    .constant("null", Type::Handle("Null"), "JSON's null; compare with `==`.", null)
    .class(Class::<Null>::new("Null", "JSON's null; the only value of its kind.").text(|_| "null".into()))
    .function(
        Function::new(
            "decode",
            "Reads JSON text. The bare tokens `NaN`, `Infinity` and `-Infinity`, which Python writes, are accepted. \
             Integers beyond 64 bits become floats.",
        )
        .param("text", Type::Bytes, "JSON")
        .returns(Type::Any, "a table, string, number, boolean or `qlua.json.null`")
        .raises("the text is no JSON; the message names line and column")
        .example(
            "local t = qlua.json.decode('{\"b\": [1, null], \"a\": 2.5}')\n\
             assert(t.b[1] == 1 and t.b[2] == qlua.json.null and t.a == 2.5)",
        ),
        |call| {
            let text: LuaString = call.get("text")?;
            decode::decode(call.lua(), Path::new("the text"), &text.as_bytes())
        },
    )
    .function(
        Function::new("read", "Reads a JSON file, as `decode` does.")
            .param("path", Type::Path, "the file")
            .used_for(PathUse::Read)
            .options(Options::new().default("seal", Type::Boolean, false, "whether a seal, as `write` makes it, has to be that of the file"))
            .returns(Type::Any, "as for `decode`")
            .raises("the file cannot be read, or is no JSON")
            .raises("`seal` is set, and the file was changed after it was sealed")
            .example("qlua.fs.write(\"a.json\", \"[1, 2]\")\nassert(#qlua.json.read(\"a.json\") == 2)"),
        |call| {
            let path: PathBuf = call.get("path")?;
            let text = input::read(&path, InputKind::Data)?;
            if call.get("seal")? && seal::is_sealed(&text) == Some(false) {
                return Err(Error::format(&path, seal::BROKEN).into());
            }
            decode::decode(call.lua(), &path, &text)
        },
    )
    .function(
        Function::new(
            "encode",
            "Writes a value as JSON text, the same text for the same value. Sequences become arrays, an empty table \
             becomes `[]` (see `object`). Keys of plain tables are sorted; those of decoded objects keep their order.",
        )
        .param("value", Type::Any, "a table, string, number, boolean or `qlua.json.null`")
        .options(layout().described("indent", INDENT, "all on one line", "spaces per level"))
        .returns(Type::String, "JSON without a final line break")
        .raises("the value holds a function, a handle, a mixed table, text that is not UTF-8, or itself")
        .raises("a number is not finite and `allow_nan` is not set")
        .example("assert(qlua.json.encode{ b = 1, a = { 1.0, true } } == '{\"a\":[1.0,true],\"b\":1}')"),
        encode::encode,
    )
    .function(
        Function::new("write", "Writes a value as a JSON file, whole or not at all, with a final line break.")
            .param("path", Type::Path, "the file")
            .used_for(PathUse::Write)
            .param("value", Type::Any, "as for `encode`")
            .options(
                layout()
                    .default("indent", INDENT, 2, "spaces per level")
                    .default("overwrite", Type::Boolean, false, "whether to replace a file that is there")
                    .default("seal", Type::Boolean, false, "whether the last entry of the object is `seal`, a hash of all before it, which tells readers of qlua whether the file was changed since"),
            )
            .raises("the value cannot be encoded, or the file cannot be written")
            .raises("`seal` is set, and the value is no object with keys, or all on one line")
            .example("qlua.json.write(\"b.json\", { layers = { \"a\", \"b\" } })"),
        |call| {
            let mut text = encode::encode(call)?;
            text.push('\n');
            if call.get("seal")? {
                if !text.starts_with("{\n") {
                    return Err(call.refuse("seal", "needs an object with keys, and `indent` above 0"));
                }
                text = String::from_utf8(seal::sealed_text(text.into_bytes()))?;
            }
            let (path, overwrite) = (call.get::<PathBuf>("path")?, call.get("overwrite")?);
            Ok(call.uninterrupted(|| write_whole(&path, text.as_bytes(), overwrite))?)
        },
    )
    .function(
        Function::new("object", "Marks a table as an object, so that it is written as `{}` even when it is empty.")
            .param("table", Type::Table, "a table whose keys are strings")
            .returns(Type::Table, "the same table")
            .raises("the table has a metatable of its own")
            .example("assert(qlua.json.encode(qlua.json.object{}) == \"{}\")"),
        |call| {
            let table: Table = call.get("table")?;
            if is_row(&table) || object_keys(&table).is_some() {
                return Ok(table);
            }
            if table.metatable().is_some() {
                return Err(call.refuse("table", "has a metatable already"));
            }
            mark_object(call.lua(), &table, call.lua().create_table()?)?;
            Ok(table)
        },
    )
}

const INDENT: Type = Type::IntegerIn("spaces");

fn layout() -> Options {
    Options::new().default(
        "allow_nan",
        Type::Boolean,
        false,
        "whether to write NaN and infinities as Python does",
    )
}

fn null(call: &Call) -> anyhow::Result<AnyUserData> {
    Ok(match call.lua().named_registry_value(NULL) {
        Ok(Value::UserData(null)) => null,
        _ => {
            let Value::UserData(null) = mlua::IntoLua::into_lua(Handle(Null), call.lua())? else {
                anyhow::bail!("a handle is userdata");
            };
            call.lua().set_named_registry_value(NULL, &null)?;
            null
        }
    })
}

/// The key order of a table that is marked as an object.
fn object_keys(table: &Table) -> Option<Table> {
    table.metatable()?.raw_get(KEYS).ok()
}

fn mark_object(lua: &Lua, table: &Table, keys: Table) -> mlua::Result<()> {
    let metatable = lua.create_table_with_capacity(0, 2)?;
    metatable.raw_set(KEYS, keys)?;
    metatable.raw_set("__pairs", pairs_function(lua)?)?;
    table.set_metatable(Some(metatable))
}

/// The shared `__pairs` of decoded objects.
fn pairs_function(lua: &Lua) -> mlua::Result<LuaFunction> {
    const PAIRS: &str = "qlua.json.pairs";
    if let Ok(Value::Function(pairs)) = lua.named_registry_value(PAIRS) {
        return Ok(pairs);
    }
    let pairs = lua.create_function(|lua, table: Table| {
        let keys: Vec<Value> = ordered_entries(&table)?.into_iter().map(|entry| entry.key).collect();
        let position = std::cell::Cell::new(0);
        let iterator = lua.create_function(move |_, (table, _): (Table, Value)| {
            while let Some(key) = keys.get(position.replace(position.get() + 1)) {
                let value: Value = table.raw_get(key)?;
                // A loop may take keys out of the table it runs over.
                if !value.is_nil() {
                    return Ok((key.clone(), value));
                }
            }
            Ok((Value::Nil, Value::Nil))
        })?;
        Ok((iterator, table))
    })?;
    lua.set_named_registry_value(PAIRS, &pairs)?;
    Ok(pairs)
}

/// What a table holds under a key.
struct TableEntry {
    /// The key as text.
    name: Vec<u8>,
    key: Value,
    value: Value,
}

/// The entries of a table: the keys that a decoded object remembers first, then the rest, sorted.
fn ordered_entries(table: &Table) -> mlua::Result<Vec<TableEntry>> {
    let mut entries = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    if let Some(order) = object_keys(table) {
        for key in order.sequence_values::<LuaString>() {
            let key = key?;
            let (name, value) = (key.as_bytes().to_vec(), table.raw_get::<Value>(&key)?);
            if !value.is_nil() && seen.insert(name.clone()) {
                entries.push(TableEntry { name, key: Value::String(key), value });
            }
        }
    }
    let remembered = entries.len();
    table.for_each::<Value, Value>(|key, value| {
        let name = match &key {
            Value::String(s) => s.as_bytes().to_vec(),
            other => other.to_string()?.into_bytes(),
        };
        if !key.is_string() || !seen.contains(&name) {
            entries.push(TableEntry { name, key, value });
        }
        Ok(())
    })?;
    entries[remembered..].sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
