//! What a block of a shard is made from: it is on record with the block, so that a later run goes on with it only where that is
//! still so. Times of files do not tell: two sources may have the same.

use std::sync::OnceLock;

use crate::write::content::Content;
use crate::write::pass::OutputFile;
use crate::write::source_hashes::SourceHashes;

/// The hashes of what one shard is made from.
pub(super) struct BlockSources<'a> {
    sources: &'a SourceHashes<'a>,
    /// Of each tensor that is made from whole tensors, once it is asked for.
    whole: Vec<OnceLock<String>>,
}

impl<'a> BlockSources<'a> {
    /// Knows nothing of `shard` yet.
    pub fn new(sources: &'a SourceHashes<'a>, shard: &OutputFile) -> Self {
        BlockSources { sources, whole: vec![OnceLock::new(); shard.tensors().len()] }
    }

    /// Hash of what `block` of `shard` is made from.
    pub fn of(&self, shard: &OutputFile, block: usize) -> String {
        let mut hasher = blake3::Hasher::new();
        for (entry, part, bytes) in shard.parts_of(block) {
            let content = &shard.tensors()[entry].content;
            let of_whole =
                || self.sources.of_parts(content.sources().into_iter().map(|tensor| tensor.bytes()));
            match content {
                // Element by element: a part is made from the same part.
                Content::Bytes(source) | Content::Cast(source) => {
                    let all = source.bytes();
                    let scaled = |at: u64| (u128::from(at) * all.len() as u128 / u128::from(bytes)) as usize;
                    hasher.update(
                        self.sources.of_parts([&all[scaled(part.start)..scaled(part.end)]]).as_bytes(),
                    );
                }
                Content::InputScale { scale, .. } => drop(hasher.update(scale.bytes())),
                Content::Dequantised { scales, .. } => {
                    hasher.update(self.whole[entry].get_or_init(of_whole).as_bytes());
                    for value in &scales.values {
                        hasher.update(&value.to_le_bytes());
                    }
                }
                // Scales are those of whole tensors.
                _ => drop(hasher.update(self.whole[entry].get_or_init(of_whole).as_bytes())),
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}
