//! What quantisation loses.

use super::code::MAX;
use crate::format::amax::require_quantisable;
use crate::format::scale::Scales;
use crate::format::scale_grid::{CHUNK, row_length};
use crate::tensor::float::{bf16_to_f32, e4m3_to_f32, f16_to_f32};
use crate::tensor::kernel::for_each_kernel;
use crate::tensor::{Dtype, Kernel, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// Independent sums, so that the additions need not wait for one another.
const LANES: usize = 16;
/// The scale amax / 448 is itself rounded, so that amax / scale may come out one unit in the last place above 448;
/// quotients up to there do not count as saturated.
const SATURATED_ABOVE: f32 = MAX.next_up();

/// Elements that are summed in F32 before they are added to the F64 sums.
const GROUP: usize = 8 * LANES;
/// Scales with which squares of weights neither overflow nor vanish in F32.
const SQUARES_FIT_F32: std::ops::RangeInclusive<f32> = 1e-12..=1e12;

/// The largest weight whose quotient does not count as saturated: dividing every weight would cost more than all the rest.
fn saturation_limit(scale: f32) -> f32 {
    let mut limit = SATURATED_ABOVE * scale;
    while limit.next_up() / scale <= SATURATED_ABOVE && limit.is_finite() {
        limit = limit.next_up();
    }
    while limit / scale > SATURATED_ABOVE && limit > 0.0 {
        limit = limit.next_down();
    }
    limit
}

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
        let (mut sums, kernel) = (Sums::default(), Kernel::best());
        scales.grid(row_length).for_each_run(first_element, codes.len(), |index, run| {
            let source = &source[run.start * size..run.end * size];
            add_run(kernel, &mut sums, dtype, scales.values[index], source, &codes[run]);
        });
        Ok(sums.total(codes.len()))
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

/// Whether no code is zero or subnormal, the largest, or NaN: then no weight is zeroed or saturated.
#[inline(always)]
fn all_usual(codes: &[u8]) -> bool {
    codes.iter().fold(0, |odd, code| odd | u8::from((code & 0x7f).wrapping_sub(8) >= 0x76)) == 0
}

/// As [`e4m3_to_f32`] for usual codes.
#[inline(always)]
fn usual_to_f32(code: u8) -> f32 {
    let bits = (i32::from(code as i8) << 20) as u32 & 0x87f0_0000;
    f32::from_bits(bits + ((127 - 7) << 23))
}

for_each_kernel! {
    /// Adds elements that share a scale.
    fn add_run(sums: &mut Sums, dtype: Dtype, scale: f32, source: &[u8], codes: &[u8]) = Sums::add_run;
}

/// [`LANES`] sums of each kind.
#[derive(Debug, Default)]
struct Sums {
    squared_error: [f64; LANES],
    squares: [f64; LANES],
    max_error: [f64; LANES],
    saturated: [u32; LANES],
    zeroed: [u32; LANES],
}

impl Sums {
    #[inline(always)]
    fn add_run(&mut self, dtype: Dtype, scale: f32, source: &[u8], codes: &[u8]) {
        match dtype {
            Dtype::BF16 => self.add_all(scale, source, codes, |bytes| bf16_to_f32(u16::from_le_bytes(bytes))),
            Dtype::F16 => self.add_all(scale, source, codes, |bytes| f16_to_f32(u16::from_le_bytes(bytes))),
            _ => self.add_all(scale, source, codes, f32::from_le_bytes),
        }
    }

    #[inline(always)]
    fn add_all<const SIZE: usize>(
        &mut self,
        scale: f32,
        source: &[u8],
        codes: &[u8],
        read: impl Fn([u8; SIZE]) -> f32,
    ) {
        let limit = saturation_limit(scale);
        let source = source.as_chunks::<SIZE>().0;
        let in_f32 = if SQUARES_FIT_F32.contains(&scale) { codes.len() / GROUP * GROUP } else { 0 };
        let (source_groups, source) = source.split_at(in_f32);
        let (code_groups, codes) = codes.split_at(in_f32);
        for (source, codes) in source_groups.chunks_exact(GROUP).zip(code_groups.chunks_exact(GROUP)) {
            if all_usual(codes) {
                self.add_usual_group(scale, source, codes, &read);
            } else {
                self.add_group(scale, limit, source, codes, &read);
            }
        }
        for (index, (element, code)) in source.iter().zip(codes).enumerate() {
            self.add(index % LANES, scale, limit, read(*element), *code);
        }
    }

    /// Adds [`GROUP`] elements in F32, which is twice as wide; so few summands lose nothing that matters: the sums are
    /// right to 1e-6 and better, as their errors cancel out.
    #[inline(always)]
    fn add_group<const SIZE: usize>(
        &mut self,
        scale: f32,
        limit: f32,
        source: &[[u8; SIZE]],
        codes: &[u8],
        read: &impl Fn([u8; SIZE]) -> f32,
    ) {
        let (mut squared_error, mut squares, mut largest) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let (mut saturated, mut zeroed) = ([0u32; LANES], [0u32; LANES]);
        let (source, codes) = (source.as_chunks::<LANES>().0, codes.as_chunks::<LANES>().0);
        for (source, codes) in source.iter().zip(codes) {
            for lane in 0..LANES {
                let (weight, code) = (read(source[lane]), codes[lane]);
                let error = weight - e4m3_to_f32(code) * scale;
                squared_error[lane] += error * error;
                squares[lane] += weight * weight;
                largest[lane] = if error.abs() > largest[lane] { error.abs() } else { largest[lane] };
                saturated[lane] += u32::from(weight.abs() > limit);
                zeroed[lane] += u32::from((code & 0x7f == 0) & (weight != 0.0));
            }
        }
        for lane in 0..LANES {
            self.squared_error[lane] += f64::from(squared_error[lane]);
            self.squares[lane] += f64::from(squares[lane]);
            self.max_error[lane] = self.max_error[lane].max(f64::from(largest[lane]));
            self.saturated[lane] += saturated[lane];
            self.zeroed[lane] += zeroed[lane];
        }
    }

    /// As [`Sums::add_group`] where [`all_usual`] codes leave nothing to count and are simple to decode: the same sums in
    /// half the instructions.
    #[inline(always)]
    fn add_usual_group<const SIZE: usize>(
        &mut self,
        scale: f32,
        source: &[[u8; SIZE]],
        codes: &[u8],
        read: &impl Fn([u8; SIZE]) -> f32,
    ) {
        let (mut squared_error, mut squares, mut largest) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let (source, codes) = (source.as_chunks::<LANES>().0, codes.as_chunks::<LANES>().0);
        for (source, codes) in source.iter().zip(codes) {
            for lane in 0..LANES {
                let weight = read(source[lane]);
                let error = weight - usual_to_f32(codes[lane]) * scale;
                squared_error[lane] += error * error;
                squares[lane] += weight * weight;
                largest[lane] = if error.abs() > largest[lane] { error.abs() } else { largest[lane] };
            }
        }
        for lane in 0..LANES {
            self.squared_error[lane] += f64::from(squared_error[lane]);
            self.squares[lane] += f64::from(squares[lane]);
            self.max_error[lane] = self.max_error[lane].max(f64::from(largest[lane]));
        }
    }

    #[inline(always)]
    fn add(&mut self, lane: usize, scale: f32, limit: f32, weight: f32, code: u8) {
        let error = f64::from(weight) - f64::from(e4m3_to_f32(code) * scale);
        self.squared_error[lane] += error * error;
        self.squares[lane] += f64::from(weight) * f64::from(weight);
        let largest = self.max_error[lane];
        self.max_error[lane] = if error.abs() > largest { error.abs() } else { largest };
        self.saturated[lane] += u32::from(weight.abs() > limit);
        self.zeroed[lane] += u32::from((code & 0x7f == 0) & (weight != 0.0));
    }

    fn total(&self, elements: usize) -> QuantisationError {
        QuantisationError {
            elements: elements as u64,
            sum_squared_error: self.squared_error.iter().sum(),
            sum_squares: self.squares.iter().sum(),
            max_error: self.max_error.iter().copied().fold(0.0, f64::max),
            saturated: self.saturated.iter().copied().map(u64::from).sum(),
            zeroed: self.zeroed.iter().copied().map(u64::from).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Granularity, Rounding, ScaleRule, amax, quantize};

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
        for scale in [0.003f32, 1.7e-3, 1.0, 3e-20, 2e25] {
            let value = |i: u32| ((i.wrapping_mul(2654435761) as i32) as f32 / 4.6e6) * scale;
            let values: Vec<f32> = (0..100_003).map(value).collect();
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
            assert!(saturated > 100, "{scale}: the test saturates something");
        }
        Ok(())
    }

    #[test]
    fn a_scale_from_the_amax_saturates_nothing() -> Result<()> {
        for step in 1..2000 {
            let weights = f32_tensor(&[2], &[step as f32 * 0.00137, 0.001]);
            let scales = Scales::from_amax(&amax(&weights, Granularity::Tensor)?, ScaleRule::F32);
            let codes = quantize(&weights, &scales, Rounding::Exact)?;
            assert_eq!(quantisation_error(&weights, &codes, &scales)?.saturated, 0, "{step}");
        }
        Ok(())
    }

    #[test]
    fn the_error_is_the_same_at_any_number_of_threads_and_near_the_naive_sum() -> Result<()> {
        let (out, input) = (700, 1001);
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
    fn usual_codes_are_those_that_need_no_care() {
        for code in 0..=u8::MAX {
            let value = e4m3_to_f32(code);
            let usual = (2f32.powi(-6)..MAX).contains(&value.abs());
            assert_eq!(all_usual(&[0x40, code]), usual, "{code:#x}");
            if usual {
                assert_eq!(usual_to_f32(code), value);
            }
        }
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

    #[test]
    fn every_kernel_sums_up_to_the_same_bits() {
        let values: Vec<u8> =
            (0..5000u32).flat_map(|i| ((i * 7919 % 65537) as f32).sin().to_le_bytes()).collect();
        let codes: Vec<u8> = (0..5000u32).map(|i| (i % 127) as u8).collect();
        for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
            for count in [0, 1, 15, 16, 17, 128, 1237] {
                let sums = |kernel| {
                    let mut sums = Sums::default();
                    add_run(
                        kernel,
                        &mut sums,
                        dtype,
                        0.003,
                        &values[..count * dtype.size()],
                        &codes[..count],
                    );
                    sums
                };
                let expected = format!("{:?}", sums(Kernel::BASELINE));
                for kernel in Kernel::available() {
                    assert_eq!(format!("{:?}", sums(kernel)), expected, "{} {dtype} {count}", kernel.name());
                }
            }
        }
    }
}
