//! What a family's file says of a model, in the terms that the blocks are built from.

use super::backend::{Activation, Heads};
use super::rotary::{Rotary, VisionRotary};

/// A language model.
#[derive(Debug, Clone)]
pub(super) struct TextConfiguration {
    pub hidden: usize,
    pub layers: usize,
    pub heads: Heads,
    pub intermediate: usize,
    pub vocabulary: usize,
    pub epsilon: f32,
    pub activation: Activation,
    /// Whether queries and keys are normalised head by head.
    pub normalises_heads: bool,
    /// How many keys back each block sees; all where there is nothing.
    pub windows: Vec<Option<usize>>,
    pub rotary: Rotary,
    /// Whether the head's weight is that of the embedding.
    pub tied: bool,
}

/// What the perceptron of a vision block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Perceptron {
    /// down(act(gate x) · up x).
    Gated,
    /// Two layers of these names.
    Plain { first: &'static str, second: &'static str },
}

/// The kind of a normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormKind {
    Rms,
    Layer,
}

/// What merges patches into one token: normalisation, two layers with GELU between.
#[derive(Debug, Clone)]
pub(super) struct MergerConfiguration {
    /// The canonical name of the module.
    pub name: String,
    pub norm_name: &'static str,
    pub norm: NormKind,
    /// Whether the patches of a token are normalised together.
    pub norm_after_merge: bool,
    pub first: &'static str,
    pub second: &'static str,
}

/// A vision tower.
#[derive(Debug, Clone)]
pub(super) struct VisionConfiguration {
    pub hidden: usize,
    pub depth: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub output: usize,
    /// Values of a patch: channels × frames × rows × columns.
    pub patch_values: usize,
    pub patch: usize,
    /// Patches on the side of a square that becomes one token.
    pub merge: usize,
    pub norm: NormKind,
    pub perceptron: Perceptron,
    pub activation: Activation,
    pub rotary: VisionRotary,
    /// The side of a window in pixels and the blocks that see the whole picture; nothing where all do.
    pub windows: Option<(usize, Vec<usize>)>,
    /// The side of the square of learned positions, where there are some.
    pub positions: Option<usize>,
    pub merger: MergerConfiguration,
    /// Blocks whose output is merged by the merger beside it and added to the first blocks of the language model, in order.
    pub deepstack: Vec<(usize, MergerConfiguration)>,
}

/// A whole model.
#[derive(Debug, Clone)]
pub(super) struct Blueprint {
    pub text: TextConfiguration,
    pub vision: Option<VisionConfiguration>,
    /// The token that stands for a merged patch.
    pub image_token: Option<u32>,
}
