//! Every dialect by its id.

use super::compressed_tensors::CompressedTensorsDialect;
use super::fp8_block::Fp8BlockDialect;
use super::id::{DialectChoice, DialectId};
use super::interface::Dialect;
use super::modelopt::ModelOptDialect;
use super::universal::UniversalDialect;
use crate::format::FormatId;
use crate::plan::Activations;

impl DialectId {
    /// What the dialect says of itself.
    pub fn dialect(self) -> &'static dyn Dialect {
        match self {
            DialectId::Universal => &UniversalDialect,
            DialectId::CompressedTensors => &CompressedTensorsDialect,
            DialectId::ModelOpt => &ModelOptDialect,
            DialectId::Fp8Block => &Fp8BlockDialect,
        }
    }
}

impl DialectChoice {
    /// What [`DialectChoice::with`] does, in words.
    pub const AUTO_IN_WORDS: &'static str =
        "`auto` is `universal` when static and `compressed-tensors` when dynamic";

    /// The dialect that was named, or that `auto` takes with these activations.
    pub fn with(self, activations: Activations) -> DialectId {
        self.named().unwrap_or(match activations {
            Activations::Static => DialectId::Universal,
            Activations::Dynamic => DialectId::CompressedTensors,
        })
    }

    /// The format of quantised layers, whatever the activations.
    pub fn format(self) -> FormatId {
        self.with(Activations::Dynamic).dialect().format()
    }

    /// The only kind of activations that the dialect that was named has.
    pub fn only_activations(self) -> Option<Activations> {
        self.named().and_then(|id| id.dialect().only_activations())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Rounding;
    use crate::plan::ScaleSharing;
    use crate::tensor::Dtype;

    #[test]
    fn a_misspelled_word_is_answered_with_the_nearest() {
        let error = "modelop".parse::<DialectId>().unwrap_err();
        assert_eq!(error.to_string(), "there is no dialect `modelop`");
        assert!(error.hint().unwrap().starts_with("did you mean `modelopt`?"));
    }

    #[test]
    fn universal_is_never_dynamic() {
        let universal = DialectId::Universal.dialect();
        let layout = universal.layout(Activations::Dynamic, Rounding::Exact, ScaleSharing::Group);
        assert_eq!(layout.unwrap_err().kind(), "refused");
    }

    /// The shapes that `facts/loaders.md` found readable.
    #[test]
    fn scales_have_the_shapes_that_loaders_accept() {
        let scales = |dialect: DialectId, activations| {
            let layout = dialect.dialect().layout(activations, Rounding::Exact, ScaleSharing::Group).unwrap();
            let encoding = layout.encoding;
            let tensors = encoding.format.format().tensors(&[8, 4], &encoding, &layout.storage).unwrap();
            tensors.into_iter().skip(1).map(|t| (t.leaf, t.dtype, t.shape)).collect::<Vec<_>>()
        };
        let (weight, input) = ("weight_scale", "input_scale");
        assert_eq!(
            scales(DialectId::Universal, Activations::Static),
            [(weight, Dtype::BF16, vec![1]), (input, Dtype::BF16, vec![1])]
        );
        assert_eq!(
            scales(DialectId::CompressedTensors, Activations::Dynamic),
            [(weight, Dtype::BF16, vec![8, 1])]
        );
        assert_eq!(
            scales(DialectId::ModelOpt, Activations::Static),
            [(weight, Dtype::F32, vec![]), (input, Dtype::F32, vec![])]
        );
        assert_eq!(scales(DialectId::ModelOpt, Activations::Dynamic), [(weight, Dtype::F32, vec![8])]);
    }
}
