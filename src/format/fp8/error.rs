//! What quantisation loses.

use super::error_sums::{ErrorSums, add_run};
use crate::format::amax::require_quantisable;
use crate::format::scale::Scales;
use crate::format::scale_grid::{CHUNK, row_length};
use crate::tensor::{Dtype, Kernel, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// The difference between weights and what their codes say, summed over elements; parts of a tensor, and tensors,
/// [`merge`](Self::merge).
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct QuantisationError {
    /// Number of elements.
    pub elements: u64,
    /// Sum of (weight - code × scale)².
    pub sum_squared_error: f64,
    /// Sum of weight².
    pub sum_squares: f64,
    /// Largest |weight - code × scale|; elements that are NaN are passed over.
    pub max_error: f64,
    /// Elements with |weight / scale| above 448, by more than the rounding of the scale itself.
    pub saturated: u64,
    /// Elements that are not zero and whose code is.
    pub zeroed: u64,
}

impl QuantisationError {
    /// The error of a chunk of whole elements: `source` holds weights of `dtype` (BF16, F16 or F32), `codes` their codes;
    /// `first_element` is the row-major index of the first, `row_length` the elements of a row.
    ///
    /// Sums run in a fixed order, so the same chunk always gives the same bits; use chunks of a fixed size and merge them
    /// in order.
    ///
    /// # Errors
    /// [`Error::Argument`] for other dtypes.
    ///
    /// # Panics
    /// When `codes` is not as long as `source` has elements, or the chunk reaches beyond the scales: defects of the
    /// caller.
    pub fn of_chunk(
        dtype: Dtype,
        scales: &Scales,
        row_length: usize,
        first_element: usize,
        source: &[u8],
        codes: &[u8],
    ) -> Result<Self> {
        require_quantisable(dtype)?;
        let size = dtype.size();
        assert_eq!(source.len(), codes.len() * size, "one code for each element");
        let (mut sums, kernel) = (ErrorSums::default(), Kernel::best());
        scales.grid(row_length).for_each_run(first_element, codes.len(), |index, run| {
            let source = &source[run.start * size..run.end * size];
            add_run(kernel, &mut sums, dtype, scales.values[index], source, &codes[run]);
        });
        Ok(Self::of_sums(&sums, codes.len()))
    }

    fn of_sums(sums: &ErrorSums, elements: usize) -> Self {
        QuantisationError {
            elements: elements as u64,
            sum_squared_error: sums.squared_error.iter().sum(),
            sum_squares: sums.squares.iter().sum(),
            max_error: sums.max_error.iter().copied().fold(0.0, f64::max),
            saturated: sums.saturated.iter().copied().map(u64::from).sum(),
            zeroed: sums.zeroed.iter().copied().map(u64::from).sum(),
        }
    }

    /// This and `other` together.
    pub fn merge(self, other: Self) -> Self {
        QuantisationError {
            elements: self.elements + other.elements,
            sum_squared_error: self.sum_squared_error + other.sum_squared_error,
            sum_squares: self.sum_squares + other.sum_squares,
            max_error: self.max_error.max(other.max_error),
            saturated: self.saturated + other.saturated,
            zeroed: self.zeroed + other.zeroed,
        }
    }

    /// Mean squared error; 0 for no elements.
    pub fn mse(&self) -> f64 {
        self.sum_squared_error / self.elements.max(1) as f64
    }

    /// Signal to quantisation noise in decibels, 10 × log10(Σ weight² / Σ error²); infinite when there is no error.
    pub fn sqnr_db(&self) -> f64 {
        if self.sum_squared_error == 0.0 {
            return f64::INFINITY;
        }
        10.0 * (self.sum_squares / self.sum_squared_error).log10()
    }

    /// Share of the elements that are saturated, from 0 to 1.
    pub fn saturated_share(&self) -> f64 {
        self.saturated as f64 / self.elements.max(1) as f64
    }

    /// Share of the elements that are flushed to zero, from 0 to 1.
    pub fn zeroed_share(&self) -> f64 {
        self.zeroed as f64 / self.elements.max(1) as f64
    }
}

/// The error of the F8_E4M3 tensor `codes` against the BF16, F16 or F32 tensor that it was made from; the same at any
/// number of threads.
///
/// # Errors
/// [`Error::Argument`] when dtypes or shapes do not fit, or the scales do not fit the shape.
pub fn quantisation_error(original: &Tensor, codes: &Tensor, scales: &Scales) -> Result<QuantisationError> {
    if codes.dtype() != Dtype::F8E4M3 || codes.shape() != original.shape() {
        return Err(Error::argument(format!(
            "the codes of a tensor of shape {:?} are F8_E4M3 of the same shape, not {} of shape {:?}",
            original.shape(),
            codes.dtype(),
            codes.shape()
        )));
    }
    scales.check(original.shape())?;
    let (dtype, row) = (original.dtype(), row_length(original.shape()));
    let chunks = original.bytes().par_chunks(CHUNK * dtype.size()).zip(codes.bytes().par_chunks(CHUNK));
    let of_chunk = |(number, (source, codes)): (usize, (&[u8], &[u8]))| {
        QuantisationError::of_chunk(dtype, scales, row, number * CHUNK, source, codes)
    };
    let parts: Vec<QuantisationError> = chunks.enumerate().map(of_chunk).collect::<Result<_>>()?;
    Ok(parts.into_iter().fold(QuantisationError::default(), QuantisationError::merge))
}

#[cfg(test)]
mod tests {
    use super::super::error_sums::SATURATED_ABOVE;
    use super::*;
    use crate::format::{Granularity, Rounding, ScaleRule, amax, quantize};
    use crate::tensor::float::e4m3_to_f32;

    fn f32_tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::owned(
            Dtype::F32,
            shape.to_vec(),
            values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        )
    }

    #[test]
    fn a_handful_of_weights_is_counted_as_by_hand() -> Result<()> {
        // 1.0 is exact, 1.0625 ties down to 1.0, 500 saturates at 448, 0.0009 is below half of 2^-9.
        let weights = f32_tensor(&[5], &[1.0, -1.0625, 500.0, 0.0009, 0.0]);
        let scales = Scales::tensor(1.0);
        let codes = quantize(&weights, &scales, Rounding::Exact)?;
        let error = quantisation_error(&weights, &codes, &scales)?;
        let small = f64::from(0.0009f32);
        let expected = 0.0625f64.powi(2) + 52f64.powi(2) + small.powi(2);
        assert!((error.sum_squared_error - expected).abs() < 1e-9);
        assert_eq!((error.elements, error.saturated, error.zeroed, error.max_error), (5, 1, 1, 52.0));
        assert!((error.mse() - expected / 5.0).abs() < 1e-9);
        let squares = 1.0 + 1.0625f64.powi(2) + 250000.0 + small.powi(2);
        assert!((error.sqnr_db() - 10.0 * (squares / expected).log10()).abs() < 1e-9);
        assert_eq!((error.saturated_share(), error.zeroed_share()), (0.2, 0.2));
        Ok(())
    }

    /// Straight from the definition, one element after another in F64.
    #[test]
    fn long_runs_are_what_the_definition_says() -> Result<()> {
        let length = if cfg!(miri) { 1_003 } else { 100_003 };
        for scale in [0.003f32, 1.7e-3, 1.0, 3e-20, 2e25] {
            let value = |i: u32| ((i.wrapping_mul(2654435761) as i32) as f32 / 4.6e6) * scale;
            let values: Vec<f32> = (0..length).map(value).collect();
            let weights = f32_tensor(&[values.len()], &values);
            let scales = Scales::tensor(scale);
            let codes = quantize(&weights, &scales, Rounding::Exact)?;
            let error = quantisation_error(&weights, &codes, &scales)?;
            let (mut squared, mut squares, mut saturated, mut largest) = (0f64, 0f64, 0, 0f64);
            for (weight, code) in values.iter().zip(codes.bytes()) {
                let lost = f64::from(*weight) - f64::from(e4m3_to_f32(*code)) * f64::from(scale);
                squared += lost * lost;
                squares += f64::from(*weight).powi(2);
                largest = largest.max(lost.abs());
                saturated += u64::from((weight / scale).abs() > SATURATED_ABOVE);
            }
            let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-6;
            assert!(close(error.sum_squared_error, squared), "{scale}: {error:?}, not {squared}");
            assert!(close(error.sum_squares, squares), "{scale}: {error:?}, not {squares}");
            assert!(close(error.max_error, largest), "{scale}: {error:?}, not {largest}");
            assert_eq!(error.saturated, saturated, "{scale}");
            assert!(saturated > u64::from(length / 1_000), "{scale}: the test saturates something");
        }
        Ok(())
    }

    #[test]
    fn a_scale_from_the_amax_saturates_nothing() -> Result<()> {
        for step in (1..2000).step_by(if cfg!(miri) { 97 } else { 1 }) {
            let weights = f32_tensor(&[2], &[step as f32 * 0.00137, 0.001]);
            let scales = Scales::from_amax(&amax(&weights, Granularity::Tensor)?, ScaleRule::F32);
            let codes = quantize(&weights, &scales, Rounding::Exact)?;
            assert_eq!(quantisation_error(&weights, &codes, &scales)?.saturated, 0, "{step}");
        }
        Ok(())
    }

    #[test]
    fn the_error_is_the_same_at_any_number_of_threads_and_near_the_naive_sum() -> Result<()> {
        let (out, input) = if cfg!(miri) { (5, 301) } else { (700, 1001) };
        let values: Vec<f32> = (0..out * input).map(|i| ((i * 7919 % 65537) as f32).sin() * 0.02).collect();
        let weights = f32_tensor(&[out, input], &values);
        for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Block] {
            let scales = Scales::from_amax(&amax(&weights, granularity)?, ScaleRule::Bf16Up);
            let codes = quantize(&weights, &scales, Rounding::Exact)?;
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok();
                pool.and_then(|pool| pool.install(|| quantisation_error(&weights, &codes, &scales)).ok())
            };
            let error = quantisation_error(&weights, &codes, &scales)?;
            assert_eq!(run(1), Some(error));
            assert_eq!(run(5), Some(error));
            let decoded = super::super::dequantize(&codes, &scales, Dtype::F32)?;
            let naive: f64 =
                values.iter().zip(decoded.to_f64_iter()).map(|(&w, v)| (f64::from(w) - v).powi(2)).sum();
            assert!((error.sum_squared_error / naive - 1.0).abs() < 1e-6);
            assert!(error.sqnr_db() > 30.0, "{granularity} {}", error.sqnr_db());
        }
        Ok(())
    }

    #[test]
    fn no_error_is_an_infinite_ratio() -> Result<()> {
        let weights = f32_tensor(&[2], &[1.0, 0.0]);
        let codes = quantize(&weights, &Scales::tensor(1.0), Rounding::Exact)?;
        let error = quantisation_error(&weights, &codes, &Scales::tensor(1.0))?;
        assert_eq!((error.sqnr_db(), error.mse()), (f64::INFINITY, 0.0));
        assert!(quantisation_error(&weights, &weights, &Scales::tensor(1.0)).is_err());
        Ok(())
    }
}
