//! What dialects are called.

use crate::words::{choice, words};

words! {
    /// The conventions that a scheme directory follows.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum DialectId: "dialect" {
        /// One directory for every reader: compressed-tensors in `config.json` and ModelOpt's `FP8` in
        /// `hf_quant_config.json`, scales as BF16 `[1]`. Always static.
        Universal = "universal",
        /// compressed-tensors `float-quantized` only; per tensor and static, or per channel and dynamic.
        CompressedTensors = "compressed-tensors",
        /// What ModelOpt's own export writes: `FP8`, or `FP8_PER_CHANNEL_PER_TOKEN` when dynamic; scales in F32.
        ModelOpt = "modelopt",
        /// Block FP8 as in the official releases of Qwen3 and DeepSeek: `quant_method: fp8` in `config.json`, scales in F32
        /// for blocks of 128×128. Always dynamic.
        Fp8Block = "fp8-block",
    }
}

choice! {
    /// A dialect, or the choice of one by the activations: `universal` when static, `compressed-tensors` when dynamic.
    DialectChoice of DialectId
}
