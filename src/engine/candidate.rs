//! The formats that a layer may get, and what a layer becomes in one: fake quantisation as ModelOpt scores it.

use rayon::prelude::*;

use super::backend::InputScale;
use super::linear::Linear;
use super::modelopt_factor::modelopt_factor;
use super::weight::LinearWeight;
use crate::error::{Error, Result};
use crate::format::{AmaxAccumulator, BLOCK_SIZE, Encoder, FormatId, Granularity, Rounding, Scales};
use crate::tensor::{Dtype, Tensor};

/// A format with the granularity of its scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CandidateFormat {
    /// The format.
    pub format: FormatId,
    /// How many weights share a scale.
    pub granularity: Granularity,
}

impl CandidateFormat {
    /// The format that has such scales: ModelOpt's `FP8_DEFAULT_CFG` per tensor, with inputs by their amax;
    /// `FP8_PER_CHANNEL_PER_TOKEN_CFG` per channel, with inputs per token; `FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG` in blocks, with
    /// inputs as they are.
    pub fn with_scales(granularity: Granularity) -> Self {
        CandidateFormat { format: FormatId::with_scales(granularity), granularity }
    }

    /// What a manifest calls it.
    pub fn manifest_name(self) -> &'static str {
        self.format.manifest_name(self.granularity).unwrap_or("CUSTOM")
    }

    /// Bits of a weight.
    pub fn bits(self) -> f64 {
        self.format.format().bits()
    }

    /// How inputs are rounded; `amax` is what calibration has seen.
    pub fn input(self, amax: f32) -> Option<InputScale> {
        match self.granularity {
            Granularity::Tensor => Some(InputScale::Amax(amax)),
            Granularity::Channel => Some(InputScale::Token),
            Granularity::Block => None,
        }
    }

    /// `linear` in this format; `amax` is that of its inputs.
    ///
    /// # Errors
    /// [`Error::Tensor`] when a weight is not finite; [`Error::Refused`] when it is quantised already.
    pub fn of(self, linear: &Linear, amax: f32) -> Result<Linear> {
        Ok(Linear {
            name: linear.name.clone(),
            tensor: linear.tensor.clone(),
            weight: self.weight(&linear.tensor, &linear.weight)?,
            bias: linear.bias.clone(),
            input: self.input(amax),
        })
    }

    /// Codes and scales of `weight`, with the arithmetic of ModelOpt's `_fp8_eager`: values times 448 / amax, rounded, and back by
    /// the reciprocal of that factor.
    fn weight(self, name: &str, weight: &LinearWeight) -> Result<LinearWeight> {
        if weight.scales().is_some() {
            return Err(Error::refused(format!("`{name}` is quantised already"))
                .with_hint("score the BF16 checkpoint that it was made from"));
        }
        let (rows, columns) = (weight.outputs(), weight.inputs());
        let amax = self.amax(weight)?;
        amax.check(name)?;
        let factors: Vec<f32> = amax.values.iter().map(|amax| modelopt_factor(*amax)).collect();
        let across = columns.div_ceil(BLOCK_SIZE[1]);
        let unit = Encoder::new(Dtype::F32, Rounding::Exact, &Scales::tensor(1.0), columns)?;
        let mut codes = vec![0; rows * columns];
        codes.par_chunks_exact_mut(columns.max(1)).enumerate().for_each(|(row, codes)| {
            let mut values = vec![0.0f32; columns];
            super::cpu::read_elements(weight.values(), row * columns, &mut values);
            let (run, first) = match self.granularity {
                Granularity::Tensor => (columns, 0),
                Granularity::Channel => (columns, row),
                Granularity::Block => (BLOCK_SIZE[1], row / BLOCK_SIZE[0] * across),
            };
            for (values, factor) in values.chunks_mut(run).zip(&factors[first..]) {
                values.iter_mut().for_each(|value| *value *= factor);
            }
            unit.encode(0, super::cpu::bytes_of(&values), codes);
        });
        let scales = Scales {
            granularity: self.granularity,
            block: BLOCK_SIZE,
            shape: amax.shape,
            values: factors.iter().map(|factor| 1.0 / factor).collect(),
        };
        LinearWeight::scaled(Tensor::owned(Dtype::F8E4M3, vec![rows, columns], codes), scales, self.format)
    }

    fn amax(self, weight: &LinearWeight) -> Result<crate::format::Amax> {
        if self.granularity == Granularity::Tensor || weight.values().shape().len() == 2 {
            return crate::format::amax(weight.values(), self.granularity);
        }
        let shape = [weight.outputs(), weight.inputs()];
        let mut amax = AmaxAccumulator::new(weight.values().dtype(), &shape, self.granularity)?;
        amax.push(0, weight.values().bytes());
        Ok(amax.finish())
    }
}

/// The largest magnitude of a weight of values.
pub(super) fn weight_amax(weight: &LinearWeight) -> Result<f32> {
    Ok(CandidateFormat::with_scales(Granularity::Tensor).amax(weight)?.largest())
}
