//! The Lua API, one file per namespace.

use super::declare::Api;

mod root;

/// All declarations; no Lua state is needed to read them.
pub fn declarations() -> Api {
    Api::new(vec![root::declare()])
}
