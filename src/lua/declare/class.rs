//! Classes of handles.

use std::any::TypeId;
use std::rc::Rc;

use mlua::{IntoLuaMulti, Lua, Table, UserDataFields, UserDataRegistry, Value};

use super::callable::{Callable, Getter, Handler};
use super::function::{FIRST_VERSION, Field, Function};
use crate::error::Error;
use crate::lua::call::Call;
use crate::lua::types::Type;

/// A class of handles, without its Rust type.
pub struct ClassDeclaration {
    /// The name, such as `"Manifest"`.
    pub name: &'static str,
    /// What a handle stands for.
    pub doc: &'static str,
    /// The read-only fields.
    pub fields: Vec<Rc<Getter>>,
    /// The colon methods.
    pub methods: Vec<Rc<Callable>>,
    /// What `#handle` counts.
    pub length: Option<(&'static str, Handler)>,
    /// Whether `handle == other` compares contents.
    pub equal: Option<(&'static str, Handler)>,
    /// Operators between two handles of the class.
    pub operators: Vec<OperatorDeclaration>,
    pub(in crate::lua) text: Option<Handler>,
    pub(in crate::lua) type_id: TypeId,
    pub(in crate::lua) register: fn(&Lua, &Table) -> mlua::Result<()>,
}

/// An operator between two handles of one class, which gives a handle of that class.
pub struct OperatorDeclaration {
    /// The operator.
    pub operator: Operator,
    /// What it gives.
    pub doc: &'static str,
    pub(in crate::lua) handler: Handler,
}

/// The operators that a class may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `a | b`
    Or,
    /// `a & b`
    And,
    /// `a - b`
    Minus,
}

impl Operator {
    /// As a script writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Or => "|",
            Operator::And => "&",
            Operator::Minus => "-",
        }
    }

    /// As lua-language-server names it; with two underscores before it, the metamethod.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Or => "bor",
            Operator::And => "band",
            Operator::Minus => "sub",
        }
    }
}

/// Builds the declaration of a class whose handles hold a `T`.
pub struct Class<T> {
    pub(super) declaration: ClassDeclaration,
    marker: std::marker::PhantomData<T>,
}

impl<T: 'static> Class<T> {
    /// A class without fields and methods.
    pub fn new(name: &'static str, doc: &'static str) -> Self {
        let declaration = ClassDeclaration {
            name,
            doc,
            fields: Vec::new(),
            methods: Vec::new(),
            length: None,
            equal: None,
            operators: Vec::new(),
            text: None,
            type_id: TypeId::of::<T>(),
            register: register_type::<T>,
        };
        Class { declaration, marker: std::marker::PhantomData }
    }

    /// A read-only field.
    pub fn field<R: IntoLuaMulti>(
        self,
        name: &'static str,
        ty: Type,
        doc: &'static str,
        get: impl Fn(&T, &Call) -> anyhow::Result<R> + 'static,
    ) -> Self {
        self.field_since(FIRST_VERSION, name, ty, doc, get)
    }

    /// A read-only field that came with a later version.
    pub fn field_since<R: IntoLuaMulti>(
        mut self,
        since: &'static str,
        name: &'static str,
        ty: Type,
        doc: &'static str,
        get: impl Fn(&T, &Call) -> anyhow::Result<R> + 'static,
    ) -> Self {
        let full_name = format!("{}.{name}", self.declaration.name);
        let spec = Field { name, ty, doc, since };
        self.declaration.fields.push(Rc::new(Getter { spec, full_name, handler: on_handle(get) }));
        self
    }

    /// A colon method. `this` is shared, so a handle that changes keeps its state in a `Cell` or `RefCell`.
    pub fn method<R: IntoLuaMulti>(
        mut self,
        spec: Function,
        handler: impl Fn(&T, &Call) -> anyhow::Result<R> + 'static,
    ) -> Self {
        let full_name = format!("{}:{}", self.declaration.name, spec.name);
        self.declaration.methods.push(Rc::new(Callable { spec, full_name, handler: on_handle(handler) }));
        self
    }

    /// What `#handle` gives.
    pub fn length(mut self, doc: &'static str, get: impl Fn(&T) -> usize + 'static) -> Self {
        self.declaration.length = Some((doc, on_handle(move |this: &T, _| Ok(get(this)))));
        self
    }

    /// What `tostring(handle)` gives; without it, the class's name.
    pub fn text(mut self, get: impl Fn(&T) -> String + 'static) -> Self {
        self.declaration.text = Some(on_handle(move |this: &T, _| Ok(get(this))));
        self
    }

    /// What `handle == other` compares; without it, two handles are equal when they are the same handle.
    pub fn equal(
        mut self,
        doc: &'static str,
        compare: impl Fn(&T, &T) -> anyhow::Result<bool> + 'static,
    ) -> Self {
        // Lua asks either operand's class, so neither needs to be a `T`.
        let handler: Handler = Rc::new(move |call: &Call| {
            let equal = match (call.this::<T>(), call.rest().first()) {
                (Ok(this), Some(mlua::Value::UserData(other))) => {
                    other.borrow::<T>().map_or(Ok(false), |other| compare(&this, &other))?
                }
                _ => false,
            };
            Ok(equal.into_lua_multi(call.lua())?)
        });
        self.declaration.equal = Some((doc, handler));
        self
    }

    /// What `handle | other` (or another operator) gives; both must be handles of this class.
    pub fn operator<R: IntoLuaMulti>(
        mut self,
        operator: Operator,
        doc: &'static str,
        apply: impl Fn(&T, &T) -> anyhow::Result<R> + 'static,
    ) -> Self {
        let class = self.declaration.name;
        let handler: Handler = Rc::new(move |call: &Call| {
            let other = match call.rest().first() {
                Some(mlua::Value::UserData(other)) => other.borrow::<T>().ok(),
                _ => None,
            };
            match (call.this::<T>(), other) {
                (Ok(this), Some(other)) => Ok(apply(&this, &other)?.into_lua_multi(call.lua())?),
                _ => Err(Error::argument(format!(
                    "`{}` needs a {class} handle on both sides",
                    operator.symbol()
                ))
                .into()),
            }
        });
        self.declaration.operators.push(OperatorDeclaration { operator, doc, handler });
        self
    }
}

fn on_handle<T: 'static, R: IntoLuaMulti>(
    handler: impl Fn(&T, &Call) -> anyhow::Result<R> + 'static,
) -> Handler {
    Rc::new(move |call| {
        let this = call.this::<T>()?;
        Ok(handler(&this, call)?.into_lua_multi(call.lua())?)
    })
}

/// Gives the handles that hold a `T` the metamethods in `meta`.
fn register_type<T: 'static>(lua: &Lua, meta: &Table) -> mlua::Result<()> {
    let entries: Vec<(String, Value)> = meta.pairs().collect::<mlua::Result<_>>()?;
    lua.register_userdata_type::<T>(|registry: &mut UserDataRegistry<T>| {
        for (name, value) in entries {
            registry.add_meta_field(name, value);
        }
    })
}
