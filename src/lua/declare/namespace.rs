//! Namespaces, and the API that they make.

use std::rc::Rc;

use mlua::IntoLuaMulti;

use super::callable::{Callable, Getter, Handler};
use super::class::{Class, ClassDeclaration};
use super::function::{FIRST_VERSION, Field, Function};
use crate::lua::call::Call;
use crate::lua::types::Type;

/// A namespace such as `qlua.fp8`: functions, constants, and the classes and records that belong to them.
pub struct Namespace {
    /// The name, such as `"fp8"`; `""` is the table `qlua` itself.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// The functions.
    pub functions: Vec<Rc<Callable>>,
    /// The constants.
    pub constants: Vec<Rc<Getter>>,
    /// The classes of the handles that its functions return.
    pub classes: Vec<ClassDeclaration>,
}

impl Namespace {
    /// An empty namespace.
    pub fn new(name: &'static str, doc: &'static str) -> Self {
        Namespace { name, doc, functions: Vec::new(), constants: Vec::new(), classes: Vec::new() }
    }

    /// The name as scripts write it: `qlua.fp8`, or `qlua`.
    pub fn full_name(&self) -> String {
        if self.name.is_empty() { "qlua".into() } else { format!("qlua.{}", self.name) }
    }

    /// A function with its Rust side.
    pub fn function<R: IntoLuaMulti>(
        mut self,
        spec: Function,
        handler: impl Fn(&Call) -> anyhow::Result<R> + 'static,
    ) -> Self {
        let full_name = format!("{}.{}", self.full_name(), spec.name);
        let handler: Handler = Rc::new(move |call| Ok(handler(call)?.into_lua_multi(call.lua())?));
        self.functions.push(Rc::new(Callable { spec, full_name, handler }));
        self
    }

    /// A constant; `value` is made once per Lua state.
    pub fn constant<R: IntoLuaMulti>(
        mut self,
        name: &'static str,
        ty: Type,
        doc: &'static str,
        value: impl Fn(&Call) -> anyhow::Result<R> + 'static,
    ) -> Self {
        let full_name = format!("{}.{name}", self.full_name());
        let handler: Handler = Rc::new(move |call| Ok(value(call)?.into_lua_multi(call.lua())?));
        let spec = Field { name, ty, doc, since: FIRST_VERSION };
        self.constants.push(Rc::new(Getter { spec, full_name, handler }));
        self
    }

    /// A class of handles.
    pub fn class<T: 'static>(mut self, class: Class<T>) -> Self {
        self.classes.push(class.declaration);
        self
    }
}

/// The whole Lua API.
pub struct Api {
    /// The namespaces, the table `qlua` itself first, then by name.
    pub namespaces: Vec<Namespace>,
}

impl Api {
    /// Sorts `namespaces` by name, so that every document made from them has one order.
    pub fn new(mut namespaces: Vec<Namespace>) -> Self {
        namespaces.sort_by_key(|n| n.name);
        Api { namespaces }
    }

    /// The classes of all namespaces.
    pub fn classes(&self) -> impl Iterator<Item = &ClassDeclaration> {
        self.namespaces.iter().flat_map(|n| &n.classes)
    }

    /// Every function and method.
    pub fn callables(&self) -> impl Iterator<Item = &Rc<Callable>> {
        self.namespaces.iter().flat_map(|n| {
            let methods = n.classes.iter().flat_map(|c| &c.methods);
            n.functions.iter().chain(methods)
        })
    }
}
