//! What came of a batch, read from the page-locked memory that the GPU wrote it to.

use rayon::prelude::*;

use super::super::abi::PartialError;
use super::submitted::{COPY_BYTES, Submitted};
use crate::format::{Amax, QuantisationError, QuantisedGroup, WeightGroup};
use crate::tensor::{Dtype, Tensor};

/// The results of a batch, in the lane's page-locked memory.
pub struct BatchResults<'a> {
    pub(super) submitted: &'a Submitted,
    pub(super) codes: &'a [u8],
    pub(super) results: &'a [u8],
}

impl BatchResults<'_> {
    /// The groups as they were submitted.
    pub fn groups(&self) -> &[WeightGroup] {
        &self.submitted.groups
    }

    /// The amax of group `number`; nothing when its scales were given.
    pub fn amax(&self, number: usize) -> Option<Amax> {
        let (group, place) = (&self.submitted.groups[number], &self.submitted.batch.group_offsets[number]);
        if group.scales.is_some() {
            return None;
        }
        let count = place.scale_shape.iter().product::<usize>();
        let first = self.submitted.first_amax() + 4 * place.first_scale;
        let bits = self.results[first..first + 4 * count].as_chunks().0;
        let values = bits.iter().map(|bits| f32::from_le_bytes(*bits)).collect();
        Some(Amax { granularity: group.encoding.granularity, shape: place.scale_shape.clone(), values })
    }

    /// Amax, scales and errors of group `number`, without its codes.
    pub fn group(&self, number: usize) -> QuantisedGroup {
        let group = &self.submitted.groups[number];
        let mut quantised = QuantisedGroup::before_codes(group, self.amax(number));
        if self.submitted.wanted.error && quantised.is_finite() {
            let first = self.submitted.batch.group_offsets[number].first_weight;
            quantised.errors = (0..group.weights.len()).map(|member| self.error(first + member)).collect();
        }
        quantised
    }

    /// The codes of weight `member` of group `number`; meaningless when the group is not finite or no codes were wanted.
    pub fn codes(&self, number: usize, member: usize) -> &[u8] {
        let spot = &self.submitted.batch.weight_offsets
            [self.submitted.batch.group_offsets[number].first_weight + member];
        &self.codes[spot.codes..spot.codes + spot.elements]
    }

    /// All groups, with copies of their codes.
    pub fn to_groups(&self) -> Vec<QuantisedGroup> {
        let numbers = 0..self.submitted.groups.len();
        numbers
            .map(|number| {
                let mut quantised = self.group(number);
                if self.submitted.wanted.codes && quantised.is_finite() {
                    let weights = self.submitted.groups[number].weights.iter().enumerate();
                    quantised.codes = weights
                        .map(|(member, weight)| {
                            let codes = copy_of(self.codes(number, member));
                            Tensor::owned(Dtype::F8E4M3, weight.shape().to_vec(), codes)
                        })
                        .collect();
                }
                quantised
            })
            .collect()
    }

    fn error(&self, weight: usize) -> QuantisationError {
        let elements = self.submitted.batch.weight_offsets[weight].elements as u64;
        let at = self.submitted.state_bytes() + weight * size_of::<PartialError>();
        let bytes = &self.results[at..at + size_of::<PartialError>()];
        let f64_at = |at: usize| f64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        QuantisationError {
            elements,
            sum_squared_error: f64_at(0),
            sum_squares: f64_at(8),
            max_error: f32::from_bits(u32_at(16)).into(),
            saturated: u32_at(20).into(),
            zeroed: u32_at(24).into(),
        }
    }
}

/// A copy made by all threads: first of all, its pages are made here.
fn copy_of(bytes: &[u8]) -> Vec<u8> {
    let mut copy = vec![0; bytes.len()];
    let parts = copy.par_chunks_mut(COPY_BYTES).zip(bytes.par_chunks(COPY_BYTES));
    parts.for_each(|(to, from)| to.copy_from_slice(from));
    copy
}
