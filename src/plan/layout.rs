//! How FP8 layers are laid out: dialect, activations, rounding and scale sharing, and which combinations are truthful.

use crate::error::{Error, Result};
use crate::format::{Encoding, FormatId, Granularity, Rounding, ScaleRule, ScaleShape, ScaleStorage};
use crate::words::words;

words! {
    /// The conventions that a scheme directory follows.
    Dialect, "dialect" {
        /// One directory for Transformers, vLLM, SGLang and TensorRT-LLM: compressed-tensors in `config.json` and
        /// ModelOpt's `FP8` in `hf_quant_config.json`, scales as BF16 `[1]`. Always static.
        Universal = "universal",
        /// compressed-tensors `float-quantized` only; per tensor and static, or per channel and dynamic.
        CompressedTensors = "compressed-tensors",
        /// What ModelOpt's own export writes: `FP8`, or `FP8_PER_CHANNEL_PER_TOKEN` when dynamic; scales in F32.
        ModelOpt = "modelopt",
    }
}

words! {
    /// A dialect, or the choice of one by the activations.
    DialectChoice, "dialect" {
        /// `universal` when static, `compressed-tensors` when dynamic.
        Auto = "auto",
        /// See [`Dialect::Universal`].
        Universal = "universal",
        /// See [`Dialect::CompressedTensors`].
        CompressedTensors = "compressed-tensors",
        /// See [`Dialect::ModelOpt`].
        ModelOpt = "modelopt",
    }
}

impl Dialect {
    /// The format of its quantised layers.
    pub fn format(self) -> FormatId {
        FormatId::Fp8
    }

    /// The only kind of activations that it has; nothing where it has both.
    pub fn only_activations(self) -> Option<Activations> {
        (self == Dialect::Universal).then_some(Activations::Static)
    }
}

impl DialectChoice {
    /// The dialect that was named.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            DialectChoice::Auto => None,
            DialectChoice::Universal => Some(Dialect::Universal),
            DialectChoice::CompressedTensors => Some(Dialect::CompressedTensors),
            DialectChoice::ModelOpt => Some(Dialect::ModelOpt),
        }
    }

    /// The format of quantised layers in whatever dialect is chosen.
    pub fn format(self) -> FormatId {
        self.dialect().map_or(FormatId::Fp8, Dialect::format)
    }

    /// See [`Dialect::only_activations`].
    pub fn only_activations(self) -> Option<Activations> {
        self.dialect().and_then(Dialect::only_activations)
    }
}

words! {
    /// How the inputs of FP8 layers are scaled at run time.
    Activations, "kind of activations" {
        /// By a calibrated `input_scale` per layer.
        Static = "static",
        /// Per token, measured while running; needs no calibration.
        Dynamic = "dynamic",
    }
}

words! {
    /// A kind of activations, or the choice of one by what is known.
    ActivationsChoice, "kind of activations" {
        /// Static when every selected layer has an input scale, otherwise dynamic.
        Auto = "auto",
        /// See [`Activations::Static`].
        Static = "static",
        /// See [`Activations::Dynamic`].
        Dynamic = "dynamic",
    }
}

words! {
    /// Whether modules that loaders fuse share their scales.
    ScaleSharing, "scale sharing" {
        /// Members of a fused group share the scale of their largest amax, so that no loader requantises them.
        Group = "group",
        /// Every module keeps its own scale, as in ModelOpt's export.
        None = "none",
    }
}

/// The layout of every FP8 layer of a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Conventions of the directory.
    pub dialect: Dialect,
    /// Static or dynamic input scales.
    pub activations: Activations,
    /// How quotients are rounded to codes.
    pub rounding: Rounding,
    /// Whether fused modules share their weight and input scales.
    pub scale_sharing: ScaleSharing,
}

impl Layout {
    /// A layout, if the combination is one that loaders read as it is meant.
    ///
    /// # Errors
    /// [`Error::Refused`] for `universal` with dynamic activations: its `hf_quant_config.json` says `FP8`, which is
    /// always static.
    pub fn new(
        dialect: Dialect,
        activations: Activations,
        rounding: Rounding,
        scale_sharing: ScaleSharing,
    ) -> Result<Self> {
        if dialect == Dialect::Universal && activations == Activations::Dynamic {
            return Err(Error::refused(
                "the dialect universal is always static, and dynamic activations were chosen",
            )
            .with_hint(
                "give --baseline or --amax for input scales, or choose --dialect compressed-tensors",
            ));
        }
        Ok(Layout { dialect, activations, rounding, scale_sharing })
    }

    /// Weight scales: one per tensor when static, one per output channel when dynamic.
    pub fn granularity(&self) -> Granularity {
        match self.activations {
            Activations::Static => Granularity::Tensor,
            Activations::Dynamic => Granularity::Channel,
        }
    }

    /// How an amax becomes a scale: representable in BF16 wherever scales are stored in BF16.
    pub fn scale_rule(&self) -> ScaleRule {
        match self.dialect {
            Dialect::Universal | Dialect::CompressedTensors => ScaleRule::Bf16Up,
            Dialect::ModelOpt => ScaleRule::F32,
        }
    }

    /// How the weights of FP8 layers become codes and scales.
    pub fn encoding(&self) -> Encoding {
        Encoding::e4m3(self.granularity(), self.scale_rule(), self.rounding)
    }

    /// How scales are stored.
    pub fn scale_storage(&self) -> ScaleStorage {
        let shape = match self.dialect {
            Dialect::ModelOpt => ScaleShape::WithoutOnes,
            Dialect::Universal | Dialect::CompressedTensors => ScaleShape::WithOnes,
        };
        ScaleStorage { shape, input_scale: self.activations == Activations::Static }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    #[test]
    fn a_misspelled_word_is_answered_with_the_nearest() {
        let error = "modelop".parse::<Dialect>().unwrap_err();
        assert_eq!(error.to_string(), "there is no dialect `modelop`");
        assert!(error.hint().unwrap().starts_with("did you mean `modelopt`?"));
    }

    #[test]
    fn universal_is_never_dynamic() {
        let layout =
            Layout::new(Dialect::Universal, Activations::Dynamic, Rounding::Exact, ScaleSharing::Group);
        assert_eq!(layout.unwrap_err().kind(), "refused");
    }

    /// The shapes that `facts/loaders.md` found readable.
    #[test]
    fn scales_have_the_shapes_that_loaders_accept() {
        let scales = |dialect, activations| {
            let layout = Layout::new(dialect, activations, Rounding::Exact, ScaleSharing::Group).unwrap();
            let encoding = layout.encoding();
            let tensors =
                encoding.format.format().tensors(&[8, 4], &encoding, &layout.scale_storage()).unwrap();
            tensors.into_iter().skip(1).map(|t| (t.leaf, t.dtype, t.shape)).collect::<Vec<_>>()
        };
        let (weight, input) = ("weight_scale", "input_scale");
        assert_eq!(
            scales(Dialect::Universal, Activations::Static),
            [(weight, Dtype::BF16, vec![1]), (input, Dtype::BF16, vec![1])]
        );
        assert_eq!(
            scales(Dialect::CompressedTensors, Activations::Dynamic),
            [(weight, Dtype::BF16, vec![8, 1])]
        );
        assert_eq!(
            scales(Dialect::ModelOpt, Activations::Static),
            [(weight, Dtype::F32, vec![]), (input, Dtype::F32, vec![])]
        );
        assert_eq!(scales(Dialect::ModelOpt, Activations::Dynamic), [(weight, Dtype::F32, vec![8])]);
    }
}
