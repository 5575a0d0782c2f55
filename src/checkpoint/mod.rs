//! Hugging Face checkpoint directories: shards, index, and configuration. Read-only.

mod ballast;
mod card;
mod companions;
mod directory;
mod header;
pub mod hub;
mod index;
pub mod quantisation;

pub use card::{CARD, CARD_MARK, has_own_card};
pub use companions::Companions;
pub(crate) use companions::copy_file;
pub use directory::{Checkpoint, HF_QUANT_CONFIG};
pub use header::{HeaderEntry, header_metadata, names_in, read_header};
pub use index::{INDEX_FILE, Index, read_index};

/// The folder of a scheme that says how it was decided.
pub(crate) const RECORDS: &str = "layer-sensitivity";
