//! From plans to directories: safetensors files, configuration files, and the transaction that makes a directory appear
//! whole or not at all.

mod companions;
mod content;
mod detach;
pub mod dialect;
mod engines;
mod family;
mod files;
mod outputs;
mod pass;
mod progress;
mod provenance;
mod report;
mod run;
mod scheme;
mod shard;
mod source_hashes;
mod store;
mod target;
mod transaction;
mod tree_hash;
mod weights;
mod writer;

pub use companions::{companion_files, with_quantization_config};
pub use content::{Content, Member, OutputTensor, ScaleGroup};
pub use detach::{Detached, detach};
pub use family::{Decision, Family, FamilyOptions, PlannedScheme};
pub use files::PlannedFile;
pub use outputs::scheme_outputs;
pub use progress::{Progress, Silent};
pub use provenance::{HashedFile, Request};
pub use report::{REPORT_HTML, REPORT_MARKDOWN};
pub use run::Outcome;
pub use scheme::Written;
pub use shard::{ShardFile, ShardLayout};
pub use store::link::{Link, LinkChoice};
pub use transaction::PartialDirectory;
pub use weights::{DEFAULT_SHARD_SIZE, WriteOptions, deal_into_shards, shard_name, write_weights};
pub use writer::{QuantizeOptions, Writer, WriterOptions};
