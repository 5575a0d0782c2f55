//! Element types, spelled as in safetensors headers.

use crate::words::words;

words! {
    /// An element type of a safetensors file.
    #[derive(PartialOrd, Ord, Hash)]
    #[allow(missing_docs, reason = "the names are the safetensors format's own")]
    pub enum Dtype: "dtype" {
        Bool = "BOOL",
        U8 = "U8",
        I8 = "I8",
        F8E4M3 = "F8_E4M3",
        F8E5M2 = "F8_E5M2",
        U16 = "U16",
        I16 = "I16",
        F16 = "F16",
        BF16 = "BF16",
        U32 = "U32",
        I32 = "I32",
        F32 = "F32",
        U64 = "U64",
        I64 = "I64",
        F64 = "F64",
    }
}

impl Dtype {
    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 | Dtype::F8E4M3 | Dtype::F8E5M2 => 1,
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::BF16 => 2,
            Dtype::U32 | Dtype::I32 | Dtype::F32 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 => 8,
        }
    }

    /// The name in a safetensors header, such as `BF16`.
    pub fn name(self) -> &'static str {
        self.word()
    }

    /// Whether E4M3 codes can be made from it: BF16, F16 or F32.
    pub fn is_quantisable(self) -> bool {
        matches!(self, Dtype::BF16 | Dtype::F16 | Dtype::F32)
    }
}
