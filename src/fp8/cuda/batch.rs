//! Where the weights and results of a batch lie in memory, and the tables that the kernel reads.

use super::abi::{self, Item};
use super::schedule::{Planned, Tuning, schedule};
use crate::fp8::{BLOCK, Granularity, Rounding, ScaleRule, Wanted, WeightGroup};
use crate::tensor::Dtype;
use crate::{Error, Result};

/// Weights and codes begin at multiples of this.
const ALIGNMENT: usize = 256;
/// The kernel counts the bytes of 16 rows with 32 bits.
const MOST_COLUMNS: usize = 1 << 26;
/// An item of rows reads about this many bytes.
const ROWS_BYTES: usize = 64 << 10;

/// A group's part of a batch.
pub(super) struct Place {
    /// Index of its first weight.
    pub first_weight: usize,
    /// Where its amax values begin, and how many there are.
    pub first_scale: usize,
    pub scale_shape: Vec<usize>,
}

/// A weight's place in memory.
pub(super) struct Spot {
    pub source: usize,
    pub codes: usize,
    pub elements: usize,
}

/// The layout of a batch and the tables of the kernel, with offsets in place of addresses.
#[derive(Default)]
pub(super) struct Batch {
    pub weights: Vec<abi::Weight>,
    pub spots: Vec<Spot>,
    pub places: Vec<Place>,
    pub items: Vec<Item>,
    /// Given scales where there are some; as many as `scale_count`, or none at all.
    pub given: Vec<f32>,
    pub scale_count: usize,
    pub part_count: usize,
    pub source_bytes: usize,
    pub code_bytes: usize,
    pub chunk_bytes: usize,
}

impl Batch {
    /// The layout of `groups`.
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`]; [`Error::Argument`] for a weight of more than 2^32 rows, columns or pieces.
    pub(super) fn new(groups: &[WeightGroup], wanted: Wanted, tuning: &Tuning) -> Result<Batch> {
        let tuning = &tuning.for_batch(groups.iter().map(WeightGroup::bytes).sum());
        let mut batch = Batch { chunk_bytes: tuning.chunk_bytes, ..Batch::default() };
        let planned: Vec<Planned> =
            groups.iter().map(|group| batch.add(group, wanted, tuning)).collect::<Result<_>>()?;
        batch.items = schedule(&planned, tuning);
        u32::try_from(batch.items.len()).map_err(|_| too_large())?;
        if batch.weights.len() >= 1 << abi::KIND {
            return Err(too_large());
        }
        Ok(batch)
    }

    fn add(&mut self, group: &WeightGroup, wanted: Wanted, tuning: &Tuning) -> Result<Planned> {
        let scale_shape = group.scale_shape()?;
        let (first_weight, first_scale) = (self.weights.len(), self.scale_count);
        let converted = wanted.codes || wanted.error;
        let mut planned = Planned {
            first_weight,
            items: vec![],
            kind: match group.granularity {
                Granularity::Tensor => abi::CONVERT,
                Granularity::Channel => abi::ROWS,
                Granularity::Block => abi::BLOCKS,
            },
            measured: group.scales.is_none(),
            converted,
            bytes: group.bytes(),
        };
        for weight in &group.weights {
            let (elements, size) = (weight.elements(), weight.dtype().size());
            let (rows, columns) = match weight.shape() {
                &[rows, columns] => (rows, columns),
                _ => (1, elements),
            };
            let rows_per_item = (ROWS_BYTES / (columns * size).max(1)).max(1).next_multiple_of(8);
            let items = match group.granularity {
                _ if elements == 0 => 0,
                Granularity::Tensor => (elements * size).div_ceil(tuning.chunk_bytes),
                Granularity::Channel => rows.div_ceil(rows_per_item),
                Granularity::Block => rows.div_ceil(BLOCK) * columns.div_ceil(BLOCK),
            };
            let small = |value: usize| u32::try_from(value).map_err(|_| too_large());
            // Only scales of rows and blocks need to know the rows.
            let matrix = group.granularity != Granularity::Tensor;
            if matrix && columns > MOST_COLUMNS {
                return Err(too_large());
            }
            let dtype = match weight.dtype() {
                Dtype::BF16 => 0,
                Dtype::F16 => 1,
                _ => 2,
            };
            let flag = |set: bool, bit: u32| if set { bit } else { 0 };
            self.weights.push(abi::Weight {
                source: self.source_bytes as u64,
                codes: self.code_bytes as u64,
                elements: elements as u64,
                rows: if matrix { small(rows)? } else { 0 },
                columns: if matrix { small(columns)? } else { 0 },
                rows_per_item: small(rows_per_item)?,
                first_scale: small(first_scale)?,
                first_part: small(self.part_count)?,
                parts: small(items)?,
                group: small(self.places.len())?,
                group_chunks: 0,
                flags: dtype
                    | flag(group.rounding == Rounding::ModelOpt, abi::MODELOPT)
                    | flag(group.rule == ScaleRule::Bf16Up, abi::BF16_UP)
                    | flag(group.scales.is_some(), abi::GIVEN)
                    | flag(wanted.codes, abi::CODES),
                padding: 0,
            });
            self.spots.push(Spot { source: self.source_bytes, codes: self.code_bytes, elements });
            planned.items.push(items);
            self.part_count += items;
            self.source_bytes += (elements * size).next_multiple_of(ALIGNMENT);
            self.code_bytes += elements.next_multiple_of(ALIGNMENT);
        }
        let chunks = u32::try_from(planned.items.iter().sum::<usize>()).map_err(|_| too_large())?;
        self.weights[first_weight..].iter_mut().for_each(|weight| weight.group_chunks = chunks);
        let scales = scale_shape.iter().product::<usize>();
        if let Some(given) = &group.scales {
            self.given.resize(first_scale, 0.0);
            self.given.extend_from_slice(&given.values);
        }
        self.scale_count += scales;
        self.places.push(Place { first_weight, first_scale, scale_shape });
        Ok(planned)
    }
}

fn too_large() -> Error {
    Error::argument("the weights are too large for one batch on the GPU")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fp8::Scales;
    use crate::tensor::Tensor;

    fn weight(dtype: Dtype, shape: &[usize]) -> Tensor {
        Tensor::owned(dtype, shape.to_vec(), vec![0; shape.iter().product::<usize>() * dtype.size()])
    }

    #[test]
    fn weights_and_results_do_not_overlap() -> Result<()> {
        let group = |weights, granularity, scales| WeightGroup {
            weights,
            granularity,
            rule: ScaleRule::Bf16Up,
            rounding: Rounding::Exact,
            scales,
        };
        let groups = [
            group(
                vec![weight(Dtype::BF16, &[3, 5]), weight(Dtype::F32, &[70, 300])],
                Granularity::Tensor,
                None,
            ),
            group(vec![weight(Dtype::F16, &[259, 300])], Granularity::Block, None),
            group(vec![weight(Dtype::BF16, &[100, 7])], Granularity::Channel, None),
            group(vec![weight(Dtype::BF16, &[0, 7])], Granularity::Tensor, None),
            group(vec![weight(Dtype::BF16, &[9])], Granularity::Tensor, Some(Scales::tensor(2.0))),
        ];
        let wanted = Wanted { codes: true, error: true };
        let batch = Batch::new(&groups, wanted, &Tuning::default())?;
        assert_eq!(batch.scale_count, 1 + 9 + 100 + 1 + 1);
        assert_eq!((batch.given.len(), batch.given[111]), (112, 2.0));
        for (spot, next) in batch.spots.iter().zip(&batch.spots[1..]) {
            assert!(next.source >= spot.source && next.codes >= spot.codes + spot.elements);
            assert_eq!((next.source % 256, next.codes % 256), (0, 0));
        }
        assert_eq!(batch.weights.iter().map(|w| w.parts as usize).sum::<usize>(), batch.part_count);
        assert_eq!((batch.weights[0].group_chunks, batch.weights[1].group_chunks), (7, 7));
        assert_eq!(batch.weights[4].group_chunks, 0);
        Ok(())
    }

    #[test]
    fn rows_of_a_group_are_refused() {
        let group = WeightGroup {
            weights: vec![weight(Dtype::BF16, &[2, 2]), weight(Dtype::BF16, &[2, 2])],
            granularity: Granularity::Channel,
            rule: ScaleRule::F32,
            rounding: Rounding::Exact,
            scales: None,
        };
        assert!(Batch::new(&[group], Wanted { codes: true, error: false }, &Tuning::default()).is_err());
    }
}
