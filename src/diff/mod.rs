//! What sets two checkpoints, or two manifests, apart.
//!
//! Checkpoints are compared by what they mean: configurations key by key, weights tensor by tensor as the numbers that stand for
//! them (code × scale on both sides), whatever file holds them.

mod checkpoints;
mod files;
mod json;
mod keys;
mod manifests;
mod modules;
mod pairs;
mod sections;
mod stored;
mod values;

pub use checkpoints::{CheckpointDiff, ConfigurationChange, TensorCounts, diff_checkpoints};
pub use files::{FileChange, FilesDiff};
pub use keys::{KeyChange, changes};
pub use manifests::{FormatCount, GroupChange, GroupPart, GroupStanding, ManifestDiff, diff_manifests};
pub use modules::ModuleDiff;
pub use pairs::{TensorDiff, TensorOutcome};
pub use values::ValueDifference;
