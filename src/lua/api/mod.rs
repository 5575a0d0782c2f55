//! The Lua API, one file per namespace.

use super::declare::Api;

mod checkpoint;
mod cli;
mod engine;
mod export;
mod fp8;
mod fs;
mod jobs;
mod json;
mod log;
mod manifest;
mod plan;
mod policy;
mod report;
mod root;
mod tensor;
mod threads;
mod verify;

pub(super) use json::decode::decode;
pub(super) use manifest::group_rows;

/// The declarations that reach no files and no weights: what a policy that somebody else wrote may use.
pub fn pure_declarations() -> Api {
    let mut api = Api::new(vec![root::declare(), fp8::declare(), json::declare(), report::declare()]);
    let names: Vec<&'static str> = api.classes().map(|class| class.name).collect();
    for namespace in &mut api.namespaces {
        namespace.functions.retain(|function| function.spec.is_pure(&names));
    }
    api
}

/// All declarations; no Lua state is needed to read them.
pub fn declarations() -> Api {
    Api::new(vec![
        jobs::declare(root::declare()),
        checkpoint::declare(),
        cli::declare(),
        engine::declare(),
        export::declare(),
        fp8::declare(),
        fs::declare(),
        json::declare(),
        log::declare(),
        manifest::declare(),
        plan::declare(),
        policy::declare(),
        report::declare(),
        tensor::declare(),
        verify::declare(),
    ])
}
