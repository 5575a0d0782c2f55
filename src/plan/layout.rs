//! How FP8 layers are laid out: dialect, activations, rounding and scale sharing, and which combinations are truthful.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::fp8::{Granularity, Rounding, ScaleRule};
use crate::selector::nearest;
use crate::tensor::Dtype;

/// Declares an enum whose variants are spelled as words on the command line and in Lua.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word that is accepted, in the order of the documentation.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for this variant.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(word: &str) -> Result<Self> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => {
                        let problem = format!(concat!("there is no ", $what, " `{}`"), word);
                        let known = Self::WORDS.join(", ");
                        Err(Error::argument(problem).with_hint(match nearest(word, Self::WORDS.iter().copied()) {
                            Some(near) => format!("did you mean `{near}`? Known: {known}"),
                            None => format!("known: {known}"),
                        }))
                    }
                }
            }
        }
    };
}

pub(super) use words;

words! {
    /// The conventions that a scheme directory follows.
    Dialect, "dialect" {
        /// One directory for Transformers, vLLM, SGLang and, by its source, TensorRT-LLM: compressed-tensors in `config.json` and
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

    /// The dtype that scales are stored in.
    pub fn scale_dtype(&self) -> Dtype {
        match self.scale_rule() {
            ScaleRule::Bf16Up => Dtype::BF16,
            ScaleRule::F32 => Dtype::F32,
        }
    }

    /// The shape of the weight scale of a layer with `out_features` rows.
    pub fn weight_scale_shape(&self, out_features: usize) -> Vec<usize> {
        match (self.dialect, self.activations) {
            (Dialect::ModelOpt, Activations::Static) => vec![],
            (Dialect::ModelOpt, Activations::Dynamic) => vec![out_features],
            (_, Activations::Static) => vec![1],
            (_, Activations::Dynamic) => vec![out_features, 1],
        }
    }

    /// The shape of an input scale, where the layout stores one.
    pub fn input_scale_shape(&self) -> Option<Vec<usize>> {
        match (self.activations, self.dialect) {
            (Activations::Dynamic, _) => None,
            (Activations::Static, Dialect::ModelOpt) => Some(vec![]),
            (Activations::Static, _) => Some(vec![1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let layout = |d, a| Layout::new(d, a, Rounding::Exact, ScaleSharing::Group).unwrap();
        let universal = layout(Dialect::Universal, Activations::Static);
        assert_eq!((universal.weight_scale_shape(8), universal.scale_dtype()), (vec![1], Dtype::BF16));
        assert_eq!(universal.input_scale_shape(), Some(vec![1]));
        let dynamic = layout(Dialect::CompressedTensors, Activations::Dynamic);
        assert_eq!((dynamic.weight_scale_shape(8), dynamic.input_scale_shape()), (vec![8, 1], None));
        let modelopt = layout(Dialect::ModelOpt, Activations::Static);
        assert_eq!((modelopt.weight_scale_shape(8), modelopt.scale_dtype()), (vec![], Dtype::F32));
        assert_eq!(layout(Dialect::ModelOpt, Activations::Dynamic).weight_scale_shape(8), [8]);
    }
}
