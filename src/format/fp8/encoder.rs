//! From weights to codes.

use super::loops::encode_run;
use super::rounding::Rounding;
use crate::format::amax::require_quantisable;
use crate::format::scale::Scales;
use crate::format::scale_grid::{CHUNK, Granularity, ScaleGrid, row_length};
use crate::tensor::{Dtype, Kernel, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::OnceLock;

/// The bit patterns of a 16-bit dtype.
const PATTERNS: usize = 1 << 16;

/// Makes the codes of one tensor, chunk by chunk, from several threads if need be.
pub struct Encoder {
    dtype: Dtype,
    rounding: Rounding,
    grid: ScaleGrid,
    scales: Vec<f32>,
    kernel: Kernel,
    table: OnceLock<Vec<u8>>,
}

impl Encoder {
    /// For a tensor of `dtype` (BF16, F16 or F32) whose rows have `row_length` elements; with a scale per tensor the row
    /// length does not matter.
    ///
    /// # Errors
    /// [`Error::Argument`] for other dtypes, for scales that are not positive and finite, and when their number cannot
    /// fit such rows.
    pub fn new(dtype: Dtype, rounding: Rounding, scales: &Scales, row_length: usize) -> Result<Self> {
        require_quantisable(dtype)?;
        scales.check_values()?;
        let grid = scales.grid(row_length);
        let count = scales.values.len();
        let fits = match scales.granularity {
            Granularity::Tensor => count == 1,
            Granularity::Channel => true,
            Granularity::Block => {
                count == 0 || count.is_multiple_of(row_length.div_ceil(scales.block[1]).max(1))
            }
        };
        if !fits {
            return Err(Error::argument(format!(
                "{count} {} scales do not fit rows of {row_length} elements",
                scales.granularity
            )));
        }
        let (scales, kernel, table) = (scales.values.clone(), Kernel::best(), OnceLock::new());
        Ok(Encoder { dtype, rounding, grid, scales, kernel, table })
    }

    /// The same with the instructions of `kernel` instead of the best; the codes do not change.
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Encoder { kernel, ..self }
    }

    /// Writes the codes of the whole elements in `source`, little-endian and of any alignment; `first_element` is the
    /// row-major index of the first.
    ///
    /// # Panics
    /// When `codes` is not as long as `source` has elements, or the chunk reaches beyond the scales: defects of the
    /// caller.
    pub fn encode(&self, first_element: usize, source: &[u8], codes: &mut [u8]) {
        let size = self.dtype.size();
        assert_eq!(source.len(), codes.len() * size, "one code for each element");
        if let Some(table) = self.table(codes.len()) {
            for (code, element) in codes.iter_mut().zip(source.as_chunks().0) {
                *code = table[usize::from(u16::from_le_bytes(*element))];
            }
            return;
        }
        self.grid.for_each_run(first_element, codes.len(), |scale, run| {
            let source = &source[run.start * size..run.end * size];
            encode_run(self.kernel, self.dtype, self.rounding, self.scales[scale], source, &mut codes[run]);
        });
    }

    /// The codes of all bit patterns, where looking codes up is faster than computing them: without wide vectors, with one
    /// scale for all, and for chunks long enough to repay making the table.
    fn table(&self, elements: usize) -> Option<&[u8; PATTERNS]> {
        let worthwhile = self.kernel == Kernel::BASELINE
            && self.grid.is_uniform()
            && self.dtype.size() == 2
            && elements >= PATTERNS;
        if !worthwhile {
            return None;
        }
        let table = self.table.get_or_init(|| {
            let every: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            let mut codes = vec![0; PATTERNS];
            encode_run(self.kernel, self.dtype, self.rounding, self.scales[0], &every, &mut codes);
            codes
        });
        table.as_array()
    }
}

/// The F8_E4M3 codes of a BF16, F16 or F32 tensor under `scales`.
///
/// # Errors
/// [`Error::Argument`] for other dtypes and for scales that do not fit the tensor's shape.
pub fn quantize(tensor: &Tensor, scales: &Scales, rounding: Rounding) -> Result<Tensor> {
    scales.check(tensor.shape())?;
    let encoder = Encoder::new(tensor.dtype(), rounding, scales, row_length(tensor.shape()))?;
    let mut codes = vec![0; tensor.elements()];
    let chunks = codes.par_chunks_mut(CHUNK).zip(tensor.bytes().par_chunks(CHUNK * tensor.dtype().size()));
    chunks.enumerate().for_each(|(number, (codes, source))| encoder.encode(number * CHUNK, source, codes));
    Ok(Tensor::owned(Dtype::F8E4M3, tensor.shape().to_vec(), codes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BLOCK_SIZE, encode};
    use half::{bf16, f16};
    use proptest::prelude::*;

    const DTYPES: [Dtype; 3] = [Dtype::BF16, Dtype::F16, Dtype::F32];

    /// Element by element, straight from the definition.
    fn by_definition(tensor: &Tensor, scales: &Scales, rounding: Rounding) -> Vec<u8> {
        let input = tensor.shape()[1];
        let code = |(element, value): (usize, f64)| {
            let scale = match scales.granularity {
                Granularity::Tensor => scales.values[0],
                Granularity::Channel => scales.values[element / input],
                Granularity::Block => {
                    scales.values[element / input / 128 * input.div_ceil(128) + element % input / 128]
                }
            };
            let quotient = value as f32 / scale;
            match rounding {
                Rounding::Exact => encode(quotient),
                Rounding::ModelOpt => encode(bf16::from_f32(quotient).to_f32()),
            }
        };
        tensor.to_f64_iter().enumerate().map(code).collect()
    }

    fn bytes_of(dtype: Dtype, values: &[f32]) -> Vec<u8> {
        match dtype {
            Dtype::BF16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]

        #[test]
        fn any_chunking_gives_the_codes_of_the_definition(
            out in 1usize..if cfg!(miri) { 4 } else { 140 },
            input in 1usize..300,
            seed in any::<u32>(),
            chunk in 1usize..2000,
            scale in 1e-6f32..1.0,
        ) {
            let value = |i: usize| (i as u32).wrapping_mul(2654435761).wrapping_add(seed) as i32 as f32 / 3e8;
            let values: Vec<f32> = (0..out * input).map(value).collect();
            for (granularity, shape) in [
                (Granularity::Tensor, vec![]),
                (Granularity::Channel, vec![out, 1]),
                (Granularity::Block, vec![out.div_ceil(128), input.div_ceil(128)]),
            ] {
                let count = shape.iter().product();
                let scales = (0..count).map(|i| scale * (1.0 + i as f32).sqrt()).collect();
                let scales = Scales { granularity, block: BLOCK_SIZE, shape, values: scales };
                for dtype in DTYPES {
                    let tensor = Tensor::owned(dtype, vec![out, input], bytes_of(dtype, &values));
                    for rounding in [Rounding::Exact, Rounding::ModelOpt] {
                        let whole = quantize(&tensor, &scales, rounding).unwrap();
                        prop_assert_eq!(whole.bytes(), by_definition(&tensor, &scales, rounding));
                        let encoder = Encoder::new(dtype, rounding, &scales, input).unwrap();
                        let mut codes = vec![0; out * input];
                        for (number, codes) in codes.chunks_mut(chunk).enumerate() {
                            let start = number * chunk * dtype.size();
                            let source = &tensor.bytes()[start..start + codes.len() * dtype.size()];
                            encoder.encode(number * chunk, source, codes);
                        }
                        prop_assert_eq!(whole.bytes(), codes);
                    }
                }
            }
        }
    }

    #[test]
    fn long_chunks_get_the_codes_of_short_ones_from_every_kernel() -> Result<()> {
        fn shared_by_threads<T: Send + Sync>(value: T) -> T {
            value
        }
        let step = if cfg!(miri) { 61 } else { 1 };
        let every: Vec<u8> =
            (0..=u16::MAX).rev().step_by(step).chain(0..99).flat_map(u16::to_le_bytes).collect();
        for dtype in [Dtype::BF16, Dtype::F16] {
            for rounding in [Rounding::Exact, Rounding::ModelOpt] {
                let mut results = vec![];
                for kernel in Kernel::available() {
                    let encoder = Encoder::new(dtype, rounding, &Scales::tensor(0.0123), 1)?;
                    let encoder = shared_by_threads(encoder.with_kernel(kernel));
                    for chunk in [every.len() / 2, 1000] {
                        let mut codes = vec![0; every.len() / 2];
                        for (codes, source) in codes.chunks_mut(chunk).zip(every.chunks(chunk * 2)) {
                            encoder.encode(0, source, codes);
                        }
                        results.push(codes);
                    }
                }
                assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{dtype} {rounding}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        let new = |dtype, scales: &Scales, row| Encoder::new(dtype, Rounding::Exact, scales, row).is_ok();
        assert!(new(Dtype::BF16, &Scales::tensor(0.5), 7));
        assert!(!new(Dtype::F8E4M3, &Scales::tensor(0.5), 7));
        assert!(!new(Dtype::BF16, &Scales::tensor(0.0), 7));
        let blocks = Scales {
            granularity: Granularity::Block,
            block: BLOCK_SIZE,
            shape: vec![1, 3],
            values: vec![1.0; 3],
        };
        assert!(new(Dtype::BF16, &blocks, 300));
        assert!(!new(Dtype::BF16, &blocks, 256));
        let tensor = Tensor::owned(Dtype::F32, vec![2, 2, 1], vec![0; 16]);
        assert!(quantize(&tensor, &blocks, Rounding::Exact).is_err());
    }

    #[test]
    fn all_zero_weights_get_codes_of_zero() -> Result<()> {
        let tensor = Tensor::owned(Dtype::BF16, vec![2, 2], vec![0; 8]);
        let amax = crate::format::amax(&tensor, Granularity::Channel)?;
        let scales = Scales::from_amax(&amax, crate::format::ScaleRule::F32);
        assert_eq!(scales.values, [1.0, 1.0]);
        assert_eq!(quantize(&tensor, &scales, Rounding::ModelOpt)?.bytes(), [0; 4]);
        Ok(())
    }
}
