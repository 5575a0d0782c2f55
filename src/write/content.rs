//! What goes into an output tensor, described before anything is read.

use std::sync::Arc;

use crate::format::{Encoding, Scales};
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

/// Weights that are quantised in one way; with one scale per tensor they share that of their largest amax.
pub struct ScaleGroup {
    /// On-disk names (for errors) and BF16, F16 or F32 values.
    pub weights: Vec<(String, Tensor)>,
    /// The way.
    pub encoding: Encoding,
}
