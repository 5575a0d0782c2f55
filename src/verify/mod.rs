//! Checks of any checkpoint directory: what loaders would reject, and above all what they would accept and get wrong.
//!
//! The rules are those that vLLM, Transformers, SGLang and TensorRT-LLM were found to follow; each [`Code`] is one.

mod claims;
mod compressed_tensors;
mod layers;
mod modelopt;
mod problem;
mod weights;

use std::fs;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use claims::Claims;
use layers::Layers;

pub use problem::{Code, Problem};

/// How much of a directory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Headers, configurations and scales: milliseconds.
    Headers,
    /// Every FP8 code as well.
    Full,
}

/// Checks `directory` and returns what is wrong with it, in a fixed order; nothing when all loaders read what is meant.
///
/// # Errors
/// [`Error::NotFound`] when `directory` is no directory, [`Error::Io`] when it cannot be read. Damage is a problem, not an
/// error.
pub fn verify(directory: &Path, depth: Depth) -> Result<Vec<Problem>> {
    if !directory.is_dir() {
        return Err(Error::not_found(format!("the directory `{}` does not exist", directory.display())));
    }
    fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
    let checkpoint = match Checkpoint::open(directory) {
        Ok(checkpoint) => checkpoint,
        Err(error @ (Error::Format { .. } | Error::NotFound { .. })) => {
            return Ok(vec![Problem::new(
                Code::Unreadable,
                directory.display().to_string(),
                error.to_string(),
            )]);
        }
        Err(error) => return Err(error),
    };
    let claims = match Claims::read(&checkpoint) {
        Ok(claims) => claims,
        Err(error @ Error::Format { .. }) => {
            return Ok(vec![Problem::new(
                Code::Unreadable,
                directory.display().to_string(),
                error.to_string(),
            )]);
        }
        Err(error) => return Err(error),
    };

    let layers = Layers::of(&checkpoint);
    let mut problems = weights::check(&checkpoint)?;
    problems.extend(layers.check());
    problems.extend(claims.check(&layers));
    if let Some(config) = &claims.compressed_tensors {
        problems.extend(compressed_tensors::check(config, &checkpoint, &layers));
    }
    if let Some(config) = &claims.modelopt {
        problems.extend(modelopt::check(config, &layers));
    }
    if depth == Depth::Full {
        problems.extend(layers.check_codes()?);
    }
    Ok(problems)
}
