//! Block FP8: E4M3 codes and an F32 scale for each block of 128×128, as the official FP8 releases of DeepSeek and Qwen3 have
//! it. Inputs are scaled while running.
//!
//! Codes, scales and errors are those of [`crate::format::fp8`] under block scales; what differs is what is on disk.

use super::encoding::Encoding;
use super::fp8::{self, E4M3_IN_WORDS, QuantisationError, codes_and_scales, refuses_e4m3};
use super::group::{QuantisedGroup, Wanted, WeightGroup};
use super::id::FormatId;
use super::interface::{Format, ModuleTensor, ScaleStorage};
use super::scale::{ScaleRule, Scales};
use super::scale_grid::{BLOCK, Granularity};
use crate::tensor::{Dtype, Tensor};
use crate::{Error, Result};

/// [`FormatId::Fp8Block`].
pub struct Fp8BlockFormat;

impl Format for Fp8BlockFormat {
    fn id(&self) -> FormatId {
        FormatId::Fp8Block
    }

    fn manifest_names(&self) -> &'static [(&'static str, Granularity)] {
        &[("FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG", Granularity::Block)]
    }

    fn codes_in_words(&self) -> &'static str {
        E4M3_IN_WORDS
    }

    fn scale_leaf(&self) -> &'static str {
        "weight_scale_inv"
    }

    fn bits(&self) -> f64 {
        8.0
    }

    fn granularities(&self) -> &'static [Granularity] {
        &[Granularity::Block]
    }

    fn refuses(&self, dtype: Dtype, shape: &[usize]) -> Option<&'static str> {
        let whole_blocks = || shape.iter().all(|size| size.is_multiple_of(BLOCK));
        refuses_e4m3(dtype, shape).or_else(|| {
            (!whole_blocks()).then_some(
                "a size that is no multiple of 128: loaders of block FP8 ask for whole blocks of 128×128",
            )
        })
    }

    fn leaves_modules_alone(&self) -> bool {
        true
    }

    fn unknown_shapes(&self) -> Option<&'static str> {
        Some(
            "a manifest alone does not say which layers are whole blocks of 128×128: with the base checkpoint more of them \
             stay as they are",
        )
    }

    fn tensors(
        &self,
        shape: &[usize],
        encoding: &Encoding,
        storage: &ScaleStorage,
    ) -> Result<Vec<ModuleTensor>> {
        if storage.input_scale {
            return Err(Error::argument("FP8_BLOCK has no input scale: inputs are scaled while running"));
        }
        if encoding.rule != ScaleRule::F32 {
            return Err(Error::argument("the scales of FP8_BLOCK are F32 and not rounded"));
        }
        codes_and_scales(self, shape, encoding, storage)
    }

    fn quantise(&self, group: &WeightGroup, wanted: Wanted) -> Result<QuantisedGroup> {
        group.quantise(wanted)
    }

    fn decode(&self, codes: &Tensor, scales: &Scales, target: Dtype) -> Result<Tensor> {
        fp8::dequantize(codes, scales, target)
    }

    fn error(&self, original: &Tensor, codes: &Tensor, scales: &Scales) -> Result<QuantisationError> {
        fp8::quantisation_error(original, codes, scales)
    }
}
