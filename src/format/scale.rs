//! Scales: how many there are, and how one is made from an amax.

use super::amax::Amax;
use super::fp8::MAX;
use super::scale_grid::{BLOCK_SIZE, Granularity, ScaleGrid};
use crate::tensor::{Dtype, Tensor};
use crate::words::words;
use crate::{Error, Result};

words! {
    /// How a scale follows from an amax.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum ScaleRule: "rule for scales" {
        /// amax / 448 in F32, as ModelOpt stores it.
        F32 = "f32",
        /// amax / 448 rounded up to a BF16 value, so that readers that keep scales in BF16 see the identical number, and so
        /// that nothing saturates.
        Bf16Up = "bf16",
    }
}

impl ScaleRule {
    /// The scale for weights whose largest magnitude is `amax`.
    ///
    /// An amax of 0 gives 1, where ModelOpt gives 0 and codes that are all NaN. The result is at least 2^-126, so that no
    /// quotient of a weight within `amax` overflows. NaN and infinity are passed on: check with [`Amax::check`] first.
    pub fn scale(self, amax: f32) -> f32 {
        if amax == 0.0 { 1.0 } else { self.round(amax / MAX) }
    }

    /// The dtype that holds such scales exactly.
    pub const fn dtype(self) -> Dtype {
        match self {
            ScaleRule::F32 => Dtype::F32,
            ScaleRule::Bf16Up => Dtype::BF16,
        }
    }

    /// A scale that is known already, such as an input scale, as this rule stores it; at least 2^-126.
    pub fn round(self, scale: f32) -> f32 {
        if scale < f32::MIN_POSITIVE {
            return f32::MIN_POSITIVE;
        }
        match self {
            ScaleRule::F32 => scale,
            ScaleRule::Bf16Up if !scale.is_finite() => scale,
            ScaleRule::Bf16Up => f32::from_bits((scale.to_bits() + 0xffff) & 0xffff_0000),
        }
    }
}

/// The scales of one tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Scales {
    /// How many elements share a scale.
    pub granularity: Granularity,
    /// Rows and columns of a block; those of [`Granularity::Block`] unless a configuration said otherwise.
    pub block: [usize; 2],
    /// The shape of the scales as [`Granularity`] says; what was read from a file may have it without its ones.
    pub shape: Vec<usize>,
    /// The scales.
    pub values: Vec<f32>,
}

impl Scales {
    /// One scale for a whole tensor.
    pub fn tensor(scale: f32) -> Scales {
        Scales { granularity: Granularity::Tensor, block: BLOCK_SIZE, shape: vec![], values: vec![scale] }
    }

    /// The scales that `rule` makes from `amax`, one for each.
    pub fn from_amax(amax: &Amax, rule: ScaleRule) -> Scales {
        Scales {
            granularity: amax.granularity,
            block: BLOCK_SIZE,
            shape: amax.shape.clone(),
            values: amax.values.iter().map(|&amax| rule.scale(amax)).collect(),
        }
    }

    /// The scales of codes of shape `codes`, read from a BF16, F16 or F32 tensor as any format stores them: one value is
    /// per tensor, one a row (`[out]` or `[out, 1]`) per channel, one a 128×128 block per block.
    ///
    /// # Errors
    /// [`Error::Argument`] for other shapes and dtypes, and for values that are not positive and finite.
    pub fn from_tensor(tensor: &Tensor, codes: &[usize]) -> Result<Scales> {
        let one = tensor.shape().iter().product::<usize>() == 1;
        let granularity = match (codes, tensor.shape()) {
            _ if one => Granularity::Tensor,
            (&[out, _], &[rows] | &[rows, 1]) if rows == out => Granularity::Channel,
            _ => Granularity::Block,
        };
        Scales::read(tensor, codes, granularity, BLOCK_SIZE)
    }

    /// The scales of codes of shape `codes` for each block of so many rows and columns, read from a BF16, F16 or F32 tensor.
    ///
    /// # Errors
    /// [`Error::Argument`] for other shapes and dtypes, for a block without a size, and for values that are not positive
    /// and finite.
    pub fn of_blocks(tensor: &Tensor, codes: &[usize], block: [usize; 2]) -> Result<Scales> {
        if block.contains(&0) {
            return Err(Error::argument(format!("a block of {}×{} has no elements", block[0], block[1])));
        }
        Scales::read(tensor, codes, Granularity::Block, block)
    }

    fn read(tensor: &Tensor, codes: &[usize], granularity: Granularity, block: [usize; 2]) -> Result<Scales> {
        if !tensor.dtype().is_quantisable() {
            return Err(Error::argument(format!("scales are BF16, F16 or F32, not {}", tensor.dtype())));
        }
        let values: Vec<f32> = tensor.to_f64_iter().map(|value| value as f32).collect();
        let shape = granularity.shape_of_scales(codes, block)?;
        let without_ones =
            |shape: &[usize]| shape.iter().copied().filter(|size| *size != 1).collect::<Vec<_>>();
        let fits = match granularity {
            Granularity::Block => tensor.shape() == shape,
            _ => without_ones(tensor.shape()) == without_ones(&shape),
        };
        if !fits {
            let blocks = match granularity {
                Granularity::Block => format!(" in blocks of {}×{}", block[0], block[1]),
                _ => String::new(),
            };
            return Err(Error::argument(format!(
                "scales of shape {:?} do not fit codes of shape {codes:?}{blocks}",
                tensor.shape()
            )));
        }
        let scales = Scales { granularity, block, shape, values };
        scales.check(codes)?;
        Ok(scales)
    }

    /// That these are as many scales as a tensor of `shape` needs, and that each is positive and finite.
    ///
    /// # Errors
    /// [`Error::Argument`] when they are not, or when channel or block scales meet a tensor that is not [out, in].
    pub fn check(&self, shape: &[usize]) -> Result<()> {
        self.check_shape(shape)?;
        self.check_values()
    }

    /// That these are as many scales as a tensor of `shape` needs, whatever their values.
    ///
    /// # Errors
    /// [`Error::Argument`] when they are not, or when channel or block scales meet a tensor that is not [out, in].
    pub fn check_shape(&self, shape: &[usize]) -> Result<()> {
        let expected = self.granularity.shape_of_scales(shape, self.block)?;
        if self.values.len() != expected.iter().product::<usize>() {
            return Err(Error::argument(format!(
                "a tensor of shape {shape:?} needs {} scales of shape {expected:?}, but {} were given",
                self.granularity,
                self.values.len()
            )));
        }
        Ok(())
    }

    /// Which of them an element belongs to, in rows of `row_length` elements.
    pub(super) fn grid(&self, row_length: usize) -> ScaleGrid {
        ScaleGrid::new(self.granularity, self.block, row_length)
    }

    /// That each scale is positive and finite.
    pub(super) fn check_values(&self) -> Result<()> {
        match self.values.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            Some(scale) => {
                Err(Error::argument(format!("a scale must be positive and finite, but one is {scale}")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_amax_of_zero_gives_one_and_a_tiny_one_the_smallest_normal_value() {
        for rule in [ScaleRule::F32, ScaleRule::Bf16Up] {
            assert_eq!(rule.scale(0.0), 1.0);
            assert_eq!(rule.scale(f32::from_bits(1)), f32::MIN_POSITIVE);
            assert!(rule.scale(f32::NAN).is_nan());
            assert_eq!(rule.scale(f32::INFINITY), f32::INFINITY);
            assert!(rule.scale(f32::MAX).is_finite());
        }
    }

    #[test]
    fn rounding_up_leaves_bf16_values_alone() {
        assert_eq!(ScaleRule::Bf16Up.scale(448.0), 1.0);
        assert_eq!(ScaleRule::Bf16Up.scale(448.0 * 1.0078125), 1.0078125);
        assert_eq!(ScaleRule::Bf16Up.scale(448.0 * 1.001), 1.0078125);
        assert_eq!(ScaleRule::F32.scale(0.3), 0.3 / 448.0);
    }

    #[test]
    fn scales_that_do_not_fit_or_are_not_positive_are_refused() {
        let scales = Scales {
            granularity: Granularity::Channel,
            block: BLOCK_SIZE,
            shape: vec![2, 1],
            values: vec![1.0, 2.0],
        };
        assert!(scales.check(&[2, 5]).is_ok());
        assert!(scales.check(&[3, 5]).is_err());
        assert!(scales.check(&[2, 5, 1]).is_err());
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Scales::tensor(scale).check(&[4]).is_err(), "{scale}");
        }
    }

    proptest! {
        #[test]
        fn a_scale_rounded_up_is_the_least_bf16_value_not_below(amax in 1e-34f32..1e38) {
            let (exact, up) = (ScaleRule::F32.scale(amax), ScaleRule::Bf16Up.scale(amax));
            prop_assert_eq!(half::bf16::from_f32(up).to_f32(), up);
            let below = half::bf16::from_bits(half::bf16::from_f32(up).to_bits() - 1).to_f32();
            prop_assert!(exact <= up && below < exact);
        }
    }
}
