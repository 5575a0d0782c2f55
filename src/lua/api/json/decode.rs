//! JSON text to Lua values.

use std::path::Path;

use mlua::{Lua, Value};

use super::{NULL, mark_object};
use crate::json::{marked_number, parse_marked};

pub(in crate::lua) fn decode(lua: &Lua, path: &Path, text: &[u8]) -> anyhow::Result<Value> {
    let document = parse_marked(path, text)?;
    Ok(to_lua(lua, document)?)
}

fn to_lua(lua: &Lua, value: serde_json::Value) -> mlua::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => lua.named_registry_value(NULL)?,
        serde_json::Value::Bool(b) => Value::Boolean(b),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(i) => Value::Integer(i),
            None => Value::Number(n.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(s) => match marked_number(&s) {
            Some(number) => Value::Number(number),
            None => Value::String(lua.create_string(s)?),
        },
        serde_json::Value::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (i, item) in items.into_iter().enumerate() {
                table.raw_set(i + 1, to_lua(lua, item)?)?;
            }
            Value::Table(table)
        }
        serde_json::Value::Object(entries) => {
            let table = lua.create_table_with_capacity(0, entries.len())?;
            let keys = lua.create_table_with_capacity(entries.len(), 0)?;
            for (i, (key, item)) in entries.into_iter().enumerate() {
                let key = lua.create_string(key)?;
                table.raw_set(&key, to_lua(lua, item)?)?;
                keys.raw_set(i + 1, key)?;
            }
            mark_object(lua, &table, keys)?;
            Value::Table(table)
        }
    })
}
