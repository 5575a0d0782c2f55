//! From codes back to weights.

use super::loops::decode_run;
use crate::format::scale::Scales;
use crate::format::scale_grid::{CHUNK, ScaleGrid, row_length};
use crate::tensor::{Dtype, Kernel, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// Turns the codes of one tensor back into values, chunk by chunk, from several threads if need be.
pub struct Decoder {
    target: Dtype,
    grid: ScaleGrid,
    scales: Vec<f32>,
    kernel: Kernel,
}

impl Decoder {
    /// For codes in rows of `row_length` elements, to values of `target` (BF16, F16 or F32). Scales may be any number, as
    /// a loader takes them.
    ///
    /// # Errors
    /// [`Error::Argument`] for other targets.
    pub fn new(scales: &Scales, target: Dtype, row_length: usize) -> Result<Self> {
        if !target.is_quantisable() {
            return Err(Error::argument(format!(
                "codes can be turned into BF16, F16 or F32, not into {target}"
            )));
        }
        let grid = scales.grid(row_length);
        Ok(Decoder { target, grid, scales: scales.values.clone(), kernel: Kernel::best() })
    }

    /// The same with the instructions of `kernel` instead of the best; the values do not change.
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Decoder { kernel, ..self }
    }

    /// Writes `code × scale`, computed in F32 and then rounded to nearest even, as little-endian elements of the target
    /// dtype; `first_element` is the row-major index of the first code.
    ///
    /// # Panics
    /// When `values` does not have room for exactly the values of `codes`, or the chunk reaches beyond the scales: defects
    /// of the caller.
    pub fn decode(&self, first_element: usize, codes: &[u8], values: &mut [u8]) {
        let size = self.target.size();
        assert_eq!(values.len(), codes.len() * size, "room for one value for each code");
        self.grid.for_each_run(first_element, codes.len(), |index, run| {
            let (codes, values) = (&codes[run.clone()], &mut values[run.start * size..run.end * size]);
            decode_run(self.kernel, self.target, self.scales[index], codes, values);
        });
    }
}

/// The values of F8_E4M3 codes as BF16, F16 or F32: `code × scale`, computed in F32 and then rounded to nearest even.
///
/// # Errors
/// [`Error::Argument`] when `codes` is not F8_E4M3, `target` is another dtype, or the scales do not fit the shape.
pub fn dequantize(codes: &Tensor, scales: &Scales, target: Dtype) -> Result<Tensor> {
    if codes.dtype() != Dtype::F8E4M3 {
        return Err(Error::argument(format!("only F8_E4M3 tensors hold codes, not {}", codes.dtype())));
    }
    scales.check_shape(codes.shape())?;
    let decoder = Decoder::new(scales, target, row_length(codes.shape()))?;
    let mut values = vec![0; codes.elements() * target.size()];
    let chunks = values.par_chunks_mut(CHUNK * target.size()).zip(codes.bytes().par_chunks(CHUNK));
    chunks.enumerate().for_each(|(number, (values, codes))| decoder.decode(number * CHUNK, codes, values));
    Ok(Tensor::owned(target, codes.shape().to_vec(), values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BLOCK_SIZE, Granularity};
    use half::{bf16, f16};

    #[test]
    fn a_value_is_code_times_scale_in_f32_rounded_to_the_target() -> Result<()> {
        let (out, input) = if cfg!(miri) { (3, 130) } else { (259, 300) };
        let codes = Tensor::owned(
            Dtype::F8E4M3,
            vec![out, input],
            (0..out * input).map(|i| (i % 255) as u8).collect(),
        );
        for (granularity, shape) in [
            (Granularity::Tensor, vec![]),
            (Granularity::Channel, vec![out]),
            (Granularity::Block, vec![out.div_ceil(128), input.div_ceil(128)]),
        ] {
            let count = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|i| 1e-4 * (1.0 + i as f32).sqrt()).collect();
            let scales = Scales { granularity, block: BLOCK_SIZE, shape, values };
            let expected = |element: usize| {
                let (row, column) = (element / input, element % input);
                let index = match granularity {
                    Granularity::Tensor => 0,
                    Granularity::Channel => row,
                    Granularity::Block => row / 128 * input.div_ceil(128) + column / 128,
                };
                float8::F8E4M3::from_bits((element % 255) as u8).to_f32() * scales.values[index]
            };
            for target in [Dtype::BF16, Dtype::F16, Dtype::F32] {
                let values = dequantize(&codes, &scales, target)?;
                assert_eq!((values.dtype(), values.shape()), (target, codes.shape()));
                for (element, value) in values.to_f64_iter().enumerate() {
                    let expected = match target {
                        Dtype::BF16 => bf16::from_f32(expected(element)).to_f64(),
                        Dtype::F16 => f16::from_f32(expected(element)).to_f64(),
                        _ => expected(element).into(),
                    };
                    assert!(value == expected || (value.is_nan() && expected.is_nan()), "{target} {element}");
                }
                let decoder = Decoder::new(&scales, target, input)?;
                let mut chunked = vec![0; values.bytes().len()];
                for (number, chunk) in chunked.chunks_mut(333 * target.size()).enumerate() {
                    let first = number * 333;
                    decoder.decode(first, &codes.bytes()[first..first + chunk.len() / target.size()], chunk);
                }
                // Not byte by byte: the bits of a NaN are nobody's promise.
                let chunked = Tensor::owned(target, values.shape().to_vec(), chunked);
                let same = |(a, b): (f64, f64)| a == b || (a.is_nan() && b.is_nan());
                assert!(chunked.to_f64_iter().zip(values.to_f64_iter()).all(same));
            }
        }
        Ok(())
    }

    #[test]
    fn scales_that_only_a_loader_would_take_are_taken() -> Result<()> {
        // ModelOpt stores an all-zero weight as NaN codes with a scale of 0.
        let codes = Tensor::owned(Dtype::F8E4M3, vec![2], vec![0x7f, 0x38]);
        let values = dequantize(&codes, &Scales::tensor(0.0), Dtype::BF16)?.tolist(2);
        assert!(values[0].is_nan() && values[1] == 0.0);
        Ok(())
    }

    #[test]
    fn only_codes_can_be_decoded_and_only_to_floats() {
        let codes = Tensor::owned(Dtype::F8E4M3, vec![2], vec![0; 2]);
        assert!(dequantize(&codes, &Scales::tensor(1.0), Dtype::F8E4M3).is_err());
        let bytes = Tensor::owned(Dtype::U8, vec![2], vec![0; 2]);
        assert!(dequantize(&bytes, &Scales::tensor(1.0), Dtype::BF16).is_err());
    }
}
