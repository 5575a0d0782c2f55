//! Hugging Face checkpoint directories: shards, index, and configuration. Read-only.

mod directory;
mod header;
pub mod quantisation;

pub use directory::{Checkpoint, HF_QUANT_CONFIG, INDEX_FILE, Index, read_index};
pub use header::{HeaderEntry, names_in, read_header};
