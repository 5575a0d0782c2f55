//! How quantised modules are laid out: encoding, scales, activations, and what shares a scale.

use crate::format::{Encoding, Granularity, ScaleRule, ScaleStorage};
use crate::words::{choice, words};

words! {
    /// How the inputs of quantised layers are scaled at run time.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Activations: "kind of activations" {
        /// By a calibrated `input_scale` per layer.
        Static = "static",
        /// Per token, measured while running; needs no calibration.
        Dynamic = "dynamic",
    }
}

choice! {
    /// A kind of activations, or the choice of one by what is known: static when every selected layer has an input scale.
    ActivationsChoice of Activations
}

words! {
    /// Whether modules that loaders fuse share their scales.
    pub enum ScaleSharing: "scale sharing" {
        /// Members of a fused group share the scale of their largest amax, so that no loader requantises them.
        Group = "group",
        /// Every module keeps its own scale, as in ModelOpt's export.
        None = "none",
    }
}

/// The layout of every quantised layer of a scheme. A dialect makes it: only some combinations are read as they are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How weights become codes and scales.
    pub encoding: Encoding,
    /// How scales are stored.
    pub storage: ScaleStorage,
    /// Static or dynamic input scales.
    pub activations: Activations,
    /// Whether fused modules share their weight and input scales.
    pub scale_sharing: ScaleSharing,
}

impl Layout {
    /// How many weights share a scale.
    pub fn granularity(&self) -> Granularity {
        self.encoding.granularity
    }

    /// How an amax becomes a scale.
    pub fn scale_rule(&self) -> ScaleRule {
        self.encoding.rule
    }
}
