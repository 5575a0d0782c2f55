//! Summary statistics of a tensor of any dtype.

use super::values::read_f64;
use super::{Dtype, Tensor};
use rayon::prelude::*;

/// Elements that are summed up together, fixed so that the result does not depend on the number of threads.
const CHUNK: usize = 1 << 16;
/// Elements converted at a time, few enough to stay in the nearest cache.
const BATCH: usize = 2048;
/// Independent sums, so that the additions need not wait for one another.
const LANES: usize = 16;

/// What [`Tensor::stats`] returns. Minimum, maximum, mean and standard deviation are over the finite values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Number of elements.
    pub elements: u64,
    /// Smallest finite value; NaN when there is none.
    pub min: f64,
    /// Largest finite value; NaN when there is none.
    pub max: f64,
    /// Mean of the finite values; NaN when there is none.
    pub mean: f64,
    /// Population standard deviation of the finite values; NaN when there is none.
    pub std: f64,
    /// Largest magnitude of all elements, as [`Tensor::amax`]: NaN above infinity above all else.
    pub amax: f64,
    /// Elements that are +0 or -0.
    pub zeros: u64,
    /// Elements that are NaN.
    pub nan: u64,
    /// Elements that are infinite.
    pub infinite: u64,
}

impl Tensor {
    /// Minimum, maximum, mean, standard deviation, amax, and the numbers of zeros, NaN and infinities, in F64 over any
    /// dtype. The same at any number of threads.
    ///
    /// # Panics
    /// As [`Tensor::to_f64_iter`].
    pub fn stats(&self) -> Stats {
        let dtype = self.dtype();
        let parts: Vec<Moments> =
            self.bytes().par_chunks(CHUNK * dtype.size()).map(|chunk| Moments::of(dtype, chunk)).collect();
        let all = parts.into_iter().fold(Moments::EMPTY, Moments::merge);
        let or_nan = |value: f64| if all.finite == 0 { f64::NAN } else { value };
        let amax = match all {
            Moments { nan: 1.., .. } => f64::NAN,
            Moments { infinite: 1.., .. } => f64::INFINITY,
            Moments { finite: 0, .. } => 0.0,
            _ => all.max.abs().max(all.min.abs()),
        };
        Stats {
            elements: self.elements() as u64,
            min: or_nan(all.min),
            max: or_nan(all.max),
            mean: or_nan(all.mean),
            std: or_nan((all.squares / all.finite as f64).max(0.0).sqrt()),
            amax,
            zeros: all.zeros,
            nan: all.nan,
            infinite: all.infinite,
        }
    }
}

/// Counts, extremes and the first two moments of some elements; parts merge without losing precision.
#[derive(Clone, Copy)]
struct Moments {
    finite: u64,
    nan: u64,
    infinite: u64,
    zeros: u64,
    min: f64,
    max: f64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
}

impl Moments {
    const EMPTY: Moments = Moments {
        finite: 0,
        nan: 0,
        infinite: 0,
        zeros: 0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        mean: 0.0,
        squares: 0.0,
    };

    fn of(dtype: Dtype, bytes: &[u8]) -> Moments {
        let mut buffer = [0.0; BATCH];
        bytes.chunks(BATCH * dtype.size()).fold(Moments::EMPTY, |sum, batch| {
            let values = read_f64(dtype, batch, &mut buffer);
            sum.merge(Moments::of_finite(values).unwrap_or_else(|| Moments::of_any(values)))
        })
    }

    /// The moments of `values`, or nothing when one of them is not finite (or the sums overflow).
    fn of_finite(values: &[f64]) -> Option<Moments> {
        let mut sum = [0.0; LANES];
        let mut min = [f64::INFINITY; LANES];
        let mut max = [f64::NEG_INFINITY; LANES];
        let mut zeros = [0u64; LANES];
        for group in values.chunks(LANES) {
            for (lane, &value) in group.iter().enumerate() {
                sum[lane] += value;
                min[lane] = if value < min[lane] { value } else { min[lane] };
                max[lane] = if value > max[lane] { value } else { max[lane] };
                zeros[lane] += u64::from(value == 0.0);
            }
        }
        let sum: f64 = sum.iter().sum();
        if !sum.is_finite() {
            return None;
        }
        let mean = sum / values.len() as f64;
        let mut squares = [0.0; LANES];
        for group in values.chunks(LANES) {
            for (lane, &value) in group.iter().enumerate() {
                squares[lane] += (value - mean) * (value - mean);
            }
        }
        Some(Moments {
            finite: values.len() as u64,
            zeros: zeros.iter().sum(),
            min: min.iter().copied().fold(f64::INFINITY, f64::min),
            max: max.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            squares: squares.iter().sum(),
            ..Moments::EMPTY
        })
    }

    /// The moments of `values`, those that are not finite counted apart.
    fn of_any(values: &[f64]) -> Moments {
        values.iter().fold(Moments::EMPTY, |sum, &value| {
            sum.merge(if value.is_nan() {
                Moments { nan: 1, ..Moments::EMPTY }
            } else if value.is_infinite() {
                Moments { infinite: 1, ..Moments::EMPTY }
            } else {
                let zeros = u64::from(value == 0.0);
                Moments { finite: 1, zeros, min: value, max: value, mean: value, ..Moments::EMPTY }
            })
        })
    }

    /// Both together (Chan, Golub, LeVeque 1979: the update of the sum of squares that does not cancel).
    fn merge(self, other: Moments) -> Moments {
        let finite = self.finite + other.finite;
        let (mut mean, mut squares) = (self.mean, self.squares);
        if self.finite == 0 {
            (mean, squares) = (other.mean, other.squares);
        } else if other.finite > 0 {
            let share = other.finite as f64 / finite as f64;
            let apart = other.mean - self.mean;
            mean += apart * share;
            squares += other.squares + apart * apart * share * self.finite as f64;
        }
        Moments {
            finite,
            nan: self.nan + other.nan,
            infinite: self.infinite + other.infinite,
            zeros: self.zeros + other.zeros,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            mean,
            squares,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32_tensor(values: &[f32]) -> Tensor {
        Tensor::owned(Dtype::F32, vec![values.len()], values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    #[test]
    fn a_known_sample_has_its_known_statistics() {
        let stats = f32_tensor(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).stats();
        assert_eq!((stats.mean, stats.std, stats.min, stats.max, stats.amax), (5.0, 2.0, 2.0, 9.0, 9.0));
        assert_eq!((stats.elements, stats.zeros, stats.nan, stats.infinite), (8, 0, 0, 0));
    }

    #[test]
    fn values_that_are_not_finite_are_counted_and_left_out_of_the_rest() {
        let stats = f32_tensor(&[1.0, f32::NAN, -0.0, f32::NEG_INFINITY, 3.0, 0.0]).stats();
        assert_eq!((stats.zeros, stats.nan, stats.infinite), (2, 1, 1));
        assert_eq!((stats.min, stats.max, stats.mean, stats.std), (0.0, 3.0, 1.0, 1.5f64.sqrt()));
        assert!(stats.amax.is_nan());
        assert_eq!(f32_tensor(&[-1.0, f32::NEG_INFINITY]).stats().amax, f64::INFINITY);
        let empty = f32_tensor(&[]).stats();
        assert!(empty.mean.is_nan() && empty.min.is_nan() && empty.std.is_nan());
        assert_eq!(empty.amax, 0.0);
    }

    #[test]
    fn a_large_offset_does_not_swallow_the_deviation() {
        // Naive sums of squares lose everything here: the mean is 2^28 times the deviation.
        let count = 3 * CHUNK + 5;
        let bytes = (0..count).flat_map(|i| ((1i64 << 28) + i64::from(i % 2 == 0)).to_le_bytes()).collect();
        let stats = Tensor::owned(Dtype::I64, vec![count], bytes).stats();
        assert!((stats.std - 0.5).abs() < 1e-6, "{}", stats.std);
        assert!((stats.mean - (1i64 << 28) as f64 - 0.5).abs() < 1e-5);
    }

    #[test]
    fn the_result_is_the_same_at_any_number_of_threads() {
        let count = 5 * CHUNK + 77;
        let values: Vec<f32> = (0..count).map(|i| ((i * 7919) as f32).sin() * 1e-3).collect();
        let tensor = f32_tensor(&values);
        let with = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().map(|p| p.install(|| tensor.stats()))
        };
        let (one, five) = (with(1).ok(), with(5).ok());
        assert!(one.is_some());
        assert_eq!(one, five);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count as f64;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count as f64;
        let stats = one.map(|stats| (stats.mean, stats.std)).unwrap_or_default();
        assert!(
            (stats.0 - mean).abs() < 1e-15 && (stats.1 - variance.sqrt()).abs() < 1e-12,
            "{stats:?} {mean}"
        );
    }
}
