//! What handlers take and give beside plain Lua values: handles, rows, callbacks and selectors.

use std::sync::Arc;

use mlua::serde::SerializeOptions;
use mlua::{FromLua, Function, IntoLua, IntoLuaMulti, Lua, LuaSerdeExt, MultiValue, Value};
use serde::Serialize;

use super::sandbox::MemoryGuard;
use super::{raise, state};
use crate::selector::Globs;

/// A new handle: `Ok(Handle(manifest))`. The type must be that of a declared class.
pub struct Handle<T>(pub T);

impl<T: 'static> IntoLua for Handle<T> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_any_userdata(self.0).map(Value::UserData)
    }
}

/// A serialisable value as plain Lua tables: structs and maps become tables by name, `None` becomes nil.
pub struct Plain<T>(pub T);

impl<T: Serialize> IntoLua for Plain<T> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        let options = SerializeOptions::new()
            .serialize_none_to_null(false)
            .serialize_unit_to_null(false)
            .set_array_metatable(false);
        lua.to_value_with(&self.0, options)
    }
}

/// A number as Lua writes it best: an integer where it is one (`10`, not `10.0`).
pub struct Tidy(pub f64);

impl IntoLua for Tidy {
    fn into_lua(self, _: &Lua) -> mlua::Result<Value> {
        Ok(if self.0.fract() == 0.0 && self.0.abs() < 9_007_199_254_740_992.0 {
            Value::Integer(self.0 as i64)
        } else {
            Value::Number(self.0)
        })
    }
}

/// A Lua function that Rust calls. What it raises passes through Rust unchanged, back to the script; but what Lua says of a
/// nil that came from a row becomes a sentence about that row.
#[derive(Clone, Debug)]
pub struct Callback(Function);

impl FromLua for Callback {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Self> {
        Function::from_lua(value, lua).map(Callback)
    }
}

impl Callback {
    /// Calls it with `arguments` and gives all results.
    ///
    /// # Errors
    /// [`state::Thrown`] when it raises: return it (`?`), and the script sees its own error again.
    pub fn call(&self, lua: &Lua, arguments: impl IntoLuaMulti) -> anyhow::Result<MultiValue> {
        let mut all = arguments.into_lua_multi(lua)?;
        state::with(lua, |state| *state.absent.borrow_mut() = None);
        all.push_front(Value::Function(self.0.clone()));
        let clock = state::with(lua, |state| Arc::clone(&state.clock));
        let running = clock.run();
        let memory = MemoryGuard::set(lua, state::with(lua, |state| state.limits.memory));
        let mut results: MultiValue = state::raw_pcall(lua)?.call(all)?;
        drop((running, memory));
        if matches!(results.pop_front(), Some(Value::Boolean(true))) {
            return Ok(results);
        }
        let raised = raise::explained(lua, results.pop_front().unwrap_or(Value::Nil))?;
        Err(state::throw(lua, raised)?.into())
    }

    /// Where it begins, as positions name it: `mine.lua:5`.
    pub fn position(&self) -> String {
        let info = self.0.info();
        let source = info.source.unwrap_or_default();
        format!("{}:{}", source.trim_start_matches(['@', '=']), info.line_defined.unwrap_or(0))
    }

    /// Calls it with `arguments` and tells whether its first result is neither false nor nil.
    ///
    /// # Errors
    /// As for [`Callback::call`].
    pub fn test(&self, lua: &Lua, arguments: impl IntoLuaMulti) -> anyhow::Result<bool> {
        let first = self.call(lua, arguments)?.pop_front();
        Ok(!matches!(first, None | Some(Value::Nil | Value::Boolean(false))))
    }
}

/// A choice: a glob, a list of globs, or a predicate, of names ([`super::types::Type::Selector`]) or of groups.
#[derive(Clone, Debug)]
pub enum Selector {
    /// Any of the globs matches the whole name.
    Globs(Globs),
    /// The function gives true for the name, or for the group.
    Predicate(Callback),
}

impl FromLua for Selector {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Self> {
        let globs = match value {
            Value::Function(function) => return Ok(Selector::Predicate(Callback(function))),
            Value::String(glob) => Globs::new([glob.to_string_lossy()]),
            other => Globs::new(Vec::<String>::from_lua(other, lua)?),
        };
        globs.map(Selector::Globs).map_err(mlua::Error::external)
    }
}

impl Selector {
    /// Whether `name` is chosen.
    ///
    /// # Errors
    /// What the predicate raises.
    pub fn chooses(&self, lua: &Lua, name: &str) -> anyhow::Result<bool> {
        match self {
            Selector::Globs(globs) => Ok(globs.matches(name)),
            Selector::Predicate(predicate) => predicate.test(lua, name),
        }
    }

    /// The `names` that are chosen, in their order.
    ///
    /// # Errors
    /// What the predicate raises.
    pub fn filter<'a>(
        &self,
        lua: &Lua,
        names: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Vec<&'a str>> {
        let mut chosen = Vec::new();
        for name in names {
            if self.chooses(lua, name)? {
                chosen.push(name);
            }
        }
        Ok(chosen)
    }
}
