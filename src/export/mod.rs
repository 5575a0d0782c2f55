//! From plans to directories: safetensors files, configuration files, and the transaction that makes a directory appear
//! whole or not at all.

mod shard;

pub use shard::{ShardFile, ShardLayout};
