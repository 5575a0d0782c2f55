//! The largest magnitudes of a tensor, one for each scale.

use super::scale_grid::{BLOCK, BLOCK_SIZE, CHUNK, Granularity, ScaleGrid, row_length};
use crate::tensor::{Dtype, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

pub use crate::tensor::amax_of;

/// The largest magnitudes of one tensor, row-major: what [`super::Scales`] are made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Amax {
    /// How many elements share an amax.
    pub granularity: Granularity,
    /// The shape as [`Granularity`] says.
    pub shape: Vec<usize>,
    /// The largest magnitudes; NaN where there is a NaN, else infinity where there is one, 0 where all is zero.
    pub values: Vec<f32>,
}

impl Amax {
    /// The largest of all, NaN above infinity; 0 when there is none.
    pub fn largest(&self) -> f32 {
        self.values.iter().copied().fold(0.0, larger)
    }

    /// That every value of the tensor was finite; `name` is the tensor's on-disk name.
    ///
    /// # Errors
    /// [`Error::Tensor`] when one was NaN or infinite.
    pub fn check(&self, name: &str) -> Result<()> {
        require_finite(name, self.largest(), "")
    }
}

/// That a weight whose largest magnitude is `amax` is finite; `consequence` ends the sentence.
pub(crate) fn require_finite(name: &str, amax: f32, consequence: &str) -> Result<()> {
    if amax.is_finite() {
        return Ok(());
    }
    let what = if amax.is_nan() { "NaN" } else { "infinite" };
    Err(Error::tensor(name, format!("holds {what} values{consequence}"))
        .with_hint("the checkpoint is damaged, or was saved from a run that had diverged"))
}

/// Collects the amax of a tensor from chunks of it, in any order.
#[derive(Debug, Clone)]
pub struct AmaxAccumulator {
    dtype: Dtype,
    grid: ScaleGrid,
    amax: Amax,
}

impl AmaxAccumulator {
    /// For a tensor of `dtype` and `shape`, before any element.
    ///
    /// # Errors
    /// [`Error::Argument`] when `granularity` is per channel or block and `shape` is not [out, in], and for dtypes other
    /// than BF16, F16 and F32.
    pub fn new(dtype: Dtype, shape: &[usize], granularity: Granularity) -> Result<Self> {
        require_quantisable(dtype)?;
        let scale_shape = granularity.scale_shape(shape)?;
        let values = vec![0.0; scale_shape.iter().product()];
        let grid = ScaleGrid::new(granularity, BLOCK_SIZE, row_length(shape));
        Ok(AmaxAccumulator { dtype, grid, amax: Amax { granularity, shape: scale_shape, values } })
    }

    /// Takes in the whole elements in `bytes`; `first_element` is the row-major index of the first.
    ///
    /// # Panics
    /// When the chunk reaches beyond the tensor: a defect of the caller.
    pub fn push(&mut self, first_element: usize, bytes: &[u8]) {
        let size = self.dtype.size();
        let values = &mut self.amax.values;
        self.grid.for_each_run(first_element, bytes.len() / size, |index, run| {
            let amax = amax_of(self.dtype, &bytes[run.start * size..run.end * size]);
            values[index] = larger(values[index], amax);
        });
    }

    /// Takes in what another accumulator of the same tensor has seen.
    pub fn merge(mut self, other: AmaxAccumulator) -> Self {
        debug_assert_eq!(self.amax.shape, other.amax.shape);
        self.amax.values.iter_mut().zip(other.amax.values).for_each(|(one, two)| *one = larger(*one, two));
        self
    }

    /// The amax of all that was taken in.
    pub fn finish(self) -> Amax {
        self.amax
    }
}

/// The amax of a BF16, F16 or F32 tensor.
///
/// # Errors
/// As [`AmaxAccumulator::new`].
pub fn amax(tensor: &Tensor, granularity: Granularity) -> Result<Amax> {
    let mut whole = AmaxAccumulator::new(tensor.dtype(), tensor.shape(), granularity)?;
    let (size, row) = (tensor.dtype().size(), row_length(tensor.shape()));
    // Whole scale rows for each thread, so that threads share no amax and need no copies of all of them.
    let rows = match granularity {
        Granularity::Tensor => {
            let amax = |chunk: &[u8]| amax_of(tensor.dtype(), chunk);
            let chunks = tensor.bytes().par_chunks(CHUNK * size);
            whole.amax.values[0] = chunks.map(amax).reduce(|| 0.0, larger);
            return Ok(whole.amax);
        }
        Granularity::Channel => CHUNK.div_ceil(row.max(1)),
        Granularity::Block => BLOCK,
    };
    if tensor.elements() == 0 {
        return Ok(whole.amax);
    }
    let AmaxAccumulator { dtype, grid, amax } = &mut whole;
    let values_per_chunk = match granularity {
        Granularity::Block => amax.shape[1],
        _ => rows,
    };
    let chunks = tensor.bytes().par_chunks(rows * row * size);
    chunks.zip(amax.values.par_chunks_mut(values_per_chunk)).for_each(|(bytes, values)| {
        grid.for_each_run(0, bytes.len() / size, |index, run| {
            let amax = amax_of(*dtype, &bytes[run.start * size..run.end * size]);
            values[index] = larger(values[index], amax);
        });
    });
    Ok(whole.amax)
}

/// That `dtype` is one that codes can be made from.
pub(super) fn require_quantisable(dtype: Dtype) -> Result<()> {
    if dtype.is_quantisable() {
        return Ok(());
    }
    Err(Error::argument(format!("FP8 codes can be made from BF16, F16 and F32, not from {dtype}")))
}

/// The larger of two magnitudes, NaN above all.
pub(crate) fn larger(left: f32, right: f32) -> f32 {
    if left.is_nan() || left > right { left } else { right }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(out: usize, input: usize) -> Tensor {
        let values = (0..out * input).map(|i| ((i * 2654435761) % 10007) as f32 - 5000.0);
        let bytes = values.flat_map(|value| half::bf16::from_f32(value).to_le_bytes()).collect();
        Tensor::owned(Dtype::BF16, vec![out, input], bytes)
    }

    /// Element by element, straight from the definition.
    fn by_definition(tensor: &Tensor, granularity: Granularity) -> Vec<f32> {
        let (out, input) = (tensor.shape()[0], tensor.shape()[1]);
        let (height, width) = match granularity {
            Granularity::Tensor => (out, input),
            Granularity::Channel => (1, input),
            Granularity::Block => (128, 128),
        };
        let mut values = vec![0f32; out.div_ceil(height) * input.div_ceil(width)];
        for (element, value) in tensor.to_f64_iter().enumerate() {
            let index = element / input / height * input.div_ceil(width) + element % input / width;
            values[index] = values[index].max(value.abs() as f32);
        }
        values
    }

    #[test]
    fn whole_tensors_and_chunks_in_any_order_agree_with_the_definition() -> Result<()> {
        // Miri takes about a thousand times as long.
        let few = if cfg!(miri) { 3 } else { usize::MAX };
        let shapes = [(1, 1), (3, 300), (129, 5), (3, 1000), (130, 257), (1000, 300), (128, 128)];
        for (out, input) in shapes.into_iter().take(few) {
            let tensor = tensor(out, input);
            for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Block] {
                let whole = amax(&tensor, granularity)?;
                assert_eq!(whole.values, by_definition(&tensor, granularity), "{granularity} {out}×{input}");
                let new = || AmaxAccumulator::new(Dtype::BF16, &[out, input], granularity);
                let (mut odd, mut even) = (new()?, new()?);
                for (number, chunk) in tensor.bytes().chunks(2 * 97).enumerate() {
                    if number % 2 == 0 { &mut even } else { &mut odd }.push(number * 97, chunk);
                }
                assert_eq!(odd.merge(even).finish(), whole);
            }
        }
        Ok(())
    }

    #[test]
    fn nan_and_infinity_are_named_by_the_check() -> Result<()> {
        let tensor =
            |value: f32| Tensor::owned(Dtype::F32, vec![2, 1], [value, 2.0].map(f32::to_le_bytes).concat());
        let check =
            |value| amax(&tensor(value), Granularity::Channel).and_then(|amax| amax.check("blocks.0.weight"));
        assert!(check(1.0).is_ok());
        let message = |value| check(value).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(message(f32::NAN), "tensor `blocks.0.weight` holds NaN values");
        assert_eq!(message(f32::NEG_INFINITY), "tensor `blocks.0.weight` holds infinite values");
        Ok(())
    }

    #[test]
    fn empty_tensors_have_an_amax_and_other_dtypes_none() -> Result<()> {
        for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Block] {
            for shape in [[0, 4], [4, 0]] {
                let empty = Tensor::owned(Dtype::F32, shape.to_vec(), vec![]);
                assert_eq!(amax(&empty, granularity)?.largest(), 0.0);
            }
            assert!(amax(&Tensor::owned(Dtype::F8E4M3, vec![1, 1], vec![0]), granularity).is_err());
        }
        Ok(())
    }
}
