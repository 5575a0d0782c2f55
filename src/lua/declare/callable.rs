//! A declaration with its Rust side.

use std::rc::Rc;

use mlua::MultiValue;

use super::function::{Field, Function};
use crate::lua::call::Call;

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
