//! What a family is made from, and how it is written.

use std::path::PathBuf;

use crate::device::DeviceChoice;
use crate::dialect::DialectChoice;
use crate::dialect::Engine;
use crate::format::Rounding;
use crate::plan::{ActivationsChoice, ScaleSharing};
use crate::write::{LinkChoice, Request};

/// What a sweep is made from and how.
#[derive(Debug, Clone)]
pub struct FamilyOptions {
    /// The base checkpoint; without one the family is planned from the manifest alone, and cannot be written.
    pub model: Option<PathBuf>,
    /// The sensitivity manifest.
    pub manifest: PathBuf,
    /// Where the scheme directories go.
    pub out: PathBuf,
    /// An FP8 baseline whose `input_scale` tensors are used.
    pub baseline: Option<PathBuf>,
    /// An amax file that input scales are made from; without either, the manifest's own `amax` is.
    pub amax: Option<PathBuf>,
    /// An AutoQuant state that is copied into every directory as it is.
    pub state: Option<PathBuf>,
    /// The dialect, or the choice of one.
    pub dialect: DialectChoice,
    /// Engines that have to read every scheme: what one of them gets wrong is refused before anything is written.
    pub for_engines: Vec<Engine>,
    /// The format whose scores and costs decide, by the beginning of its name in the manifest, although another one is
    /// written; without it only candidates of the format that is written count.
    pub format_from: Option<String>,
    /// The kind of activations, or the choice of one.
    pub activations: ActivationsChoice,
    /// How quotients are rounded to codes.
    pub rounding: Rounding,
    /// Whether fused modules share their scales.
    pub scale_sharing: ScaleSharing,
    /// Whether existing directories are replaced, up to date or not.
    pub overwrite: bool,
    /// How shards are shared between directories.
    pub link: LinkChoice,
    /// Tensor bytes that a shard holds at most.
    pub max_shard_size: u64,
    /// Threads that read, convert and write.
    pub threads: usize,
    /// Where weights are quantised; opened before anything is written, and named to the listener of progress unless it is
    /// the CPU by choice. Scale groups of more than 1 GiB are quantised on the CPU, in small parts. Codes and scales, and so
    /// the weight files, are the same bits on every device; sums in `weight-error.json` are equal to 1e-6.
    pub device: DeviceChoice,
    /// Whether every directory has a model card, `README.md`, in the place of that of the base checkpoint.
    pub card: bool,
    /// Recorded in `provenance.json`.
    pub request: Request,
}
