//! What the functions of the API are called, by the values that scripts have of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Function, Lua};

use crate::lua::state;

/// Full names, such as `qlua.fs.read` and `Manifest:ranking`, by functions.
#[derive(Clone)]
pub(super) struct Names(Rc<BTreeMap<usize, String>>);

impl Names {
    /// The names that the host noted when it made `lua`.
    pub fn of(lua: &Lua) -> Self {
        Names(Rc::new(state::function_names(lua)))
    }

    /// What `function` is called.
    pub fn get(&self, function: &Function) -> Option<&str> {
        self.0.get(&function.to_pointer().addr()).map(String::as_str)
    }
}
