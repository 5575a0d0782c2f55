//! Where the weights and results of a batch lie in memory, and the tables that the kernel reads.

use super::abi::{self, Item, PIECE_BYTES, Piece, Wave};
use super::schedule::{LARGE_WAVE, Tuning, waves};
use crate::format::{BLOCK, Granularity, Rounding, ScaleRule, Wanted, WeightGroup};
use crate::tensor::Dtype;
use crate::{Error, Result};

/// Weights and codes begin at multiples of this.
const ALIGNMENT: usize = 256;
/// The kernel counts the bytes of 16 rows with 32 bits.
const MOST_COLUMNS: usize = 1 << 26;
/// An item of rows reads about this many bytes.
const ROWS_BYTES: usize = 64 << 10;

/// A group's part of a batch.
pub(super) struct GroupOffsets {
    /// Index of its first weight.
    pub first_weight: usize,
    /// Where its amax values begin, and how many there are.
    pub first_scale: usize,
    pub scale_shape: Vec<usize>,
}

/// A weight's place in memory.
pub(super) struct WeightOffsets {
    pub source: usize,
    pub codes: usize,
    pub elements: usize,
}

/// The layout of a batch and the tables of the kernels, with offsets in place of addresses.
#[derive(Default)]
pub(super) struct Batch {
    pub weights: Vec<abi::Weight>,
    pub weight_offsets: Vec<WeightOffsets>,
    pub group_offsets: Vec<GroupOffsets>,
    /// Weights with one scale, piece by piece.
    pub pieces: Vec<Piece>,
    pub waves: Vec<Wave>,
    /// Blocks of threads that share the pieces: as many for every batch, so that error sums do not depend on it.
    pub blocks: usize,
    /// Weights with more scales.
    pub items: Vec<Item>,
    /// Given scales where there are some; as many as `scale_count`, or none at all.
    pub given: Vec<f32>,
    pub scale_count: usize,
    pub part_count: usize,
    pub source_bytes: usize,
    pub code_bytes: usize,
}

impl Batch {
    /// The layout of `groups` for a GPU on which `blocks` blocks of threads run at the same time.
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`]; [`Error::Argument`] for a batch of more than 2^32 rows, columns or pieces.
    pub(super) fn new(
        groups: &[WeightGroup],
        wanted: Wanted,
        blocks: usize,
        tuning: &Tuning,
    ) -> Result<Batch> {
        let whole = |group: &&WeightGroup| group.encoding.granularity == Granularity::Tensor;
        let mut batch = Batch { blocks, ..Batch::default() };
        let mut ends = vec![];
        for group in groups {
            batch.add(group, wanted)?;
            if whole(&group) {
                ends.push(small(batch.pieces.len())?);
            }
        }
        let (mut groups_before, mut first) = (0, 0);
        let bytes: Vec<usize> = groups.iter().filter(whole).map(WeightGroup::bytes).collect();
        for count in waves(bytes.iter().copied(), tuning) {
            let in_wave = groups_before..groups_before + count;
            let end = ends[in_wave.end - 1];
            let cached = u32::from(bytes[in_wave.clone()].iter().sum::<usize>() <= LARGE_WAVE);
            batch.waves.push(Wave { first, count: end - first, cached, padding: 0 });
            (groups_before, first) = (in_wave.end, end);
        }
        small(batch.items.len())?;
        Ok(batch)
    }

    fn add(&mut self, group: &WeightGroup, wanted: Wanted) -> Result<()> {
        let scale_shape = group.scale_shape()?;
        let (first_weight, first_scale) = (self.weights.len(), small(self.scale_count)?);
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        let flags = flag(group.encoding.rounding == Rounding::ModelOpt, abi::MODELOPT)
            | flag(group.encoding.rule == ScaleRule::Bf16Up, abi::BF16_UP)
            | flag(group.scales.is_some(), abi::GIVEN)
            | flag(wanted.codes, abi::CODES);
        let pieces = group.weights.iter().map(|weight| weight.bytes().len().div_ceil(PIECE_BYTES));
        let group_pieces = small(pieces.sum())?;
        for weight in &group.weights {
            let (elements, size) = (weight.elements(), weight.dtype().size());
            let mut entry = abi::Weight {
                source: self.source_bytes as u64,
                codes: self.code_bytes as u64,
                elements: elements as u64,
                first_scale,
                first_part: small(self.part_count)?,
                flags: flags | dtype_flag(weight.dtype()),
                ..abi::Weight::default()
            };
            let parts = match group.encoding.granularity {
                Granularity::Tensor => self.add_pieces(&entry, elements * size, group_pieces),
                granularity => self.add_items(&mut entry, granularity, weight)?,
            };
            entry.parts = small(parts)?;
            self.weights.push(entry);
            self.weight_offsets.push(WeightOffsets {
                source: self.source_bytes,
                codes: self.code_bytes,
                elements,
            });
            self.part_count += parts;
            self.source_bytes += (elements * size).next_multiple_of(ALIGNMENT);
            self.code_bytes += elements.next_multiple_of(ALIGNMENT);
        }
        if let Some(given) = &group.scales {
            self.given.resize(self.scale_count, 0.0);
            self.given.extend_from_slice(&given.values);
        }
        self.group_offsets.push(GroupOffsets {
            first_weight,
            first_scale: self.scale_count,
            scale_shape: scale_shape.clone(),
        });
        self.scale_count += scale_shape.iter().product::<usize>();
        Ok(())
    }

    /// Cuts a weight of `bytes` with one scale into pieces, and gives the number of its parts: one for every block of
    /// threads that has some of its pieces.
    fn add_pieces(&mut self, weight: &abi::Weight, bytes: usize, group_pieces: u32) -> usize {
        let count = bytes.div_ceil(PIECE_BYTES);
        let size = if weight.flags & 3 == dtype_flag(Dtype::F32) { 4 } else { 2 };
        self.pieces.extend((0..count).map(|number| {
            let at = number * PIECE_BYTES;
            Piece {
                source: weight.source + at as u64,
                codes: weight.codes + (at / size) as u64,
                scale: weight.first_scale,
                group_pieces,
                part: weight.first_part + (number % self.blocks) as u32,
                what: weight.flags | (PIECE_BYTES.min(bytes - at) as u32) << abi::BYTES,
            }
        }));
        count.min(self.blocks)
    }

    /// Cuts a matrix into rows or blocks, and gives their number.
    fn add_items(
        &mut self,
        entry: &mut abi::Weight,
        granularity: Granularity,
        weight: &crate::tensor::Tensor,
    ) -> Result<usize> {
        let &[rows, columns] = weight.shape() else {
            return Err(Error::argument("only a matrix has scales for rows or blocks"));
        };
        if columns > MOST_COLUMNS {
            return Err(too_large());
        }
        let rows_per_item =
            (ROWS_BYTES / (columns * weight.dtype().size()).max(1)).max(1).next_multiple_of(8);
        (entry.rows, entry.columns) = (small(rows)?, small(columns)?);
        entry.rows_per_item = small(rows_per_item)?;
        let (kind, count) = match granularity {
            Granularity::Channel => (abi::ROWS, rows.div_ceil(rows_per_item)),
            _ => (0, rows.div_ceil(BLOCK) * columns.div_ceil(BLOCK)),
        };
        let count = if weight.elements() == 0 { 0 } else { small(count)? };
        let what = kind | small(self.weights.len())?;
        self.items.extend((0..count).map(|index| Item { what, index }));
        Ok(count as usize)
    }
}

/// The lowest bits of flags.
fn dtype_flag(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::BF16 => 0,
        Dtype::F16 => 1,
        _ => 2,
    }
}

/// A count or an index as the kernels have it; the highest bit is not for them.
fn small(value: usize) -> Result<u32> {
    u32::try_from(value).ok().filter(|value| value >> 31 == 0).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::argument("the weights are too large for one batch on the GPU")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Encoding;
    use crate::format::Scales;
    use crate::tensor::Tensor;

    fn weight(dtype: Dtype, shape: &[usize]) -> Tensor {
        Tensor::owned(dtype, shape.to_vec(), vec![0; shape.iter().product::<usize>() * dtype.size()])
    }

    #[test]
    fn weights_and_results_do_not_overlap() -> Result<()> {
        let group = |weights, granularity, scales| WeightGroup {
            weights,
            encoding: Encoding::e4m3(granularity, ScaleRule::Bf16Up, Rounding::Exact),
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
        let batch = Batch::new(&groups, wanted, 4, &Tuning::default())?;
        assert_eq!(batch.scale_count, 1 + 9 + 100 + 1 + 1);
        assert_eq!((batch.given.len(), batch.given[111]), (112, 2.0));
        for (spot, next) in batch.weight_offsets.iter().zip(&batch.weight_offsets[1..]) {
            assert!(next.source >= spot.source && next.codes >= spot.codes + spot.elements);
            assert_eq!((next.source % 256, next.codes % 256), (0, 0));
        }
        assert_eq!(batch.weights.iter().map(|w| w.parts as usize).sum::<usize>(), batch.part_count);
        // 30 and 84,000 bytes of a group, and 18 bytes; nothing of an empty weight.
        let pieces: Vec<(u32, u32, u32)> = batch
            .pieces
            .iter()
            .map(|piece| (piece.group_pieces, piece.what >> abi::BYTES, piece.part))
            .collect();
        let first = batch.weights[1].first_part;
        let expected = [(4, 30, 0), (4, 32768, first), (4, 32768, first + 1), (4, 84_000 - 65536, first + 2)];
        assert_eq!(pieces[..4], expected);
        assert_eq!(pieces[4..], [(1, 18, batch.weights[4].first_part)]);
        assert_eq!(batch.waves, [Wave { first: 0, count: 5, cached: 1, padding: 0 }]);
        // 9 blocks of 128×128 and 100 rows.
        assert_eq!(batch.items.len(), 9 + 1);
        assert_eq!(batch.items[9], Item { what: abi::ROWS | 3, index: 0 });
        Ok(())
    }

    #[test]
    fn rows_of_a_group_are_refused() {
        let group = WeightGroup {
            weights: vec![weight(Dtype::BF16, &[2, 2]), weight(Dtype::BF16, &[2, 2])],
            encoding: Encoding::e4m3(Granularity::Channel, ScaleRule::F32, Rounding::Exact),
            scales: None,
        };
        assert!(Batch::new(&[group], Wanted { codes: true, error: false }, 4, &Tuning::default()).is_err());
    }
}
