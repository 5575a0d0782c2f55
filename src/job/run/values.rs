//! What a dry run can know of the values of weights.

use super::Run;
use crate::error::Result;
use crate::format::require_finite;
use crate::write::content::{Content, OutputTensor};
use crate::write::pass::is_checked;

/// The weights of a larger checkpoint are not read by a dry run, which is to answer at once: about a tenth of a second.
const LOOKED_AT: u64 = 256 << 20;

impl Run<'_> {
    /// Fails where the run would fail because a weight is NaN or infinite. How many bytes of weights were not looked at, because
    /// that would take its time.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`], [`crate::Error::Changed`], [`crate::Error::Interrupted`].
    pub(super) fn require_finite_weights(&self) -> Result<u64> {
        let bytes = self.model.bytes();
        match () {
            () if self.schemes.iter().all(|scheme| scheme.is_up_to_date()) => Ok(0),
            () if bytes > LOOKED_AT => Ok(bytes),
            () => {
                let finite = self.items.tensors.iter().try_for_each(require_finite_sources);
                self.model.unchanged(finite).map(|()| 0)
            }
        }
    }
}

/// That the weights which `output` is made from have values that the pass takes.
fn require_finite_sources(output: &OutputTensor) -> Result<()> {
    crate::interrupt::check()?;
    match &output.content {
        Content::Codes(member) => {
            let (name, weight) = &member.group.weights[member.index];
            require_finite(name, weight.amax() as f32, ", which have no FP8 form")
        }
        Content::Bytes(tensor) | Content::Cast(tensor) if is_checked(output, tensor) => {
            require_finite(&output.spec.name, tensor.amax() as f32, "")
        }
        _ => Ok(()),
    }
}
