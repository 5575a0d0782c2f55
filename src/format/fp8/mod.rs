//! FP8: the E4M3FN code, and the passes over tensors that make and undo it.
//!
//! A weight `w` is stored as an 8-bit code and a scale: `value = code × scale`. The way there is
//! [`amax`](crate::format::amax) → [`ScaleRule`](crate::format::ScaleRule) → [`Encoder`], the way back [`Decoder`];
//! [`QuantisationError`] says what was lost. Each has a form for whole tensors (parallel) and one for chunks of any size
//! (single-threaded, for tensors larger than memory); both give the same bytes at any chunking and any number of threads.

mod code;
mod decoder;
mod encoder;
mod error;
mod error_sums;
mod format;
mod loops;
mod rounding;

pub use code::{MAX, decode, encode};
pub use decoder::{Decoder, dequantize};
pub use encoder::{Encoder, quantize};
pub use error::{QuantisationError, quantisation_error};
pub use format::Fp8Format;
pub(super) use format::{E4M3_IN_WORDS, codes_and_scales, refuses_e4m3};
pub use rounding::Rounding;
