//! What a matrix product reads: rows of F32 values, wherever they come from.

use crate::format::Scales;
use crate::tensor::float::{bf16_to_f32, f16_to_f32};
use crate::tensor::{Dtype, Tensor};

/// A matrix that is read row by row. Whoever packs it for a product decides in which pieces.
pub(crate) trait Rows: Sync {
    /// Writes the columns `first .. first + values.len()` of row `row` into `values`.
    fn read(&self, row: usize, first: usize, values: &mut [f32]);
}

/// Rows of F32 values in memory, `stride` values apart.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

impl Rows for Strided<'_> {
    fn read(&self, row: usize, first: usize, values: &mut [f32]) {
        let start = row * self.stride + first;
        values.copy_from_slice(&self.values[start..start + values.len()]);
    }
}

/// Rows of a tensor [rows, columns] of BF16, F16 or F32, read where it is mapped.
pub(crate) struct Stored<'a> {
    pub tensor: &'a Tensor,
    /// Columns of the matrix; the tensor may have more than two dimensions, of which all but the first are columns.
    pub columns: usize,
}

impl Rows for Stored<'_> {
    fn read(&self, row: usize, first: usize, values: &mut [f32]) {
        let start = row * self.columns + first;
        read_elements(self.tensor, start, values);
    }
}

/// The elements of `tensor` from `start` on, as F32.
pub(crate) fn read_elements(tensor: &Tensor, start: usize, values: &mut [f32]) {
    let size = tensor.dtype().size();
    let bytes = &tensor.bytes()[start * size..(start + values.len()) * size];
    match tensor.dtype() {
        Dtype::BF16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16_to_f32(u16::from_le_bytes(*bytes));
            }
        }
        Dtype::F16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16_to_f32(u16::from_le_bytes(*bytes));
            }
        }
        Dtype::F32 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        other => unreachable!("a weight of {other} is not opened"),
    }
}

/// Rows of FP8 codes × scale.
pub(crate) struct Scaled<'a> {
    pub codes: &'a [u8],
    pub columns: usize,
    pub scales: &'a Scales,
    /// The value of each code.
    pub table: &'a [f32; 256],
}

impl Rows for Scaled<'_> {
    fn read(&self, row: usize, first: usize, values: &mut [f32]) {
        let start = row * self.columns + first;
        let codes = &self.codes[start..start + values.len()];
        let across = self.columns.div_ceil(self.scales.block[1]);
        let scale_of = |column: usize| match self.scales.granularity {
            crate::format::Granularity::Tensor => self.scales.values[0],
            crate::format::Granularity::Channel => self.scales.values[row],
            crate::format::Granularity::Block => {
                self.scales.values[row / self.scales.block[0] * across + column / self.scales.block[1]]
            }
        };
        let run = match self.scales.granularity {
            crate::format::Granularity::Block => self.scales.block[1],
            _ => usize::MAX,
        };
        let mut at = 0;
        while at < values.len() {
            let column = first + at;
            let end = values.len().min(at.saturating_add(run - column % run));
            let scale = scale_of(column);
            for (value, code) in values[at..end].iter_mut().zip(&codes[at..end]) {
                *value = self.table[usize::from(*code)] * scale;
            }
            at = end;
        }
    }
}
