//! Element types, spelled as in safetensors headers.

use crate::words::words;
use crate::{Error, Result};

words! {
    /// An element type of a safetensors file. Those without values of their own here (see [`Dtype::has_values`]) are listed
    /// and carried along byte for byte.
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
        F4 = "F4",
        F6E2M3 = "F6_E2M3",
        F6E3M2 = "F6_E3M2",
        F8E8M0 = "F8_E8M0",
        F8E4M3Fnuz = "F8_E4M3FNUZ",
        F8E5M2Fnuz = "F8_E5M2FNUZ",
        C64 = "C64",
    }
}

impl Dtype {
    /// Size of one element in bits.
    pub const fn bits(self) -> usize {
        match self {
            Dtype::F4 => 4,
            Dtype::F6E2M3 | Dtype::F6E3M2 => 6,
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 8,
            Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E8M0 | Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz => 8,
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::BF16 => 16,
            Dtype::U32 | Dtype::I32 | Dtype::F32 => 32,
            Dtype::U64 | Dtype::I64 | Dtype::F64 | Dtype::C64 => 64,
        }
    }

    /// Size of one element in whole bytes: 0 for elements narrower than a byte, which have no place of their own. Tensors of
    /// those are measured with [`Dtype::bytes_of`].
    pub const fn size(self) -> usize {
        self.bits() / 8
    }

    /// The bytes that `elements` elements take, packed; a last byte that is not full counts.
    pub const fn bytes_of(self, elements: u64) -> u64 {
        (elements * self.bits() as u64).div_ceil(8)
    }

    /// The name in a safetensors header, such as `BF16`.
    pub const fn name(self) -> &'static str {
        self.word()
    }

    /// Whether E4M3 codes can be made from it: BF16, F16 or F32.
    pub const fn is_quantisable(self) -> bool {
        matches!(self, Dtype::BF16 | Dtype::F16 | Dtype::F32)
    }

    /// Whether elements can be read as numbers. The others are packed, complex, or scales and codes of formats that are not
    /// read here.
    pub const fn has_values(self) -> bool {
        use Dtype::{C64, F4, F6E2M3, F6E3M2, F8E4M3Fnuz, F8E5M2Fnuz, F8E8M0};
        !matches!(self, F4 | F6E2M3 | F6E3M2 | F8E8M0 | F8E4M3Fnuz | F8E5M2Fnuz | C64)
    }

    /// That elements can be read as numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] when they cannot.
    pub fn require_values(self) -> Result<()> {
        if self.has_values() {
            return Ok(());
        }
        Err(Error::argument(format!("the values of {self} tensors cannot be read"))
            .with_hint("such tensors can be listed, compared and copied"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    /// Every dtype that the safetensors crate knows; a new one does not compile.
    fn of_the_crate() -> Vec<safetensors::Dtype> {
        use safetensors::Dtype as D;
        let all = [
            D::BOOL,
            D::F4,
            D::F6_E2M3,
            D::F6_E3M2,
            D::U8,
            D::I8,
            D::F8_E5M2,
            D::F8_E4M3,
            D::F8_E8M0,
            D::F8_E4M3FNUZ,
            D::F8_E5M2FNUZ,
            D::I16,
            D::U16,
            D::F16,
            D::BF16,
            D::I32,
            D::U32,
            D::F32,
            D::C64,
            D::F64,
            D::I64,
            D::U64,
        ];
        all.into()
    }

    #[test]
    fn every_dtype_of_safetensors_has_its_name_and_its_bits() {
        let all = of_the_crate();
        assert_eq!(all.len(), Dtype::ALL.len());
        for dtype in all {
            let ours: Dtype = dtype.to_string().parse().unwrap();
            assert_eq!((ours.name(), ours.bits()), (dtype.to_string().as_str(), dtype.bitsize()));
        }
        let error = "F3".parse::<Dtype>().unwrap_err();
        assert_eq!(error.to_string(), "there is no dtype `F3`");
    }

    proptest! {
        #[test]
        fn a_tensor_is_as_long_as_safetensors_says(
            index in 0..Dtype::ALL.len(),
            shape in proptest::collection::vec(0usize..9, 0..4),
        ) {
            let theirs = of_the_crate()[index];
            let ours: Dtype = theirs.to_string().parse().unwrap();
            let elements: usize = shape.iter().product();
            let bytes = ours.bytes_of(elements as u64) as usize;
            let data = vec![0; bytes];
            // The crate refuses packed elements that end inside a byte.
            let whole = (elements * ours.bits()).is_multiple_of(8);
            prop_assert_eq!(TensorView::new(theirs, shape.clone(), &data).is_ok(), whole);
            prop_assert!(TensorView::new(theirs, shape, &vec![0; bytes + 1]).is_err());
        }
    }
}
