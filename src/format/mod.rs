//! Quantised formats: one folder each behind the trait [`Format`], found by [`FormatId`]; what they share lies beside them.

pub(crate) mod amax;
mod encoding;
pub mod fp8;
pub mod fp8_block;
mod group;
mod id;
mod interface;
pub(crate) mod measure;
mod quantise;
mod registry;
mod scale;
pub(crate) mod scale_grid;
mod scale_reading;

pub(crate) use amax::require_finite;
pub use amax::{Amax, AmaxAccumulator, amax, amax_of};
pub use encoding::Encoding;
pub use fp8::{
    Decoder, Encoder, MAX, QuantisationError, Rounding, decode, dequantize, encode, quantisation_error,
    quantize,
};
pub use group::{QuantisedGroup, Wanted, WeightGroup};
pub use id::FormatId;
pub use interface::{Format, ModuleTensor, ModuleTensorKind, ScaleStorage};
pub use scale::{ScaleRule, Scales};
pub use scale_grid::{BLOCK, BLOCK_SIZE, Granularity, ScaleShape};

pub use crate::tensor::Kernel;
