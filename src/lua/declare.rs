//! The vocabulary of declarations: each Lua function, method, field and constant is declared once, here in Rust, and
//! argument checks, annotations, the manual and `qlua doc` are made from it.
//!
//! ```ignore
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
//!             .method(Function::new("ranking", "…"), |this, call| Ok(Plain(this.ranking(…)?))),
//!     )
//! ```

use std::any::TypeId;
use std::fmt;
use std::rc::Rc;

use mlua::{IntoLuaMulti, Lua, MultiValue, Table};

use super::call::Call;
use super::types::Type;

/// The version that first had whatever is declared without another `since`.
pub const FIRST_VERSION: &str = "0.1.0";

/// The Rust side of a declared function, method or field.
pub type Handler = Rc<dyn Fn(&Call) -> anyhow::Result<MultiValue>>;

/// What stands for a parameter or option that the caller leaves out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fallback {
    /// Nothing: the value must be given.
    Required,
    /// Nothing: the function sees nil.
    Absent,
    /// Nothing: the function sees nil and does what these words say, such as "all cores".
    Described(&'static str),
    /// This boolean.
    Boolean(bool),
    /// This integer.
    Integer(i64),
    /// This number.
    Number(f64),
    /// This string.
    String(&'static str),
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Fallback::Required | Fallback::Absent => Ok(()),
            Fallback::Described(words) => f.write_str(words),
            Fallback::Boolean(x) => write!(f, "`{x}`"),
            Fallback::Integer(x) => write!(f, "`{x}`"),
            Fallback::Number(x) => write!(f, "`{x:?}`"),
            Fallback::String(x) => write!(f, "`\"{x}\"`"),
        }
    }
}

macro_rules! fallback_from {
    ($($from:ty => $variant:ident),*) => {
        $(impl From<$from> for Fallback {
            fn from(value: $from) -> Self {
                Fallback::$variant(value)
            }
        })*
    };
}
fallback_from!(bool => Boolean, i64 => Integer, f64 => Number, &'static str => String);

/// A parameter of a function, or an entry of its options table.
#[derive(Debug, Clone)]
pub struct Param {
    /// The name, unique among the parameters and options of its function.
    pub name: &'static str,
    /// The type that is checked before the handler runs.
    pub ty: Type,
    /// What it means, with its unit.
    pub doc: &'static str,
    /// What stands for it when it is left out.
    pub default: Fallback,
}

impl Param {
    fn new(name: &'static str, ty: Type, default: Fallback, doc: &'static str) -> Self {
        Param { name, ty, doc, default }
    }

    /// Whether a caller may leave it out.
    pub fn is_optional(&self) -> bool {
        self.default != Fallback::Required
    }
}

/// The trailing options table of a function; reusable, so functions can share a set of options.
#[derive(Debug, Clone)]
pub struct Options {
    /// The entries, in the order in which the manual lists them.
    pub entries: Vec<Param>,
}

impl Options {
    /// No options yet. (There is no `Default`: its method's name is taken by [`Options::default`].)
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Options { entries: Vec::new() }
    }

    /// An option that must be given.
    pub fn required(self, name: &'static str, ty: Type, doc: &'static str) -> Self {
        self.with(Param::new(name, ty, Fallback::Required, doc))
    }

    /// An option that may be left out; the handler then sees nil.
    pub fn option(self, name: &'static str, ty: Type, doc: &'static str) -> Self {
        self.with(Param::new(name, ty, Fallback::Absent, doc))
    }

    /// An option with a default value: a boolean, integer, number or string.
    pub fn default(
        self,
        name: &'static str,
        ty: Type,
        default: impl Into<Fallback>,
        doc: &'static str,
    ) -> Self {
        self.with(Param::new(name, ty, default.into(), doc))
    }

    /// An option whose absence means what `words` say; the handler then sees nil.
    pub fn described(self, name: &'static str, ty: Type, words: &'static str, doc: &'static str) -> Self {
        self.with(Param::new(name, ty, Fallback::Described(words), doc))
    }

    fn with(mut self, entry: Param) -> Self {
        self.entries.push(entry);
        self
    }
}

/// A result of a function.
#[derive(Debug, Clone)]
pub struct Return {
    /// Its type; [`Type::Optional`] where nil is possible.
    pub ty: Type,
    /// What it is, with its unit.
    pub doc: &'static str,
}

/// The declaration of a function or method.
#[derive(Debug, Clone)]
pub struct Function {
    /// The name in snake_case.
    pub name: &'static str,
    /// What it does, in whole sentences; the first one is its summary.
    pub doc: &'static str,
    /// The parameters before the options table.
    pub params: Vec<Param>,
    /// Any number of further values.
    pub variadic: Option<Param>,
    /// The trailing options table.
    pub options: Option<Options>,
    /// The results.
    pub returns: Vec<Return>,
    /// When it raises, one condition each.
    pub raises: Vec<&'static str>,
    /// The version that first had it.
    pub since: &'static str,
    /// Code that runs as it stands, with `qlua` in scope and an empty current directory.
    pub examples: Vec<&'static str>,
}

impl Function {
    /// A function without parameters and results.
    pub fn new(name: &'static str, doc: &'static str) -> Self {
        Function {
            name,
            doc,
            params: Vec::new(),
            variadic: None,
            options: None,
            returns: Vec::new(),
            raises: Vec::new(),
            since: FIRST_VERSION,
            examples: Vec::new(),
        }
    }

    /// A parameter that must be given.
    pub fn param(mut self, name: &'static str, ty: Type, doc: &'static str) -> Self {
        self.params.push(Param::new(name, ty, Fallback::Required, doc));
        self
    }

    /// A parameter that may be left out; the handler then sees nil.
    pub fn optional(mut self, name: &'static str, ty: Type, doc: &'static str) -> Self {
        self.params.push(Param::new(name, ty, Fallback::Absent, doc));
        self
    }

    /// A parameter with a default value: a boolean, integer, number or string.
    pub fn default(
        mut self,
        name: &'static str,
        ty: Type,
        default: impl Into<Fallback>,
        doc: &'static str,
    ) -> Self {
        self.params.push(Param::new(name, ty, default.into(), doc));
        self
    }

    /// Any number of further values, each of type `ty`; see [`Call::rest`].
    pub fn variadic(mut self, name: &'static str, ty: Type, doc: &'static str) -> Self {
        self.variadic = Some(Param::new(name, ty, Fallback::Absent, doc));
        self
    }

    /// The trailing options table.
    pub fn options(mut self, options: Options) -> Self {
        self.options = Some(options);
        self
    }

    /// A result; call it once per result.
    pub fn returns(mut self, ty: Type, doc: &'static str) -> Self {
        self.returns.push(Return { ty, doc });
        self
    }

    /// A condition under which it raises.
    pub fn raises(mut self, condition: &'static str) -> Self {
        self.raises.push(condition);
        self
    }

    /// The version that first had it, where that is not [`FIRST_VERSION`].
    pub fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// Code that runs as it stands, with `qlua` in scope and an empty current directory.
    pub fn example(mut self, code: &'static str) -> Self {
        self.examples.push(code);
        self
    }

    /// The parameter or option called `name`, and whether it is an option.
    pub fn find(&self, name: &str) -> Option<(usize, bool)> {
        let position = |list: &[Param]| list.iter().position(|p| p.name == name);
        let options = self.options.as_ref().map_or(&[][..], |o| &o.entries);
        position(&self.params).map(|i| (i, false)).or_else(|| position(options).map(|i| (i, true)))
    }

    /// Whether the options table as a whole may be left out.
    pub fn options_are_optional(&self) -> bool {
        self.options.as_ref().is_none_or(|o| o.entries.iter().all(Param::is_optional))
    }

    /// Every type that the declaration mentions.
    pub fn types(&self) -> impl Iterator<Item = Type> + '_ {
        let options = self.options.iter().flat_map(|o| &o.entries);
        let params = self.params.iter().chain(&self.variadic).chain(options);
        params.map(|p| p.ty).chain(self.returns.iter().map(|r| r.ty))
    }
}

/// A read-only field of a class, or a constant of a namespace.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name in snake_case.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// What it is, with its unit.
    pub doc: &'static str,
    /// The version that first had it.
    pub since: &'static str,
}

/// A declared function or method with its Rust side and its full name.
pub struct Callable {
    /// The declaration.
    pub spec: Function,
    /// `qlua.fp8.encode` or `Manifest:ranking`.
    pub full_name: String,
    pub(super) handler: Handler,
}

/// A declared field or constant with its Rust side.
pub struct Getter {
    /// The declaration.
    pub spec: Field,
    /// `Manifest.path` or `qlua.json.null`.
    pub full_name: String,
    pub(super) handler: Handler,
}

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
    pub(super) text: Option<Handler>,
    pub(super) type_id: TypeId,
    pub(super) register: fn(&Lua, &Table) -> mlua::Result<()>,
}

/// Builds the declaration of a class whose handles hold a `T`.
pub struct Class<T> {
    declaration: ClassDeclaration,
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
            text: None,
            type_id: TypeId::of::<T>(),
            register: super::install::register_type::<T>,
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
    pub fn equal(mut self, doc: &'static str, compare: impl Fn(&T, &T) -> bool + 'static) -> Self {
        // Lua asks either operand's class, so neither needs to be a `T`.
        let handler: Handler = Rc::new(move |call: &Call| {
            let equal = match (call.this::<T>(), call.rest().first()) {
                (Ok(this), Some(mlua::Value::UserData(other))) => {
                    other.borrow::<T>().is_ok_and(|other| compare(&this, &other))
                }
                _ => false,
            };
            Ok(equal.into_lua_multi(call.lua())?)
        });
        self.declaration.equal = Some((doc, handler));
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
