//! Quantised formats: codes, scales, and what quantising loses.

pub(crate) mod amax;
pub mod fp8;
mod group;
mod id;
mod scale;
pub(crate) mod scale_grid;

pub use amax::{Amax, AmaxAccumulator, amax, amax_of};
pub use fp8::{
    Decoder, Encoder, MAX, QuantisationError, Rounding, UnknownRounding, decode, dequantize, encode,
    quantisation_error, quantize,
};
pub use group::{QuantisedGroup, Wanted, WeightGroup};
pub use id::FormatId;
pub use scale::{Granularity, ScaleRule, Scales, UnknownGranularity};
pub use scale_grid::BLOCK;

pub use crate::tensor::Kernel;

/// Elements a thread takes at a time in the passes over whole tensors; fixed, so that sums do not depend on threads.
const CHUNK: usize = 1 << 18;
