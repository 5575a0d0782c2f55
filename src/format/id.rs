//! Stand-in.
use std::fmt;

/// A quantised format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FormatId {
    /// One scale per tensor or row.
    Fp8,
    /// 128×128 blocks.
    Fp8Block,
}

impl FormatId {
    /// Why a weight of this shape cannot be stored so.
    pub fn refuses(self, _shape: &[usize]) -> Option<&'static str> {
        None
    }

    /// Names in manifests.
    pub fn manifest_names(self) -> &'static [&'static str] {
        match self {
            FormatId::Fp8 => &["FP8_DEFAULT_CFG", "FP8_PER_CHANNEL_PER_TOKEN_CFG"],
            FormatId::Fp8Block => &["FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG", "FP8_DEFAULT_CFG"],
        }
    }
}

impl fmt::Display for FormatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FP8")
    }
}
