//! What a function, parameter, option, result or field is declared with.

use std::fmt;

use crate::lua::sandbox::PathUse;
use crate::lua::types::Type;

/// The version that first had whatever is declared without another `since`.
pub const FIRST_VERSION: &str = "0.1.0";

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
    /// What is done with the path that it holds, where it holds one.
    pub path_use: Option<PathUse>,
}

impl Param {
    fn new(name: &'static str, ty: Type, default: Fallback, doc: &'static str) -> Self {
        Param { name, ty, doc, default, path_use: None }
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

    /// What is done with the path in the option that was declared last.
    pub fn used_for(mut self, path_use: PathUse) -> Self {
        if let Some(entry) = self.entries.last_mut() {
            entry.path_use = Some(path_use);
        }
        self
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
    /// Whether it takes as long as the weights are large, so that limits of time do not count it.
    pub is_long: bool,
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
            is_long: false,
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

    /// Any number of further values, each of type `ty`; see `Call::rest`.
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

    /// What is done with the path in the last parameter (or the variadic one, where there is one).
    pub fn used_for(mut self, path_use: PathUse) -> Self {
        if let Some(param) = self.variadic.as_mut().or(self.params.last_mut()) {
            param.path_use = Some(path_use);
        }
        self
    }

    /// Whether it takes no path, and no handle but those of `classes`.
    pub fn is_pure(&self, classes: &[&str]) -> bool {
        let options = self.options.iter().flat_map(|o| &o.entries);
        let all = self.params.iter().chain(&self.variadic).chain(options);
        all.map(|param| param.ty)
            .all(|ty| !ty.takes_paths() && ty.handles().iter().all(|h| classes.contains(h)))
    }

    /// It takes as long as the weights are large, so that limits of time do not count it.
    pub fn long(mut self) -> Self {
        self.is_long = true;
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
