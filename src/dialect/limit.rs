//! What an engine gets wrong or rejects whatever is written: how it is put.

use super::engine::Engine;
use super::id::DialectId;
use crate::plan::Activations;

/// Which FP8 layers a limit concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Everything,
    /// Those of the vision tower.
    Vision,
    /// What joins an encoder to the language model.
    Merger,
}

/// What an engine gets wrong or rejects, whatever is written beside the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The engine.
    pub engine: Engine,
    /// Values of `architectures`; none for all.
    pub architectures: &'static [&'static str],
    /// Dialects; none for all.
    pub dialects: &'static [DialectId],
    /// The kind of activations; nothing for both.
    pub activations: Option<Activations>,
    /// The layers.
    pub scope: Scope,
    /// What happens, as a sentence that begins with the engine.
    pub reason: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}
