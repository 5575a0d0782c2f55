//! What a model computes with, as one hash: two checkpoints with the same one give the same results.

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::interrupt;

/// Bytes that are hashed between two looks at whether somebody wants to stop.
const PIECE: usize = 64 << 20;

/// The hash of the configuration and the weights of `checkpoint`.
///
/// # Errors
/// [`crate::Error::Interrupted`].
pub fn model_identity(checkpoint: &Checkpoint) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hash_part(&mut hasher, checkpoint.config_text());
    for (name, _, bytes) in checkpoint.shards() {
        hash_part(&mut hasher, name.as_bytes());
        let mut content = blake3::Hasher::new();
        for piece in bytes.chunks(PIECE) {
            interrupt::check()?;
            content.update_rayon(piece);
        }
        hash_part(&mut hasher, content.finalize().as_bytes());
    }
    Ok(hasher.finalize())
}

/// Adds `bytes` with their length, so that no two lists of parts are one row of bytes.
pub(super) fn hash_part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
