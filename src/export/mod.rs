//! From plans to directories: safetensors files, configuration files, and the transaction that makes a directory appear
//! whole or not at all.

mod companions;
mod content;
pub mod dialect;
mod group_state;
mod jobs;
mod progress;
mod shard;
mod transaction;
mod weights;

pub use companions::{companion_files, with_quantization_config};
pub use content::{Content, Member, OutputTensor, ScaleGroup};
pub use progress::{Progress, Silent};
pub use shard::{ShardFile, ShardLayout};
pub use transaction::PartialDirectory;
pub use weights::{DEFAULT_SHARD_SIZE, WriteOptions, deal_into_shards, shard_name, write_weights};
