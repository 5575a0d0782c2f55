//! Source bytes, read ahead and hashed on the way.

use std::ops::Range;

use super::super::content::OutputTensor;
use super::super::source_hashes::SourceHashes;
use crate::tensor::Tensor;

/// Bytes of a source tensor that the disk is asked for before they are needed.
const READ_AHEAD: usize = 8 << 20;

/// A range of the bytes of `tensor`; `sources` are hashed while the bytes are in the cache.
pub(super) fn read<'t>(tensor: &'t Tensor, bytes: Range<usize>, sources: Option<&SourceHashes>) -> &'t [u8] {
    tensor.will_need(bytes.start + READ_AHEAD..bytes.end + READ_AHEAD);
    let part = &tensor.bytes()[bytes];
    if let Some(sources) = sources {
        sources.cover(part);
    }
    part
}

/// Whether `output`, which is copied from `tensor`, must be finite all the same.
pub(crate) fn is_checked(output: &OutputTensor, tensor: &Tensor) -> bool {
    output.spec.name.ends_with(".weight") && tensor.dtype().is_quantisable()
}
