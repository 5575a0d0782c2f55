//! The memory that Lua may take at the moment.

use mlua::Lua;

/// A limit of Lua's memory that holds until this goes.
pub struct MemoryGuard<'a> {
    lua: &'a Lua,
    before: Option<usize>,
}

impl<'a> MemoryGuard<'a> {
    /// Lets Lua take `bytes` in all; 0 is no limit. Without one, what Rust makes for Lua takes less than half the time.
    pub fn set(lua: &'a Lua, bytes: usize) -> Self {
        MemoryGuard { lua, before: lua.set_memory_limit(bytes).ok() }
    }
}

impl Drop for MemoryGuard<'_> {
    fn drop(&mut self) {
        // A state whose limit could be set takes it back, too.
        self.before.map(|before| self.lua.set_memory_limit(before));
    }
}
