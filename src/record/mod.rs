//! What a scheme directory has on record of itself: what it was made from, and the hash of every file.

mod files;
mod provenance;
pub(crate) mod tree_hash;

pub use files::{FileInDirectory, FileKind, RecordedFile, files_below};
pub(crate) use files::{name_in_record, require_same};
pub use provenance::{
    FoundRecord, HashedFile, LayoutWords, Provenance, ProvenanceRecord, RecordedModel, Request, Source,
    WeightFile,
};
pub(crate) use provenance::{PROVENANCE, record_path, with_file};
pub(crate) use tree_hash::hash_file;

/// The file beside the record that says what the FP8 layers of a scheme lose, by module.
pub(crate) const WEIGHT_ERROR: &str = "weight-error.json";
