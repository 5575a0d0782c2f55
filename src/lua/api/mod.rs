//! The Lua API, one file per namespace.

use super::declare::Api;

mod cli;
mod fs;
mod json;
mod log;
mod root;

/// All declarations; no Lua state is needed to read them.
pub fn declarations() -> Api {
    Api::new(vec![root::declare(), cli::declare(), fs::declare(), json::declare(), log::declare()])
}
