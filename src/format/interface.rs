//! What every quantised format says of itself.

use super::encoding::Encoding;
use super::fp8::QuantisationError;
use super::group::{QuantisedGroup, Wanted, WeightGroup};
use super::id::FormatId;
use super::scale::Scales;
use super::scale_grid::{Granularity, ScaleShape};
use crate::Result;
use crate::tensor::{Dtype, Tensor, TensorSpec};

/// A quantised format: everything that a plan, a writer or a check has to know of it.
pub trait Format: Sync {
    /// What it is called here.
    fn id(&self) -> FormatId;

    /// What the manifests of ModelOpt call it, each with the scales that are meant; the first is what qlua writes itself.
    fn manifest_names(&self) -> &'static [(&'static str, Granularity)];

    /// What people read of its codes, such as `FP8 (E4M3)`.
    fn codes_in_words(&self) -> &'static str;

    /// The last part of the name of the tensor that holds the scales of a weight.
    fn scale_leaf(&self) -> &'static str;

    /// Bits of a weight's code, scales not counted: what AutoQuant counts as the cost. Bytes on disk follow from
    /// [`Format::tensors`].
    fn bits(&self) -> f64;

    /// The scales that it can have.
    fn granularities(&self) -> &'static [Granularity];

    /// Why a weight of `dtype` and `shape` cannot be stored so, or would not be read by the loaders of this format; nothing
    /// where it can.
    fn refuses(&self, dtype: Dtype, shape: &[usize]) -> Option<&'static str>;

    /// Whether Transformers reads it with a quantiser of its own, which leaves some modules alone without being told.
    fn leaves_modules_alone(&self) -> bool {
        false
    }

    /// What is to be said of a plan whose weights have no known shapes, where [`Format::refuses`] asks for more than two
    /// dimensions.
    fn unknown_shapes(&self) -> Option<&'static str> {
        None
    }

    /// The tensors that take the place of a weight of `shape`, codes first, in the order in which they are listed; exact, so
    /// sizes on disk follow from it.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when the format has no such scales, or rows or blocks are asked of what is not [out, in].
    fn tensors(
        &self,
        shape: &[usize],
        encoding: &Encoding,
        storage: &ScaleStorage,
    ) -> Result<Vec<ModuleTensor>>;

    /// Quantises a group on the CPU, with all threads of the current pool.
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`].
    fn quantise(&self, group: &WeightGroup, wanted: Wanted) -> Result<QuantisedGroup>;

    /// The values of codes as BF16, F16 or F32.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `codes` holds none of this format, or the scales do not fit.
    fn decode(&self, codes: &Tensor, scales: &Scales, target: Dtype) -> Result<Tensor>;

    /// What `codes` lose of the weight that they were made from.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when dtypes, shapes or scales do not fit.
    fn error(&self, original: &Tensor, codes: &Tensor, scales: &Scales) -> Result<QuantisationError>;
}

/// How the scales of a module are stored, where a dialect has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScaleStorage {
    /// Whether sizes of one are written.
    pub shape: ScaleShape,
    /// Whether there is a static input scale.
    pub input_scale: bool,
}

/// What a tensor of a quantised module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModuleTensorKind {
    /// The codes of the weight.
    Codes,
    /// The scales of the weight.
    WeightScale,
    /// The scale of the inputs.
    InputScale,
}

/// One tensor of a quantised module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleTensor {
    /// What it is.
    pub kind: ModuleTensorKind,
    /// The last part of its name, such as `weight_scale`.
    pub leaf: &'static str,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl ModuleTensor {
    /// Name, dtype and shape on disk, for the module of this on-disk name.
    pub fn spec(&self, module: &str) -> TensorSpec {
        TensorSpec::new(format!("{module}.{}", self.leaf), self.dtype, self.shape.clone())
    }
}
