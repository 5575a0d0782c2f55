//! The Lua API, one file per namespace.

use super::declare::Api;

mod checkpoint;
mod cli;
mod export;
mod fp8;
mod fs;
mod json;
mod log;
mod manifest;
mod plan;
mod report;
mod root;
mod tensor;
mod verify;

/// All declarations; no Lua state is needed to read them.
pub fn declarations() -> Api {
    Api::new(vec![
        root::declare(),
        checkpoint::declare(),
        cli::declare(),
        export::declare(),
        fp8::declare(),
        fs::declare(),
        json::declare(),
        log::declare(),
        manifest::declare(),
        plan::declare(),
        report::declare(),
        tensor::declare(),
        verify::declare(),
    ])
}
