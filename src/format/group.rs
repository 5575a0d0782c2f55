//! Weights that are quantised together, and what comes of it.

use super::amax::{Amax, require_quantisable};
use super::encoding::Encoding;
use super::fp8::QuantisationError;
use super::scale::Scales;
use super::scale_grid::{BLOCK_SIZE, Granularity};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Weights that are quantised in one way. With [`Granularity::Tensor`] they share the scale of their largest amax; with
/// the others there is one weight.
#[derive(Clone)]
pub struct WeightGroup {
    /// BF16, F16 or F32 values; cheap to clone.
    pub weights: Vec<Tensor>,
    /// The way.
    pub encoding: Encoding,
    /// Scales to use as they are instead of those that the rule makes from the amax, of the same granularity.
    pub scales: Option<Scales>,
}

/// What to make of a group, beyond its amax and scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// E4M3 codes.
    pub codes: bool,
    /// The error of each weight.
    pub error: bool,
}

/// A group after quantisation.
#[derive(Clone)]
pub struct QuantisedGroup {
    /// The largest magnitudes; nothing when the scales were given. Where one is not finite there are no codes and errors.
    pub amax: Option<Amax>,
    /// The scales, given or made.
    pub scales: Scales,
    /// The codes of each weight, F8_E4M3 of its shape, if wanted.
    pub codes: Vec<Tensor>,
    /// What was lost of each weight, if wanted.
    pub errors: Vec<QuantisationError>,
}

impl WeightGroup {
    /// One weight, with scales that follow from its own amax.
    pub fn one(weight: Tensor, encoding: Encoding) -> Self {
        WeightGroup { weights: vec![weight], encoding, scales: None }
    }

    /// The bytes of the weights.
    pub fn bytes(&self) -> usize {
        self.weights.iter().map(|weight| weight.bytes().len()).sum()
    }

    /// The shape of the scales.
    ///
    /// # Errors
    /// [`Error::Argument`] when the weights cannot be quantised so: another dtype, rows or blocks of what is not [out, in],
    /// or given scales that do not fit.
    pub fn scale_shape(&self) -> Result<Vec<usize>> {
        for weight in &self.weights {
            require_quantisable(weight.dtype())?;
        }
        let shape = match (self.encoding.granularity, self.weights.as_slice()) {
            (Granularity::Tensor, _) => vec![],
            (granularity, [weight]) => granularity.scale_shape(weight.shape())?,
            (granularity, weights) => {
                return Err(Error::argument(format!(
                    "{granularity} scales belong to one weight, not to a group of {}",
                    weights.len()
                )));
            }
        };
        if let Some(scales) = &self.scales {
            scales.check_values()?;
            if scales.granularity != self.encoding.granularity
                || scales.block != BLOCK_SIZE
                || scales.values.len() != shape.iter().product::<usize>()
            {
                return Err(Error::argument(format!(
                    "{} {} scales do not fit {} scales of shape {shape:?}",
                    scales.values.len(),
                    scales.granularity,
                    self.encoding.granularity
                )));
            }
        }
        Ok(shape)
    }
}

impl QuantisedGroup {
    /// The scales that follow from `amax`, or those that were given; no codes and errors yet.
    pub(crate) fn before_codes(group: &WeightGroup, amax: Option<Amax>) -> QuantisedGroup {
        let scales = match (&group.scales, &amax) {
            (Some(scales), _) => scales.clone(),
            (None, Some(amax)) => Scales::from_amax(amax, group.encoding.rule),
            (None, None) => Scales::tensor(1.0),
        };
        QuantisedGroup { amax, scales, codes: vec![], errors: vec![] }
    }

    /// Whether all weights are finite, as far as was looked.
    pub fn is_finite(&self) -> bool {
        self.amax.as_ref().is_none_or(|amax| amax.largest().is_finite())
    }
}
