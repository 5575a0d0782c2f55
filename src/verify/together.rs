//! Directories, one or several at once.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::directory::FoundDirectory;
use super::reading::{SeenShards, bytes_to_read};
use super::{Depth, Problem, Verified, VerifyListener, VerifyOptions};
use crate::error::{Error, Result};

/// So many directories are open at a time, whatever the number that was given: what is known of one takes a megabyte or two.
const AT_ONCE: usize = 32;

/// Checks `directory` and returns what is wrong with it, and what of it is not known here ([`super::Code::NotChecked`]), in a fixed
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
    let seen = SeenShards::unheard();
    let found = FoundDirectory::open(directory, options)?;
    let looked = found.look(options, &seen);
    found.judge(looked, options, &seen)
}

/// Checks all `directories` as `options` say, on all threads at once; the outcome of each, in their order. Weight files that several
/// of them hold under names of their own (hard links) are read once. Of those that were looked at to the end before an interruption
/// the outcome is told all the same.
///
/// `listener` hears how many bytes of weights there are to read, and of each part that is read.
pub fn verify_all(
    directories: &[PathBuf],
    options: &VerifyOptions,
    listener: &dyn VerifyListener,
) -> Vec<Result<Verified>> {
    if options.depth == Depth::Full {
        listener.begin(bytes_to_read(directories, options.base.is_some()));
    }
    let seen = SeenShards::heard_by(listener);
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
