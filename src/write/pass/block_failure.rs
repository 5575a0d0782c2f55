//! Why blocks are not made, and which of several failures counts.

use crate::error::Error;

/// What failures are ordered by: the number of a block among all blocks and, in it, 0 for the block itself or the number of
/// a group that it needs, from 1. A block that failed itself got past all groups that would have come before.
pub(super) type FailureOrder = (usize, usize);

/// Why a block was not made.
pub(super) enum BlockFailure {
    /// It failed.
    Failed(Error),
    /// Its group had failed before, which counts as a failure there, or for a reason that was told already.
    Group(Option<(FailureOrder, Error)>),
}

impl From<Error> for BlockFailure {
    fn from(error: Error) -> Self {
        BlockFailure::Failed(error)
    }
}
