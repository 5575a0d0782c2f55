//! The amax of a group, measured in parts of any order by any thread; and its codes, once the scales are known.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use super::amax::{Amax, AmaxAccumulator};
use super::fp8::{Encoder, QuantisationError};
use super::group::WeightGroup;
use super::scale::Scales;
use super::scale_grid::{BLOCK, Granularity, row_length};
use crate::Result;
use crate::tensor::{Tensor, amax_of};

/// Elements whose amax is taken at a time: they are still in the cache when the source is hashed.
const SPAN: usize = 512 * 1024;

/// Some elements of one weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The weight, as an index into [`WeightGroup::weights`].
    pub member: usize,
    /// Its elements.
    pub elements: Range<usize>,
}

impl Span {
    /// Where the elements lie among the bytes of the weight.
    pub fn bytes(&self, weight: &Tensor) -> Range<usize> {
        let size = weight.dtype().size();
        self.elements.start * size..self.elements.end * size
    }
}

/// The amax of a group in the making. It does not depend on who measures what, and when.
pub(crate) struct GroupAmax {
    granularity: Granularity,
    shape: Vec<usize>,
    spans: Vec<Span>,
    /// Bits of F32 magnitudes, ordered as the values are, with NaN above infinity.
    bits: Vec<AtomicU32>,
}

impl GroupAmax {
    /// Nothing measured yet.
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`].
    pub fn new(group: &WeightGroup) -> Result<Self> {
        let (granularity, shape) = (group.encoding.granularity, group.scale_shape()?);
        let bits = (0..shape.iter().product()).map(|_| AtomicU32::new(0)).collect();
        let weights = group.weights.iter().enumerate();
        let spans = weights.flat_map(|(member, weight)| spans(member, weight, granularity)).collect();
        Ok(GroupAmax { granularity, shape, spans, bits })
    }

    /// What is to be measured, each once, in the order of the weights.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Takes in `span` of `weight`, and gives the largest magnitude in it.
    ///
    /// # Errors
    /// None for the weights that this was made for.
    pub fn measure(&self, weight: &Tensor, span: &Span) -> Result<f32> {
        let bytes = &weight.bytes()[span.bytes(weight)];
        let (first, values) = match (self.granularity, weight.shape()) {
            (Granularity::Tensor, _) => (0, vec![amax_of(weight.dtype(), bytes)]),
            (granularity, &[_, input]) if input > 0 => {
                // Whole rows of scales, so that they can be measured as a tensor of their own.
                let rows = span.elements.len() / input;
                let mut part = AmaxAccumulator::new(weight.dtype(), &[rows, input], granularity)?;
                part.push(0, bytes);
                let first = match granularity {
                    Granularity::Block => span.elements.start / input / BLOCK * input.div_ceil(BLOCK),
                    _ => span.elements.start / input,
                };
                (first, part.finish().values)
            }
            _ => (0, vec![]),
        };
        let mut largest = 0;
        for (slot, value) in self.bits[first..].iter().zip(values) {
            let bits = value.to_bits();
            slot.fetch_max(bits, Ordering::Relaxed);
            largest = bits.max(largest);
        }
        Ok(f32::from_bits(largest))
    }

    /// The amax of all that was measured.
    pub fn finish(&self) -> Amax {
        let values = self.bits.iter().map(|bits| f32::from_bits(bits.load(Ordering::Relaxed))).collect();
        Amax { granularity: self.granularity, shape: self.shape.clone(), values }
    }
}

/// Where scales belong to rows or blocks, a span is made of whole rows of them. An empty weight still has one, for its group
/// to be measured at all.
fn spans(member: usize, weight: &Tensor, granularity: Granularity) -> impl Iterator<Item = Span> {
    let unit = match (granularity, weight.shape()) {
        (Granularity::Channel, &[_, input]) => input,
        (Granularity::Block, &[_, input]) => input * BLOCK,
        _ => 1,
    };
    let step = (SPAN / unit.max(1)).max(1) * unit.max(1);
    let elements = weight.elements();
    let starts = (0..elements.max(1)).step_by(step);
    starts.map(move |start| Span { member, elements: start..elements.min(start + step) })
}

/// Makes the codes of a group whose scales are known, range by range, from several threads if need be.
pub(crate) struct GroupEncoder {
    scales: Scales,
    /// One for each weight.
    encoders: Vec<Encoder>,
}

impl GroupEncoder {
    /// For the weights of `group`.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    pub fn new(group: &WeightGroup, scales: Scales) -> Result<Self> {
        let encoder = |weight: &Tensor| {
            Encoder::new(weight.dtype(), group.encoding.rounding, &scales, row_length(weight.shape()))
        };
        let encoders = group.weights.iter().map(encoder).collect::<Result<_>>()?;
        Ok(GroupEncoder { scales, encoders })
    }

    /// The scales.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// Writes the codes of the whole elements in `source`, from element `first` of weight `member` on.
    pub fn encode(&self, member: usize, first: usize, source: &[u8], codes: &mut [u8]) {
        self.encoders[member].encode(first, source, codes);
    }

    /// What these codes lose.
    ///
    /// # Errors
    /// As [`QuantisationError::of_chunk`].
    pub fn error(
        &self,
        weight: &Tensor,
        first: usize,
        source: &[u8],
        codes: &[u8],
    ) -> Result<QuantisationError> {
        let row = row_length(weight.shape());
        QuantisationError::of_chunk(weight.dtype(), &self.scales, row, first, source, codes)
    }
}
