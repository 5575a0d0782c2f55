//! Puts the declared API into a Lua state.

use std::any::TypeId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::call::Call;
use super::declare::{Api, Callable, ClassDeclaration, Getter, Namespace};
use super::sandbox::MemoryGuard;
use super::{raise, state};
use crate::error::Error;
use crate::words::nearest;

/// Makes the table `qlua`; `prelude` is what the prelude exports.
pub(super) fn install(lua: &Lua, api: &Api, prelude: &Table) -> mlua::Result<Table> {
    let installer = Installer {
        lua,
        wrap: prelude.get("wrap")?,
        index: prelude.get("index")?,
        namespace: prelude.get("namespace")?,
    };
    let members = lua.create_table()?;
    for namespace in &api.namespaces {
        for class in &namespace.classes {
            installer.class(class)?;
        }
        if namespace.name.is_empty() {
            installer.members(namespace, &members)?;
        } else {
            let own = lua.create_table()?;
            installer.members(namespace, &own)?;
            members.raw_set(namespace.name, installer.proxy(&namespace.full_name(), own)?)?;
        }
    }
    installer.proxy("qlua", members)
}

struct Installer<'a> {
    lua: &'a Lua,
    wrap: Function,
    index: Function,
    namespace: Function,
}

impl Installer<'_> {
    fn members(&self, namespace: &Namespace, members: &Table) -> mlua::Result<()> {
        for function in &namespace.functions {
            members.raw_set(function.spec.name, self.callable(function, None)?)?;
        }
        for constant in &namespace.constants {
            let values = (constant.handler)(&Call::plain(self.lua, &constant.full_name, MultiValue::new()));
            let value = values.map_err(mlua::Error::external)?.pop_front();
            members.raw_set(constant.spec.name, value.unwrap_or(Value::Nil))?;
        }
        Ok(())
    }

    fn proxy(&self, full_name: &str, members: Table) -> mlua::Result<Table> {
        let names = members.pairs::<String, Value>().map(|pair| pair.map(|(name, _)| name));
        let names: Vec<String> = names.collect::<mlua::Result<_>>()?;
        let owner = full_name.to_string();
        let unknown = self.function(move |_, arguments| {
            Err::<(), _>(unknown_member(&owner, arguments.front(), names.iter().map(String::as_str)))
        })?;
        let owner = full_name.to_string();
        let assigned =
            self.function(move |_, arguments| Err::<(), _>(assignment(&owner, arguments.front())))?;
        self.namespace.call((full_name, members, unknown, assigned))
    }

    fn class(&self, class: &ClassDeclaration) -> mlua::Result<()> {
        state::add_class(self.lua, class.name, class.type_id);
        let (methods, getters, meta) =
            (self.lua.create_table()?, self.lua.create_table()?, self.lua.create_table()?);
        for method in &class.methods {
            methods.raw_set(method.spec.name, self.callable(method, Some(class.type_id))?)?;
        }
        for field in &class.fields {
            getters.raw_set(field.spec.name, self.getter(field)?)?;
        }
        let names: Vec<&'static str> = class
            .fields
            .iter()
            .map(|f| f.spec.name)
            .chain(class.methods.iter().map(|m| m.spec.name))
            .collect();
        let owner = class.name;
        let unknown = self.function(move |_, arguments| {
            Err::<(), _>(unknown_member(owner, arguments.get(1), names.iter().copied()))
        })?;
        let assigned =
            self.function(move |_, arguments| Err::<(), _>(assignment(owner, arguments.get(1))))?;
        meta.raw_set("__index", self.index.call::<Function>((getters, methods, unknown))?)?;
        meta.raw_set("__newindex", assigned)?;
        let metamethods = [
            ("__len", class.length.as_ref().map(|(_, h)| h)),
            ("__eq", class.equal.as_ref().map(|(_, h)| h)),
            ("__tostring", class.text.as_ref()),
        ];
        for (name, handler) in metamethods {
            if let Some(handler) = handler {
                let handler = Rc::clone(handler);
                let function =
                    self.function(move |lua, arguments| handler(&Call::plain(lua, owner, arguments)))?;
                meta.raw_set(name, function)?;
            }
        }
        for declaration in &class.operators {
            let handler = Rc::clone(&declaration.handler);
            let function =
                self.function(move |lua, arguments| handler(&Call::plain(lua, owner, arguments)))?;
            meta.raw_set(format!("__{}", declaration.operator.name()), function)?;
        }
        if class.text.is_none() {
            meta.raw_set("__tostring", self.lua.create_function(move |_, _: MultiValue| Ok(owner))?)?;
        }
        meta.raw_set("__name", owner)?;
        (class.register)(self.lua, &meta)
    }

    fn callable(&self, callable: &Rc<Callable>, class: Option<TypeId>) -> mlua::Result<Function> {
        let named = Rc::clone(callable);
        let callable = Rc::clone(callable);
        let function = self.function(move |lua, arguments| {
            let call = Call::new(lua, &callable.spec, &callable.full_name, class, arguments)?;
            let clock = state::with(lua, |state| Arc::clone(&state.clock));
            let _guard = callable.spec.is_long.then(|| clock.stand());
            (callable.handler)(&call)
        })?;
        state::name_function(self.lua, &function, &named.full_name);
        Ok(function)
    }

    fn getter(&self, getter: &Rc<Getter>) -> mlua::Result<Function> {
        let getter = Rc::clone(getter);
        self.function(move |lua, arguments| (getter.handler)(&Call::plain(lua, &getter.full_name, arguments)))
    }

    fn function<R: IntoLuaMulti>(
        &self,
        f: impl Fn(&Lua, MultiValue) -> anyhow::Result<R> + 'static,
    ) -> mlua::Result<Function> {
        self.wrap.call(fallible(self.lua, f)?)
    }
}

/// A function that returns `true, results…` or `false, error` for the prelude's `wrap`.
pub(super) fn fallible<R: IntoLuaMulti>(
    lua: &Lua,
    f: impl Fn(&Lua, MultiValue) -> anyhow::Result<R> + 'static,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, arguments: MultiValue| {
        // What qlua makes for a script that is trusted is as large as its files are; the script itself keeps to its limit.
        let _memory = (!state::is_sandbox(lua)).then(|| MemoryGuard::set(lua, 0));
        // Whoever is to blame, the script and whoever reads its error learn what happened.
        let called = catch_unwind(AssertUnwindSafe(|| f(lua, arguments)));
        let outcome = called
            .unwrap_or_else(|panic| Err(own_mistake(&*panic)))
            .and_then(|results| Ok(results.into_lua_multi(lua)?));
        match outcome {
            Ok(mut results) => {
                results.push_front(Value::Boolean(true));
                Ok(results)
            }
            Err(error) => (false, raise::value_of(lua, &error)?).into_lua_multi(lua),
        }
    })
}

/// The error for a panic of qlua's own.
fn own_mistake(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given");
    anyhow::anyhow!("qlua failed by a mistake of its own: {text}")
}

fn key_name(key: Option<&Value>) -> String {
    match key {
        Some(Value::String(s)) => s.to_string_lossy(),
        other => super::types::describe(other.unwrap_or(&Value::Nil)),
    }
}

fn unknown_member<'a>(
    owner: &str,
    key: Option<&Value>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> anyhow::Error {
    let mut known = known;
    if let Some(Value::Integer(index)) = key {
        let error = Error::not_found(format!("{owner} is no list, so it has no item {index}"));
        return match known.find(|name| *name == "groups") {
            Some(list) => {
                error.with_hint(format!("its `{list}` are one: `for _, group in ipairs(x.{list}) do`")).into()
            }
            None => error
                .with_hint(format!("`qlua doc {}` says what it has", owner.trim_start_matches("qlua.")))
                .into(),
        };
    }
    let key = key_name(key);
    let error = Error::not_found(format!("{owner} has no field or function `{key}`"));
    let mut names: Vec<&str> = known.collect();
    names.sort_unstable();
    let hint = match nearest(&key, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "it has {}; `qlua doc {}` explains them",
            names.join(", "),
            owner.trim_start_matches("qlua.")
        ),
    };
    error.with_hint(hint).into()
}

fn assignment(owner: &str, key: Option<&Value>) -> anyhow::Error {
    Error::argument(format!("{owner} is read-only: `{}` cannot be assigned", key_name(key))).into()
}
