//! The programs that serve what is written.

use crate::words::words;

words! {
    /// A program that loads checkpoint directories.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Engine: "engine" {
        /// vLLM.
        Vllm = "vllm",
        /// SGLang.
        Sglang = "sglang",
        /// Hugging Face Transformers.
        Transformers = "transformers",
    }
}

impl Engine {
    /// The name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Vllm => "vLLM",
            Engine::Sglang => "SGLang",
            Engine::Transformers => "Transformers",
        }
    }
}
