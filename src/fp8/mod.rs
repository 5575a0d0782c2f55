//! FP8: the E4M3FN code, scales, and the passes over tensors that make and undo them.
//!
//! A weight `w` is stored as an 8-bit code and a scale: `value = code × scale`. The way there is
//! [`amax`] → [`ScaleRule`] → [`Encoder`], the way back [`Decoder`]; [`QuantisationError`] says what was lost. Each has
//! a form for whole tensors (parallel) and one for chunks of any size (single-threaded, for tensors larger than memory);
//! both give the same bytes at any chunking and any number of threads. A [`Device`] quantises [`WeightGroup`]s on the CPU or
//! on a GPU, again with the same bytes.

pub(crate) mod accelerator;
mod amax;
mod code;
pub mod cuda;
mod decoder;
mod device;
mod encoder;
mod error;
mod group;
mod layout;
mod loops;
mod rounding;
mod scale;

pub use amax::{Amax, AmaxAccumulator, amax, amax_of};
pub use code::{MAX, decode, encode};
pub use decoder::{Decoder, dequantize};
pub use device::{Device, DeviceChoice};
pub use encoder::{Encoder, quantize};
pub use error::{QuantisationError, quantisation_error};
pub use group::{QuantisedGroup, Wanted, WeightGroup};
pub use layout::BLOCK;
pub use rounding::Rounding;
pub use scale::{Granularity, ScaleRule, Scales};

pub use crate::tensor::Kernel;

/// Elements a thread takes at a time in the passes over whole tensors; fixed, so that sums do not depend on threads.
const CHUNK: usize = 1 << 18;
