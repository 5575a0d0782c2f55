//! Hugging Face checkpoint directories: shards, index, and configuration. Read-only.

mod ballast;
mod companions;
mod directory;
mod header;
pub mod quantisation;

pub use companions::Companions;
pub(crate) use companions::copy_file;
pub use directory::{Checkpoint, HF_QUANT_CONFIG, INDEX_FILE, Index, read_index};
pub use header::{HeaderEntry, names_in, read_header};

/// The folder of a scheme that says how it was decided.
pub(crate) const RECORDS: &str = "layer-sensitivity";
