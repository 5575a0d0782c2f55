//! One call of a declared function: checked arguments, by name.

use std::any::TypeId;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use mlua::{AnyUserData, FromLua, Lua, MultiValue, Table, UserDataRef, Value};

use super::declare::function::{Fallback, Function, Param};
use super::state::ScriptStop;
use super::types::{Mismatch, Type, unknown_key};
use crate::error::Error;

/// A call whose arguments fit the declaration. Parameters and options share one look-up by name: [`Call::get`].
pub struct Call<'a> {
    lua: &'a Lua,
    spec: Option<&'a Function>,
    full_name: &'a str,
    this: Option<Value>,
    values: Vec<Value>,
    options: Option<Table>,
    rest: Vec<Value>,
}

impl<'a> Call<'a> {
    /// Checks `arguments` against the declaration; for a method the first one is the
    /// handle, of type `class`.
    pub(super) fn new(
        lua: &'a Lua,
        spec: &'a Function,
        full_name: &'a str,
        class: Option<TypeId>,
        mut arguments: MultiValue,
    ) -> Result<Self, Error> {
        let this = class.map(|_| arguments.pop_front().unwrap_or(Value::Nil));
        let mut call = Call {
            lua,
            spec: Some(spec),
            full_name,
            this,
            values: Vec::with_capacity(spec.params.len()),
            options: None,
            rest: Vec::new(),
        };
        // A handle that is missing shifts all arguments, so it is looked at before them.
        if class.is_some() && !matches!(&call.this, Some(Value::UserData(this)) if this.type_id() == class) {
            return Err(call.missing_handle());
        }
        call.take_arguments(spec, arguments)?;
        Ok(call)
    }

    /// A call of a getter or metamethod: no parameters, `rest` is whatever came with it.
    pub(super) fn plain(lua: &'a Lua, full_name: &'a str, mut arguments: MultiValue) -> Self {
        let this = arguments.pop_front();
        let rest = arguments.into_iter().collect();
        Call { lua, spec: None, full_name, this, values: Vec::new(), options: None, rest }
    }

    fn take_arguments(&mut self, spec: &Function, mut arguments: MultiValue) -> Result<(), Error> {
        // A trailing nil is no argument, unless the function takes any number of values.
        while spec.variadic.is_none() && matches!(arguments.back(), Some(Value::Nil)) {
            arguments.pop_back();
        }
        let given = arguments.len();
        for (i, param) in spec.params.iter().enumerate() {
            // `open{…}` gives the options in the place of an optional parameter that takes no table.
            let is_options = spec.options.is_some()
                && i + 1 == given
                && param.is_optional()
                && !param.ty.takes_tables()
                && matches!(arguments.front(), Some(Value::Table(_)));
            let value = if is_options { Value::Nil } else { arguments.pop_front().unwrap_or(Value::Nil) };
            self.check(param, "", &value)?;
            self.values.push(value);
        }
        if let Some(options) = &spec.options {
            let table = match arguments.pop_front() {
                None | Some(Value::Nil) => None,
                Some(Value::Table(table)) => Some(table),
                Some(other) => {
                    let problem =
                        Type::Table.check(&other, self.lua).err().map_or(String::new(), |m| m.problem);
                    return Err(Error::argument(format!("the options of {} {problem}", self.full_name))
                        .with_hint(format!("write {}{{ … }} or pass a table last", self.full_name)));
                }
            };
            if let Some(table) = &table
                && let Some((key, hint)) = unknown_key(table, || options.entries.iter().map(|o| o.name))
            {
                return Err(
                    Error::argument(format!("{key} is no option of {}", self.full_name)).with_hint(hint)
                );
            }
            for option in &options.entries {
                let value = match &table {
                    Some(table) => table.raw_get(option.name).unwrap_or(Value::Nil),
                    None => Value::Nil,
                };
                self.check(option, "option ", &value)?;
            }
            self.options = table;
        }
        if let Some(variadic) = &spec.variadic {
            self.rest = arguments.into_iter().collect();
            for value in &self.rest {
                self.check(variadic, "", value)?;
            }
        } else if !arguments.is_empty() {
            let most = spec.params.len() + usize::from(spec.options.is_some());
            let most = match most {
                0 => "no arguments".to_string(),
                1 => "one argument".to_string(),
                n => format!("at most {n} arguments"),
            };
            let verb = if given == 1 { "was" } else { "were" };
            let problem = format!("{} takes {most}, but {given} {verb} given", self.full_name);
            return Err(Error::argument(problem).with_hint(self.where_explained()));
        }
        Ok(())
    }

    fn check(&self, param: &Param, word: &str, value: &Value) -> Result<(), Error> {
        if value.is_nil() {
            if let (Fallback::String(path), true) = (param.default, param.ty.takes_paths()) {
                // What was left out is used all the same.
                return self.allow_path(Path::new(path), param);
            }
            if param.is_optional() {
                return Ok(());
            }
            let problem = format!(
                "{word}`{}` of {} is missing: it must be {}",
                param.name,
                self.full_name,
                param.ty.demanded()
            );
            return Err(Error::argument(problem).with_hint(self.where_explained()));
        }
        param.ty.check(value, self.lua).map_err(|mismatch| {
            let Mismatch { place, problem, hint } = mismatch;
            Error::argument(format!("{word}`{}{place}` of {} {problem}", param.name, self.full_name))
                .with_hint(hint.unwrap_or_else(|| self.where_explained()))
        })?;
        if param.ty.takes_paths()
            && let Value::String(path) = value
        {
            self.allow_path(Path::new(OsStr::from_bytes(&path.as_bytes())), param)?;
        }
        Ok(())
    }

    /// Fails where a sandbox must not use `path` as `param` says that it is used.
    fn allow_path(&self, path: &Path, param: &Param) -> Result<(), Error> {
        super::state::allow_path(self.lua, |roots| match param.path_use {
            Some(path_use) => roots.allow(path, path_use),
            None => Err(Error::refused(format!("{} is not there in a sandbox", self.full_name))),
        })
    }

    /// The hint for whoever gave something else than is taken.
    fn where_explained(&self) -> String {
        format!("`qlua doc {}` says what it takes", self.full_name.trim_start_matches("qlua."))
    }

    /// The Lua state.
    pub fn lua(&self) -> &'a Lua {
        self.lua
    }

    /// The full name of what was called, such as `qlua.fp8.encode`, for messages.
    pub fn name(&self) -> &str {
        self.full_name
    }

    /// The parameter or option `name`; its default where it was left out. `Option<T>` gives `None` for nil.
    ///
    /// # Errors
    /// When the value has no place in a `T`, or when the declaration has no such name.
    pub fn get<T: FromLua>(&self, name: &str) -> anyhow::Result<T> {
        let value = self.value(name)?;
        T::from_lua(value, self.lua).map_err(|e| match e.downcast_ref::<Error>() {
            // A conversion of this crate, such as that of a glob, already says all.
            Some(_) => e.into(),
            None => self.refuse(name, format!("cannot be used: {e}")),
        })
    }

    /// The enum that the word in parameter or option `name` stands for.
    ///
    /// # Errors
    /// As for [`Call::get`]; [`Error::Usage`] for a word that stands for nothing.
    pub fn word<T: FromStr<Err = Error>>(&self, name: &str) -> anyhow::Result<T> {
        Ok(self.get::<String>(name)?.parse()?)
    }

    /// The handle that parameter or option `name` holds.
    ///
    /// # Errors
    /// As for [`Call::get`]; the declared type has already made sure of the class.
    pub fn handle<T: 'static>(&self, name: &str) -> anyhow::Result<UserDataRef<T>> {
        let handle: AnyUserData = self.get(name)?;
        handle.borrow::<T>().map_err(|e| self.refuse(name, format!("cannot be used now: {e}")))
    }

    /// Whether the caller gave the parameter or option `name` a value of its own.
    pub fn given(&self, name: &str) -> bool {
        !matches!(self.raw(name), None | Some((Value::Nil, _)))
    }

    /// Writes to standard output, after what scripts wrote so far.
    ///
    /// # Errors
    /// A stop when nobody reads any more (exit code 0); [`Error::Output`] for everything else.
    pub fn write_stdout(&self, text: &str) -> anyhow::Result<()> {
        match super::output::write_stdout(text) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(self.stop(ScriptStop::ClosedPipe)),
            other => Ok(other.map_err(|source| Error::Output { source })?),
        }
    }

    /// Does `write`, which nothing cuts off half-way; whatever a script can make large is to be computed before.
    pub fn uninterrupted<R>(&self, write: impl FnOnce() -> R) -> R {
        let clock = super::state::with(self.lua, |state| std::sync::Arc::clone(&state.clock));
        let _held = clock.hold();
        write()
    }

    /// Makes the script stop, and gives the error to return.
    pub fn stop(&self, reason: ScriptStop) -> anyhow::Error {
        super::raise::stop_error(self.lua, reason)
    }

    /// The values after the declared parameters.
    pub fn rest(&self) -> &[Value] {
        &self.rest
    }

    /// The handle that a method was called on, for methods that return it.
    pub fn self_value(&self) -> Value {
        self.this.clone().unwrap_or(Value::Nil)
    }

    /// An error that names parameter or option `name`; `problem` continues the sentence: "must be even".
    pub fn refuse(&self, name: &str, problem: impl std::fmt::Display) -> anyhow::Error {
        Error::argument(format!("`{name}` of {} {problem}", self.full_name)).into()
    }

    /// The `T` of the handle that a method or getter was called on.
    pub(super) fn this<T: 'static>(&self) -> anyhow::Result<UserDataRef<T>> {
        if let Some(Value::UserData(handle)) = &self.this
            && let Ok(this) = handle.borrow::<T>()
        {
            return Ok(this);
        }
        Err(self.missing_handle().into())
    }

    fn missing_handle(&self) -> Error {
        let with_colon = self.full_name.replace(':', ".");
        let (class, method) = with_colon.split_once('.').unwrap_or((self.full_name, ""));
        Error::argument(format!("{} was called without its {class} handle", self.full_name))
            .with_hint(format!("write handle:{method}(…), with a colon"))
    }

    fn raw(&self, name: &str) -> Option<(Value, Fallback)> {
        let spec = self.spec?;
        let (i, is_option) = spec.find(name)?;
        if is_option {
            let entry = &spec.options.as_ref()?.entries[i];
            let value = self.options.as_ref().map_or(Value::Nil, |t| t.raw_get(name).unwrap_or(Value::Nil));
            Some((value, entry.default))
        } else {
            Some((self.values.get(i).cloned().unwrap_or(Value::Nil), spec.params[i].default))
        }
    }

    fn value(&self, name: &str) -> anyhow::Result<Value> {
        let Some((value, default)) = self.raw(name) else {
            anyhow::bail!("{} was declared without `{name}`", self.full_name);
        };
        Ok(match (value, default) {
            (Value::Nil, Fallback::Boolean(x)) => Value::Boolean(x),
            (Value::Nil, Fallback::Integer(x)) => Value::Integer(x),
            (Value::Nil, Fallback::Number(x)) => Value::Number(x),
            (Value::Nil, Fallback::String(x)) => Value::String(self.lua.create_string(x)?),
            (value, _) => value,
        })
    }
}
