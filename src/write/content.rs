//! What goes into an output tensor, described before anything is read.

use std::sync::Arc;

use crate::format::{Encoding, FormatId, Scales, WeightGroup};
use crate::tensor::{Tensor, TensorSpec};

/// An output tensor: its place in the file and where its bytes come from.
#[derive(Clone)]
pub struct OutputTensor {
    /// Name, dtype and shape on disk.
    pub spec: TensorSpec,
    /// Its bytes.
    pub content: Content,
}

/// The form that a tensor has: what tells it from others of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Part of a module in this format.
    Quantised(FormatId),
    /// As it would be with nothing quantised.
    Unquantised,
}

impl Form {
    /// A stable word: keys of stored shards are made from it.
    pub const fn id(self) -> &'static str {
        match self {
            Form::Quantised(format) => format.id(),
            Form::Unquantised => "unquantised",
        }
    }
}

impl OutputTensor {
    /// Its form.
    pub fn form(&self) -> Form {
        match &self.content {
            Content::Codes(member) | Content::WeightScale(member) => {
                Form::Quantised(member.group.encoding.format)
            }
            Content::InputScale { format, .. } => Form::Quantised(*format),
            Content::Bytes(_) | Content::Cast(_) | Content::Dequantised { .. } => Form::Unquantised,
        }
    }
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
    /// A given scale of the inputs of a module in `format`; dtype and element count equal those of the specification.
    InputScale {
        /// The format of the module.
        format: FormatId,
        /// The scale.
        scale: Tensor,
    },
    /// `code × scale`, rounded to the dtype of the specification.
    Dequantised {
        /// The E4M3 codes.
        codes: Tensor,
        /// Their scales.
        scales: Arc<Scales>,
    },
}

impl Content {
    /// The tensors of a checkpoint that it is made from.
    pub(crate) fn sources(&self) -> Vec<&Tensor> {
        match self {
            Content::Bytes(tensor) | Content::Cast(tensor) | Content::Dequantised { codes: tensor, .. } => {
                vec![tensor]
            }
            Content::Codes(member) | Content::WeightScale(member) => {
                member.group.weights.iter().map(|(_, weight)| weight).collect()
            }
            Content::InputScale { .. } => vec![],
        }
    }
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

impl ScaleGroup {
    /// The weights without their names.
    pub fn weight_group(&self) -> WeightGroup {
        let weights = self.weights.iter().map(|(_, weight)| weight.clone()).collect();
        WeightGroup { weights, encoding: self.encoding, scales: None }
    }
}
