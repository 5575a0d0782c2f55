//! How many scales there are, what shape they have, and which one an element belongs to. The rule stands here alone.

use crate::words::words;
use crate::{Error, Result};
use std::ops::Range;

/// Rows and columns of a block of [`Granularity::Block`].
pub const BLOCK: usize = 128;

/// Rows and columns of the blocks that qlua writes.
pub const BLOCK_SIZE: [usize; 2] = [BLOCK, BLOCK];

/// Elements a thread takes at a time in the passes over whole tensors; fixed, so that sums do not depend on threads.
pub(super) const CHUNK: usize = 1 << 18;

words! {
    /// How many elements share a scale.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Granularity: "granularity" {
        /// One for the tensor, shape [].
        Tensor = "tensor",
        /// One for each row of [out, in], shape [out, 1].
        Channel = "channel",
        /// One for each 128×128 block of [out, in], shape [ceil(out / 128), ceil(in / 128)].
        Block = "block",
    }
}

impl Granularity {
    /// The shape of the scales of a tensor of `shape`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a granularity other than per tensor meets a tensor that is not [out, in].
    pub fn scale_shape(self, shape: &[usize]) -> Result<Vec<usize>> {
        self.shape_of_scales(shape, BLOCK_SIZE)
    }

    /// The same for blocks of so many rows and columns.
    ///
    /// # Errors
    /// As [`Granularity::scale_shape`].
    pub fn shape_of_scales(self, shape: &[usize], block: [usize; 2]) -> Result<Vec<usize>> {
        match (self, shape) {
            (Granularity::Tensor, _) => Ok(vec![]),
            (Granularity::Channel, &[out, _]) => Ok(vec![out, 1]),
            (Granularity::Block, &[out, input]) => Ok(vec![out.div_ceil(block[0]), input.div_ceil(block[1])]),
            _ => Err(Error::argument(format!(
                "{self} scales need a tensor of two dimensions, but its shape is {shape:?}"
            ))),
        }
    }
}

/// How the shape of scales is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleShape {
    /// One for the tensor is `[1]`, one for each row `[out, 1]`: compressed-tensors.
    WithOnes,
    /// One for the tensor is `[]`, one for each row `[out]`: ModelOpt.
    WithoutOnes,
}

impl ScaleShape {
    /// Both.
    pub const ALL: [ScaleShape; 2] = [ScaleShape::WithOnes, ScaleShape::WithoutOnes];

    /// The shape on disk of the scales of a weight of `shape`.
    ///
    /// # Errors
    /// As [`Granularity::scale_shape`].
    pub fn of(self, granularity: Granularity, shape: &[usize]) -> Result<Vec<usize>> {
        let mut scales = granularity.scale_shape(shape)?;
        match (self, granularity) {
            (ScaleShape::WithOnes, Granularity::Tensor) => scales.push(1),
            (ScaleShape::WithoutOnes, Granularity::Channel) => scales.truncate(1),
            _ => {}
        }
        Ok(scales)
    }
}

/// The elements of one row: the last dimension where there are two, else all.
pub(crate) fn row_length(shape: &[usize]) -> usize {
    match shape {
        &[_, input] => input,
        _ => shape.iter().product(),
    }
}

/// Cuts row-major elements into runs that share a scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScaleGrid {
    granularity: Granularity,
    block: [usize; 2],
    row_length: usize,
}

impl ScaleGrid {
    /// `block` has the rows and columns of a block.
    pub(super) fn new(granularity: Granularity, block: [usize; 2], row_length: usize) -> ScaleGrid {
        ScaleGrid { granularity, block, row_length }
    }

    /// Whether all elements share one scale.
    pub(super) fn is_uniform(&self) -> bool {
        self.granularity == Granularity::Tensor
    }

    /// Calls `run(scale, elements)` for each run of the elements from `first` to `first + count` in order; `scale` is an
    /// index into the scales, `elements` counts from `first`.
    #[inline]
    pub(super) fn for_each_run(&self, first: usize, count: usize, mut run: impl FnMut(usize, Range<usize>)) {
        let (height, width) = match self.granularity {
            Granularity::Tensor if count == 0 => return,
            Granularity::Tensor => return run(0, 0..count),
            Granularity::Channel => (1, self.row_length),
            Granularity::Block => (self.block[0], self.block[1]),
        };
        if count == 0 {
            return;
        }
        let scales_per_row = self.row_length.div_ceil(width);
        let (mut row, mut column) = (first / self.row_length, first % self.row_length);
        let mut done = 0;
        while done < count {
            let block = column / width;
            let end = self.row_length.min((block + 1) * width);
            let length = (end - column).min(count - done);
            run(row / height * scales_per_row + block, done..done + length);
            done += length;
            column += length;
            if column == self.row_length {
                (row, column) = (row + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_gets_the_scale_of_its_row_or_block_at_any_chunking() {
        // Miri takes about a thousand times as long.
        let few = if cfg!(miri) { 2 } else { usize::MAX };
        for (out, input) in
            [(3, 5), (2, 129), (2, 256), (257, 1), (129, 128), (130, 300)].into_iter().take(few)
        {
            let granularities = [Granularity::Tensor, Granularity::Channel, Granularity::Block];
            let blocks = [BLOCK_SIZE, [64, 64], [1, 128], [32, 100]];
            for (granularity, block) in granularities.into_iter().flat_map(|g| blocks.map(|block| (g, block)))
            {
                let grid = ScaleGrid::new(granularity, block, input);
                for chunk in [1, 7, 128, 1000, out * input] {
                    let mut scales = vec![];
                    for first in (0..out * input).step_by(chunk) {
                        let count = chunk.min(out * input - first);
                        grid.for_each_run(first, count, |scale, range| {
                            assert_eq!(first + range.start, scales.len());
                            scales.extend(range.map(|_| scale));
                        });
                    }
                    let expected = (0..out * input).map(|element| match granularity {
                        Granularity::Tensor => 0,
                        Granularity::Channel => element / input,
                        Granularity::Block => {
                            element / input / block[0] * input.div_ceil(block[1]) + element % input / block[1]
                        }
                    });
                    assert!(expected.eq(scales), "{granularity} {out}×{input} by {chunk}");
                }
            }
        }
    }

    #[test]
    fn scales_have_the_shape_that_their_granularity_says() {
        let shape = |granularity: Granularity, shape: &[usize]| granularity.scale_shape(shape).ok();
        assert_eq!(shape(Granularity::Tensor, &[3, 4, 5]), Some(vec![]));
        assert_eq!(shape(Granularity::Channel, &[3, 4]), Some(vec![3, 1]));
        assert_eq!(shape(Granularity::Block, &[129, 128]), Some(vec![2, 1]));
        assert_eq!(shape(Granularity::Block, &[128]), None);
        assert_eq!(shape(Granularity::Channel, &[3, 4, 5]), None);
    }

    #[test]
    fn on_disk_ones_are_there_or_not() {
        let shapes = |granularity| ScaleShape::ALL.map(|form| form.of(granularity, &[130, 260]).unwrap());
        assert_eq!(shapes(Granularity::Tensor), [vec![1], vec![]]);
        assert_eq!(shapes(Granularity::Channel), [vec![130, 1], vec![130]]);
        assert_eq!(shapes(Granularity::Block), [vec![2, 3], vec![2, 3]]);
    }

    #[test]
    fn granularities_are_read_as_they_are_shown() {
        for &granularity in Granularity::ALL {
            assert_eq!(granularity.to_string().parse().ok(), Some(granularity));
        }
        let error = "blok".parse::<Granularity>().unwrap_err();
        assert_eq!(error.to_string(), "there is no granularity `blok`");
        assert!(error.hint().unwrap().starts_with("did you mean `block`?"));
    }
}
