//! What formats are called.

use crate::words::words;

words! {
    /// A quantised format. The word is stable: keys of stored shards are made from it.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum FormatId: "format" {
        /// E4M3 codes with one scale for the tensor, or one for each output channel.
        Fp8 = "fp8" => "FP8",
        /// E4M3 codes with one F32 scale for each block of 128×128.
        Fp8Block = "fp8_block" => "FP8_BLOCK",
    }
}

impl FormatId {
    /// The stable word, such as `fp8`; what people read is the [`Display`](std::fmt::Display) form, such as `FP8`.
    pub const fn id(self) -> &'static str {
        self.word()
    }
}
