//! From planned tensors to files: one pass over the weights, the shard store of a family, and the transaction that makes a
//! directory appear whole or not at all. Bytes, not meaning.

mod amend;
pub(crate) mod config_text;
pub(crate) mod content;
pub(crate) mod destination;
mod detach;
pub(crate) mod held;
mod held_file;
pub(crate) mod kept;
mod leftovers;
pub(crate) mod outputs;
pub(crate) mod pass;
pub(crate) mod progress;
pub(crate) mod removable;
pub(crate) mod shard;
pub(crate) mod source_hashes;
pub(crate) mod store;
pub(crate) mod transaction;
pub(crate) mod weight_errors;
pub(crate) mod weights;

pub use crate::checkpoint::Companions;
pub use crate::record::{HashedFile, Request};
pub use amend::{Amended, amend};
pub use config_text::{with_quantization_config, without_quantisation};
pub use content::{Content, Member, OutputTensor, ScaleGroup};
pub use detach::{Detached, detach};
pub use kept::KeptAside;
pub use leftovers::{Leftover, LeftoverFate, leftovers};
pub use outputs::scheme_outputs;
pub use progress::{Progress, Silent};
pub use shard::{ShardFile, ShardLayout};
pub use store::link::{Link, LinkChoice};
pub use transaction::PartialDirectory;
pub use weight_errors::WeightErrors;
pub use weights::{
    DEFAULT_SHARD_SIZE, LEAST_SHARD_SIZE, WriteOptions, deal_into_shards, shard_name, write_weights,
};

pub(crate) use destination::{
    require_apart, require_no_dangling_link, require_outside, require_space, require_writable,
};
