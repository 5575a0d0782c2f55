//! What a matrix product reads: rows of F32 values, wherever they come from.

use crate::format::{Granularity, Scales};
use crate::tensor::float::{bf16_to_f32, e4m3_to_f32, f16_to_f32};
use crate::tensor::kernel::for_each_kernel;
use crate::tensor::{Dtype, Kernel, Tensor};

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

/// Rows of another matrix, from `first` on.
pub(crate) struct RowsFrom<'a> {
    pub rows: &'a dyn Rows,
    pub first: usize,
}

impl Rows for RowsFrom<'_> {
    fn read(&self, row: usize, first: usize, values: &mut [f32]) {
        self.rows.read(self.first + row, first, values);
    }
}

/// Rows of a tensor [rows, columns] of BF16, F16 or F32, read where it is mapped.
pub(crate) struct Stored<'a> {
    tensor: &'a Tensor,
    columns: usize,
    kernel: Kernel,
}

impl<'a> Stored<'a> {
    /// Rows of `columns` values; the tensor may have more than two dimensions, of which all but the first are columns.
    pub fn new(tensor: &'a Tensor, columns: usize) -> Self {
        Stored { tensor, columns, kernel: Kernel::best() }
    }
}

impl Rows for Stored<'_> {
    fn read(&self, row: usize, first: usize, values: &mut [f32]) {
        read_with(self.kernel, self.tensor, row * self.columns + first, values);
    }
}

/// The elements of `tensor` from `start` on, as F32.
pub(crate) fn read_elements(tensor: &Tensor, start: usize, values: &mut [f32]) {
    read_with(Kernel::best(), tensor, start, values);
}

fn read_with(kernel: Kernel, tensor: &Tensor, start: usize, values: &mut [f32]) {
    let size = tensor.dtype().size();
    let bytes = &tensor.bytes()[start * size..(start + values.len()) * size];
    match tensor.dtype() {
        Dtype::BF16 => widen_bf16(kernel, bytes, values),
        Dtype::F16 => widen_f16(kernel, bytes, values),
        Dtype::F32 => widen_f32(kernel, bytes, values),
        other => unreachable!("a weight of {other} is not opened"),
    }
}

#[inline(always)]
fn bf16_run(bytes: &[u8], values: &mut [f32]) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *value = bf16_to_f32(u16::from_le_bytes(*bytes));
    }
}

#[inline(always)]
fn f16_run(bytes: &[u8], values: &mut [f32]) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *value = f16_to_f32(u16::from_le_bytes(*bytes));
    }
}

#[inline(always)]
fn f32_run(bytes: &[u8], values: &mut [f32]) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*bytes);
    }
}

#[inline(always)]
fn codes_run(codes: &[u8], scale: f32, values: &mut [f32]) {
    for (value, code) in values.iter_mut().zip(codes) {
        *value = e4m3_to_f32(*code) * scale;
    }
}

for_each_kernel! {
    fn widen_bf16(bytes: &[u8], values: &mut [f32]) = bf16_run;
    fn widen_f16(bytes: &[u8], values: &mut [f32]) = f16_run;
    fn widen_f32(bytes: &[u8], values: &mut [f32]) = f32_run;
    fn widen_codes(codes: &[u8], scale: f32, values: &mut [f32]) = codes_run;
}

/// Rows of FP8 codes × scale.
pub(crate) struct Scaled<'a> {
    codes: &'a [u8],
    columns: usize,
    scales: &'a Scales,
    kernel: Kernel,
}

impl<'a> Scaled<'a> {
    /// Rows of `columns` codes.
    pub fn new(codes: &'a [u8], columns: usize, scales: &'a Scales) -> Self {
        Scaled { codes, columns, scales, kernel: Kernel::best() }
    }
}

impl Rows for Scaled<'_> {
    fn read(&self, row: usize, first: usize, values: &mut [f32]) {
        let start = row * self.columns + first;
        let codes = &self.codes[start..start + values.len()];
        let across = self.columns.div_ceil(self.scales.block[1]);
        let scale_of = |column: usize| match self.scales.granularity {
            Granularity::Tensor => self.scales.values[0],
            Granularity::Channel => self.scales.values[row],
            Granularity::Block => {
                self.scales.values[row / self.scales.block[0] * across + column / self.scales.block[1]]
            }
        };
        let run = match self.scales.granularity {
            Granularity::Block => self.scales.block[1],
            _ => usize::MAX,
        };
        let mut at = 0;
        while at < values.len() {
            let column = first + at;
            let end = values.len().min(at.saturating_add(run - column % run));
            widen_codes(self.kernel, &codes[at..end], scale_of(column), &mut values[at..end]);
            at = end;
        }
    }
}
