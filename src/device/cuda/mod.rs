//! FP8 on NVIDIA GPUs: kernels/, whose PTX is part of this program, driven through the driver's library alone.
//!
//! A [`Lane`] takes a batch of [`crate::format::WeightGroup`]s through a [`Gpu`]; [`quantise_batches`] keeps a few lanes busy.

mod abi;
mod batch;
mod decode;
mod gpu;
mod gpus;
mod lane;
mod memory;
mod pipeline;
mod schedule;

pub use gpu::Gpu;
pub use gpus::Gpus;
pub use lane::{BatchResults, Lane};
pub use pipeline::{into_batches, quantise_batches};
pub use schedule::Tuning;
