//! From plans to directories: safetensors files, configuration files, and the transaction that makes a directory appear
//! whole or not at all.

mod companions;
mod content;
pub mod dialect;
mod family;
mod group_state;
mod jobs;
mod outputs;
mod progress;
mod provenance;
mod report;
mod scheme;
mod shard;
mod target;
mod transaction;
mod weights;
mod writer;

pub use companions::{companion_files, with_quantization_config};
pub use content::{Content, Member, OutputTensor, ScaleGroup};
pub use family::{Decision, Family, FamilyOptions, PlannedScheme};
pub use outputs::scheme_outputs;
pub use progress::{Progress, Silent};
pub use provenance::{HashedFile, Request};
pub use report::{REPORT_HTML, REPORT_MARKDOWN};
pub use scheme::Written;
pub use shard::{ShardFile, ShardLayout};
pub use transaction::PartialDirectory;
pub use weights::{DEFAULT_SHARD_SIZE, WriteOptions, deal_into_shards, shard_name, write_weights};
pub use writer::{QuantizeOptions, Writer, WriterOptions};
