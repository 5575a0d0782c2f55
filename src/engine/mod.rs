//! The engine: forward and reverse passes of the supported architectures, one block at a time over all samples.
//!
//! From it come calibration (amax of every input), sensitivity scores, quality of schemes, and generation. The arithmetic of
//! quantisation is that of [`crate::format`], so what is measured is what is exported.

mod sample;

pub use sample::{Picture, Sample};
