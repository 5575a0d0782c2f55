//! Histograms of a tensor of any dtype.

use super::Tensor;
use super::values::read_f64;
use crate::{Error, Result};
use rayon::prelude::*;

/// Elements a thread takes at a time.
const CHUNK: usize = 1 << 18;
/// Elements converted at a time.
const BATCH: usize = 2048;
/// More bins than this say nothing that the values themselves would not.
const MOST_BINS: usize = 1 << 20;

/// Numbers of finite values in bins of equal width; made by [`Tensor::histogram`].
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Smallest finite value, the lower edge of the first bin; 0 when there is none.
    pub min: f64,
    /// Largest finite value, the upper edge of the last bin, which includes it; 0 when there is none.
    pub max: f64,
    /// Finite values per bin; bin i reaches from `min + i × width` up to but without `min + (i + 1) × width`.
    pub counts: Vec<u64>,
    /// Elements that are NaN, in no bin.
    pub nan: u64,
    /// Elements that are infinite, in no bin.
    pub infinite: u64,
}

impl Histogram {
    /// The width of a bin; 0 when all values are equal (they are in the first bin then).
    pub fn width(&self) -> f64 {
        (self.max - self.min) / self.counts.len() as f64
    }
}

impl Tensor {
    /// How the finite values are spread over `bins` bins of equal width from the smallest to the largest.
    ///
    /// # Errors
    /// [`Error::Argument`] when `bins` is 0 or above 1,048,576, or the values cannot be read as numbers.
    pub fn histogram(&self, bins: usize) -> Result<Histogram> {
        if bins == 0 || bins > MOST_BINS {
            return Err(Error::argument(format!("a histogram has from 1 to {MOST_BINS} bins, not {bins}")));
        }
        self.dtype().require_values()?;
        let stats = self.stats();
        let (min, max) = if stats.min.is_nan() { (0.0, 0.0) } else { (stats.min, stats.max) };
        // Halved, the distance of two F64 values cannot overflow.
        let span = max / 2.0 - min / 2.0;
        let bin = |value: f64| (((value / 2.0 - min / 2.0) / span * bins as f64) as usize).min(bins - 1);
        let count = |mut counts: Vec<u64>, chunk: &[u8]| {
            let mut buffer = [0.0; BATCH];
            for batch in chunk.chunks(BATCH * self.dtype().size()) {
                for &value in read_f64(self.dtype(), batch, &mut buffer) {
                    if value.is_finite() {
                        counts[bin(value)] += 1;
                    }
                }
            }
            counts
        };
        let add = |mut left: Vec<u64>, right: Vec<u64>| {
            left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
            left
        };
        let chunks = self.bytes().par_chunks(CHUNK * self.dtype().size());
        let counts = chunks.fold(|| vec![0; bins], count).reduce(|| vec![0; bins], add);
        Ok(Histogram { min, max, counts, nan: stats.nan, infinite: stats.infinite })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    fn f32_tensor(values: &[f32]) -> Tensor {
        Tensor::owned(Dtype::F32, vec![values.len()], values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    #[test]
    fn values_fall_into_bins_of_equal_width_and_the_largest_into_the_last() -> Result<()> {
        let histogram = f32_tensor(&[0.0, 0.9, 1.0, 2.5, 4.0, f32::NAN, f32::INFINITY]).histogram(4)?;
        assert_eq!((histogram.min, histogram.max, histogram.width()), (0.0, 4.0, 1.0));
        assert_eq!(histogram.counts, [2, 1, 1, 1]);
        assert_eq!((histogram.nan, histogram.infinite), (1, 1));
        Ok(())
    }

    #[test]
    fn equal_values_and_no_values_are_no_special_case() -> Result<()> {
        assert_eq!(f32_tensor(&[2.0; 5]).histogram(3)?.counts, [5, 0, 0]);
        assert_eq!(f32_tensor(&[]).histogram(2)?.counts, [0, 0]);
        let extremes = [f64::MIN, f64::MAX].map(f64::to_le_bytes).concat();
        assert_eq!(Tensor::owned(Dtype::F64, vec![2], extremes).histogram(2)?.counts, [1, 1]);
        assert!(f32_tensor(&[1.0]).histogram(0).is_err());
        Ok(())
    }
}
