//! What is known of a tensor before its bytes: name, dtype and shape.

use super::Dtype;

/// Name, dtype and shape of one tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// On-disk name, such as `model.layers.0.mlp.up_proj.weight`.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A specification from its parts.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<usize>>) -> Self {
        TensorSpec { name: name.into(), dtype, shape: shape.into() }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// Size of the data in bytes.
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes_of(self.elements())
    }
}
