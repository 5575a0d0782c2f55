//! Hugging Face checkpoint directories: shards, index, configuration, and module names in every spelling. Read-only.

mod directory;
mod header;
mod names;

pub use directory::{Checkpoint, HF_QUANT_CONFIG, INDEX_FILE, Index, read_index};
pub use header::{HeaderEntry, read_header};
pub use names::{
    Names, WRAPPERS, canonical, expert_group, fused_group, has_known_root, is_embedding, unwrapped,
};
