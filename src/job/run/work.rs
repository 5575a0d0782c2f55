//! What is left to do of a run.

use crate::write::store::bucket::PlannedShard;
use crate::write::store::link::Link;
use crate::write::store::reuse::ReusedShard;

/// The work of a run; nothing where all is up to date. Numbers of schemes in its shards count those that are pending.
#[derive(Default)]
pub(super) struct PendingWork {
    /// Positions of the schemes that are not up to date.
    pub pending: Vec<usize>,
    /// What finished schemes have already.
    pub reused: Vec<ReusedShard>,
    /// What is to be made.
    pub shards: Vec<PlannedShard>,
    /// How a further directory gets a file: what the output folder was seen to do; nothing where no file is shared.
    pub link: Option<Link>,
}

impl PendingWork {
    /// Bytes that the weight files take which are to be made. Reflinks and hard links take none.
    pub fn bytes(&self) -> u64 {
        let copies = |schemes: usize| if self.link == Some(Link::Copy) { schemes as u64 } else { 1 };
        let made = self.shards.iter().map(|shard| shard.bytes * copies(shard.schemes.len()));
        let copied = self.reused.iter().map(|shard| match self.link {
            Some(Link::Copy) => shard.weight.bytes * shard.schemes.len() as u64,
            _ => 0,
        });
        made.chain(copied).sum()
    }
}
