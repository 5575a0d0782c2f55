//! The bytes of one block of a file, put together from the tensors that lie in it.

use std::ops::Range;

use super::block_failure::BlockFailure;
use super::group::Ready;
use super::groups::Groups;
use super::output_file::OutputFile;
use super::reading::{is_checked, read};
use crate::error::Result;
use crate::format::require_finite;
use crate::format::{Decoder, QuantisationError};
use crate::tensor::{Dtype, Tensor, amax_of, cast_bytes};
use crate::write::content::{Content, OutputTensor};
use crate::write::source_hashes::SourceHashes;

/// What the codes of a piece of a tensor lose, as far as that is known.
enum PieceLoss {
    None,
    /// In the piece.
    Part(QuantisationError),
    /// In the whole tensor: the device measured it.
    Whole(QuantisationError),
}

/// What making blocks needs besides the file.
pub(super) struct Makers<'a> {
    pub groups: &'a Groups,
    pub sources: Option<&'a SourceHashes<'a>>,
    /// Whether what codes lose is measured.
    pub errors: bool,
}

impl Makers<'_> {
    /// The bytes of block `index` of `target`, in `buffer` or where they lie in the source.
    pub fn make<'b>(
        &self,
        target: &'b OutputFile,
        index: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], BlockFailure> {
        let block = target.block(index);
        let entries = target.entries_of(index);
        let layout = target.layout().entries();
        if let [only] = &target.tensors()[entries.clone()]
            && let Content::Bytes(tensor) = &only.content
        {
            let range = &layout[entries.start].1;
            if range.start <= block.start && block.end <= range.end {
                return Ok(self.source(only, tensor, within(range, &block))?);
            }
        }
        buffer.resize((block.end - block.start) as usize, 0);
        let header = target.layout().header();
        if block.start < header.len() as u64 {
            let part = &header[block.start as usize..header.len().min(block.end as usize)];
            buffer[..part.len()].copy_from_slice(part);
        }
        for entry in entries {
            let range = &layout[entry].1;
            let part = range.start.max(block.start)..range.end.min(block.end);
            if part.is_empty() {
                continue;
            }
            let place = within(&block, &part);
            match self.piece(&target.tensors()[entry], within(range, &part), &mut buffer[place])? {
                PieceLoss::None => {}
                PieceLoss::Part(error) => target.add_error(entry, Some(index), error),
                PieceLoss::Whole(error) => target.add_error(entry, None, error),
            }
        }
        Ok(buffer)
    }

    /// Writes `bytes`, a range of the bytes of `output`, to `to`. Ranges begin and end between elements: files are laid out
    /// so that every tensor begins at a multiple of its element size. Gives what codes lose, where that is asked for.
    fn piece(
        &self,
        output: &OutputTensor,
        bytes: Range<usize>,
        to: &mut [u8],
    ) -> Result<PieceLoss, BlockFailure> {
        // Packed elements, which have no size, are only ever copied.
        let size = output.spec.dtype.size().max(1);
        let elements = bytes.start / size..bytes.end / size;
        let of = |tensor: &Tensor| {
            let size = tensor.dtype().size();
            elements.start * size..elements.end * size
        };
        match &output.content {
            Content::Bytes(tensor) => to.copy_from_slice(self.source(output, tensor, bytes)?),
            Content::Cast(tensor) => {
                cast_bytes(tensor.dtype(), self.source(output, tensor, of(tensor))?, output.spec.dtype, to);
            }
            Content::InputScale { scale, .. } => to.copy_from_slice(&scale.bytes()[bytes]),
            Content::Codes(member) => {
                let ready = self.groups.ready(&member.group, self.sources)?;
                let weight = &member.group.weights[member.index].1;
                return match ready.codes(member.index) {
                    Some((codes, error)) => {
                        to.copy_from_slice(&codes.bytes()[elements]);
                        drop(codes);
                        self.groups.release_codes(member, &ready);
                        Ok(error.map_or(PieceLoss::None, PieceLoss::Whole))
                    }
                    None => {
                        let source = &weight.bytes()[of(weight)];
                        ready.encoder.encode(member.index, elements.start, source, to);
                        self.groups.release_codes(member, &ready);
                        let error = || ready.encoder.error(weight, elements.start, source, to);
                        Ok(if self.errors { PieceLoss::Part(error()?) } else { PieceLoss::None })
                    }
                };
            }
            Content::WeightScale(member) => {
                let ready = self.groups.ready(&member.group, self.sources)?;
                write_scales(&ready, output.spec.dtype, elements, to);
                self.groups.release(&member.group);
            }
            Content::Dequantised { codes, scales } => {
                let row = codes.shape().last().copied().unwrap_or(1);
                let source = self.source(output, codes, of(codes))?;
                Decoder::new(scales, output.spec.dtype, row)?.decode(elements.start, source, to);
            }
        }
        Ok(PieceLoss::None)
    }

    /// A range of the bytes of a source tensor, hashed while they are in the cache. A weight that is only copied is
    /// checked too: a checkpoint with NaN in it is damaged, wherever the NaN is.
    fn source<'t>(&self, output: &OutputTensor, tensor: &'t Tensor, bytes: Range<usize>) -> Result<&'t [u8]> {
        let part = read(tensor, bytes, self.sources);
        if self.sources.is_some() && is_checked(output, tensor) {
            require_finite(&output.spec.name, amax_of(tensor.dtype(), part), "")?;
        }
        Ok(part)
    }
}

fn write_scales(ready: &Ready, dtype: Dtype, elements: Range<usize>, to: &mut [u8]) {
    let values = &ready.encoder.scales().values[elements];
    match dtype {
        Dtype::BF16 => {
            for (to, value) in to.as_chunks_mut().0.iter_mut().zip(values) {
                *to = half::bf16::from_f32(*value).to_le_bytes();
            }
        }
        _ => {
            for (to, value) in to.as_chunks_mut().0.iter_mut().zip(values) {
                *to = value.to_le_bytes();
            }
        }
    }
}

/// `part` as seen from the start of `whole`.
fn within(whole: &Range<u64>, part: &Range<u64>) -> Range<usize> {
    (part.start - whole.start) as usize..(part.end - whole.start) as usize
}
