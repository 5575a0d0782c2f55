//! What goes into an output tensor, described before anything is read.

use std::sync::Arc;

use crate::format::{Granularity, Rounding, ScaleRule, Scales};
use crate::tensor::{Tensor, TensorSpec};

/// An output tensor: its place in the file and where its bytes come from.
#[derive(Clone)]
pub struct OutputTensor {
    /// Name, dtype and shape on disk.
    pub spec: TensorSpec,
    /// Its bytes.
    pub content: Content,
}

/// The source of a tensor's bytes.
#[derive(Clone)]
pub enum Content {
    /// As they are; dtype and element count equal those of the specification.
    Bytes(Tensor),
    /// Converted to the dtype of the specification, rounded to nearest even.
    Cast(Tensor),
    /// E4M3 codes of a member of a scale group.
    Codes(Member),
    /// The scales of a member of a scale group, in the dtype of the specification.
    WeightScale(Member),
    /// `code × scale`, rounded to the dtype of the specification.
    Dequantised {
        /// The E4M3 codes.
        codes: Tensor,
        /// Their scales.
        scales: Arc<Scales>,
    },
}

/// A weight and the group that its scale comes from.
#[derive(Clone)]
pub struct Member {
    /// The group.
    pub group: Arc<ScaleGroup>,
    /// Index into [`ScaleGroup::weights`].
    pub index: usize,
}

/// Weights that are quantised with one rule; with [`Granularity::Tensor`] they share the scale of their largest amax.
pub struct ScaleGroup {
    /// On-disk names (for errors) and BF16, F16 or F32 values.
    pub weights: Vec<(String, Tensor)>,
    /// One scale for the group, or per row or block of its only weight.
    pub granularity: Granularity,
    /// From amax to scale.
    pub rule: ScaleRule,
    /// From quotient to code.
    pub rounding: Rounding,
}
