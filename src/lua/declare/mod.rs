//! The vocabulary of declarations: each Lua function, method, field and constant is declared once, here in Rust, and
//! argument checks, annotations, the manual and `qlua doc` are made from it.
//!
//! ```text
//! Namespace::new("fp8", "E4M3 codes.")
//!     .function(
//!         Function::new("encode", "The code nearest to `value`.")
//!             .param("value", Type::Number, "the number to encode")
//!             .returns(Type::Integer, "the code, 0 to 255")
//!             .example("assert(qlua.fp8.encode(1.0) == 0x38)"),
//!         |call| Ok(fp8::encode(call.get("value")?)),
//!     )
//!     .class(
//!         Class::<Manifest>::new("Manifest", "An opened manifest.")
//!             .field("path", Type::Path, "where it was read from", |this, _| Ok(this.path()))
//!             .method(Function::new("ranking", "…"), |this, call| Ok(Handle(this.ranking(…)?))),
//!     )
//! ```

mod class;
mod function;

use std::rc::Rc;

use mlua::{IntoLuaMulti, MultiValue};

pub use class::{Class, ClassDeclaration, Operator, OperatorDeclaration};
pub use function::{FIRST_VERSION, Fallback, Field, Function, Options, Param, Return};

use super::call::Call;
use super::types::Type;

/// The Rust side of a declared function, method or field.
pub type Handler = Rc<dyn Fn(&Call) -> anyhow::Result<MultiValue>>;

/// A declared function or method with its Rust side and its full name.
pub struct Callable {
    /// The declaration.
    pub spec: Function,
    /// `qlua.fp8.encode` or `Manifest:ranking`.
    pub full_name: String,
    pub(in crate::lua) handler: Handler,
}

/// A declared field or constant with its Rust side.
pub struct Getter {
    /// The declaration.
    pub spec: Field,
    /// `Manifest.path` or `qlua.json.null`.
    pub full_name: String,
    pub(in crate::lua) handler: Handler,
}

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
