//! FP8 as a format of linear layers: E4M3 codes under one scale, or one for each output channel.

use super::decoder::dequantize;
use super::error::{QuantisationError, quantisation_error};
use crate::format::encoding::Encoding;
use crate::format::group::{QuantisedGroup, Wanted, WeightGroup};
use crate::format::id::FormatId;
use crate::format::interface::{Format, ModuleTensor, ModuleTensorKind, ScaleStorage};
use crate::format::scale::Scales;
use crate::format::scale_grid::Granularity;
use crate::tensor::{Dtype, Tensor};
use crate::{Error, Result};

/// [`FormatId::Fp8`].
pub struct Fp8Format;

/// What people read of E4M3 codes.
pub(in crate::format) const E4M3_IN_WORDS: &str = "FP8 (E4M3)";

/// Why a weight of `dtype` and `shape` has no E4M3 codes under any scales.
pub(in crate::format) fn refuses_e4m3(dtype: Dtype, shape: &[usize]) -> Option<&'static str> {
    if shape.len() != 2 {
        return Some("no linear layer: its weight has not two dimensions");
    }
    (!dtype.is_quantisable()).then_some("no dtype that FP8 codes are made from: those are BF16, F16 and F32")
}

/// Codes and weight scales, the latter under the name that `format` has for them.
///
/// # Errors
/// [`Error::Argument`] for scales that `format` does not have or that do not fit the shape.
pub(in crate::format) fn codes_and_scales(
    format: &dyn Format,
    shape: &[usize],
    encoding: &Encoding,
    storage: &ScaleStorage,
) -> Result<Vec<ModuleTensor>> {
    if !format.granularities().contains(&encoding.granularity) {
        return Err(Error::argument(format!("{} has no {} scales", format.id(), encoding.granularity)));
    }
    Ok(vec![
        ModuleTensor {
            kind: ModuleTensorKind::Codes,
            leaf: "weight",
            dtype: Dtype::F8E4M3,
            shape: shape.to_vec(),
        },
        ModuleTensor {
            kind: ModuleTensorKind::WeightScale,
            leaf: format.scale_leaf(),
            dtype: encoding.rule.dtype(),
            shape: storage.shape.of(encoding.granularity, shape)?,
        },
    ])
}

impl Format for Fp8Format {
    fn id(&self) -> FormatId {
        FormatId::Fp8
    }

    fn manifest_names(&self) -> &'static [(&'static str, Granularity)] {
        &[("FP8_DEFAULT_CFG", Granularity::Tensor), ("FP8_PER_CHANNEL_PER_TOKEN_CFG", Granularity::Channel)]
    }

    fn codes_in_words(&self) -> &'static str {
        E4M3_IN_WORDS
    }

    fn scale_leaf(&self) -> &'static str {
        "weight_scale"
    }

    fn bits(&self) -> f64 {
        8.0
    }

    fn granularities(&self) -> &'static [Granularity] {
        &[Granularity::Tensor, Granularity::Channel]
    }

    fn refuses(&self, dtype: Dtype, shape: &[usize]) -> Option<&'static str> {
        refuses_e4m3(dtype, shape)
    }

    fn tensors(
        &self,
        shape: &[usize],
        encoding: &Encoding,
        storage: &ScaleStorage,
    ) -> Result<Vec<ModuleTensor>> {
        let mut tensors = codes_and_scales(self, shape, encoding, storage)?;
        if storage.input_scale {
            tensors.push(ModuleTensor {
                kind: ModuleTensorKind::InputScale,
                leaf: "input_scale",
                dtype: encoding.rule.dtype(),
                shape: storage.shape.of(Granularity::Tensor, shape)?,
            });
        }
        Ok(tensors)
    }

    fn quantise(&self, group: &WeightGroup, wanted: Wanted) -> Result<QuantisedGroup> {
        group.quantise(wanted)
    }

    fn decode(&self, codes: &Tensor, scales: &Scales, target: Dtype) -> Result<Tensor> {
        dequantize(codes, scales, target)
    }

    fn error(&self, original: &Tensor, codes: &Tensor, scales: &Scales) -> Result<QuantisationError> {
        quantisation_error(original, codes, scales)
    }
}
