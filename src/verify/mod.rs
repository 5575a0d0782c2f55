//! Checks of any checkpoint directory: what loaders would reject, and above all what they would accept and get wrong.
//!
//! The rules are those that vLLM, Transformers, SGLang and TensorRT-LLM were found to follow; each [`Code`] is one.

mod base;
mod blocks;
mod companions;
mod coverage;
mod directory;
mod family;
mod found;
mod layers;
mod needed;
mod reading;
mod records;
mod sizes;
mod tensors;
mod unknown;
mod values;
mod weights;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use base::{BaseComparison, open_base};
pub use family::{FamilyMember, check_family};
pub use records::RecordState;

pub use crate::dialect::{Code, Problem};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::words::words;
use directory::FoundDirectory;
use reading::SeenShards;

/// So many directories are open at a time, whatever the number that was given: what is known of one takes a megabyte or two.
const AT_ONCE: usize = 32;

words! {
    /// How much of a directory is read.
    pub enum Depth: "depth" {
        /// Headers, configurations and scales, names and sizes of files: milliseconds.
        Headers = "headers",
        /// Every file: hashes are compared with those on record, and every FP8 code and every other weight is looked at.
        Full = "full",
    }
}

/// What a directory is compared with, and how much of it is read.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// How much is read. A base needs [`Depth::Full`].
    pub depth: Depth,
    /// The checkpoint that the directory was made from: see [`open_base`].
    pub base: Option<&'a Model>,
}

/// What is known of a directory once it was looked at.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What is wrong with it, and what of it is not known here ([`Code::NotChecked`]), in a fixed order.
    pub problems: Vec<Problem>,
    /// How far it was compared with its record.
    pub record: RecordState,
    /// What the comparison with the base has shown, where one was made.
    pub base: Option<BaseComparison>,
    /// What a family is judged by; nothing for a directory that cannot be opened.
    pub member: Option<FamilyMember>,
}

/// Checks `directory` and returns what is wrong with it, and what of it is not known here ([`Code::NotChecked`]), in a fixed
/// order; nothing when all loaders read what is meant.
///
/// # Errors
/// As for [`verify_with`].
pub fn verify(directory: &Path, depth: Depth) -> Result<Vec<Problem>> {
    Ok(verify_with(directory, &VerifyOptions { depth, base: None })?.problems)
}

/// Checks `directory` as `options` say.
///
/// # Errors
/// [`Error::NotFound`] when `directory` is no directory, [`Error::Io`] when it cannot be read, [`Error::Changed`] when somebody
/// wrote to a checkpoint meanwhile, [`Error::Interrupted`]. Damage is a problem, not an error.
pub fn verify_with(directory: &Path, options: &VerifyOptions) -> Result<Verified> {
    let seen = SeenShards::default();
    let found = FoundDirectory::open(directory, options)?;
    let looked = found.look(options, &seen);
    found.judge(looked, options, &seen)
}

/// Checks all `directories` as `options` say, on all threads at once; the outcome of each, in their order. Weight files that several
/// of them hold under names of their own (hard links) are read once.
pub fn verify_all(directories: &[PathBuf], options: &VerifyOptions) -> Vec<Result<Verified>> {
    let seen = SeenShards::default();
    directories.chunks(AT_ONCE).flat_map(|some| verify_together(some, options, &seen)).collect()
}

/// Everything is opened, then everything is read, then everything is judged: whoever shares a file finds it read, and no thread
/// waits for another one's.
fn verify_together(
    directories: &[PathBuf],
    options: &VerifyOptions,
    seen: &SeenShards,
) -> Vec<Result<Verified>> {
    let opened: Vec<Result<FoundDirectory>> =
        directories.par_iter().map(|directory| FoundDirectory::open(directory, options)).collect();
    let looked: Vec<_> =
        opened.par_iter().map(|found| found.as_ref().ok().map(|found| found.look(options, seen))).collect();
    let judged: Vec<Option<Result<Verified>>> = opened
        .par_iter()
        .zip(looked)
        .map(|(found, looked)| Some(found.as_ref().ok()?.judge(looked?, options, seen)))
        .collect();
    // Maps of files are taken down here as well, which takes its time.
    let outcomes = opened.into_par_iter().zip(judged);
    outcomes.map(|(opened, judged)| opened.and_then(|_| judged.unwrap_or(Err(Error::Interrupted)))).collect()
}
