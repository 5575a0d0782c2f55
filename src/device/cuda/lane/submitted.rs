//! A batch that was given to the GPU.

use super::super::abi::PartialError;
use super::super::batch::Batch;
use crate::format::{Wanted, WeightGroup};

/// Bytes that a thread copies at a time.
pub(super) const COPY_BYTES: usize = 1 << 20;

/// What was given to the GPU.
pub(super) struct Submitted {
    pub groups: Vec<WeightGroup>,
    pub wanted: Wanted,
    pub batch: Batch,
}

impl Submitted {
    /// The bytes of the counters and the amax values.
    pub fn state_bytes(&self) -> usize {
        2 * self.first_amax()
    }

    /// Where the amax values begin in the state.
    pub fn first_amax(&self) -> usize {
        4 * self.batch.scale_count
    }

    /// The bytes of the error sums.
    pub fn total_bytes(&self) -> usize {
        if self.wanted.error { self.batch.weights.len() * size_of::<PartialError>() } else { 0 }
    }
}
