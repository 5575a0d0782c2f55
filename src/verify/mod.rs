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
use std::io;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::words::words;
use claims::Claims;
use layers::Layers;

pub use problem::{Code, Problem};

words! {
    /// How much of a directory is read.
    pub enum Depth: "depth" {
        /// Headers, configurations and scales: milliseconds.
        Headers = "headers",
        /// Every FP8 code as well.
        Full = "full",
    }
}

/// Whether an error lies in the directory that is checked. A file that is named and not there is damage too, such as a
/// link into a cache that was cleared.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Format { .. } | Error::NotFound { .. } => true,
        Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
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
    let opened = Checkpoint::open(directory).and_then(|checkpoint| {
        let claims = Claims::read(&checkpoint)?;
        Ok((checkpoint, claims))
    });
    let (checkpoint, claims) = match opened {
        Ok(opened) => opened,
        Err(error) if is_damage(&error) => {
            let subject = directory.display().to_string();
            return Ok(vec![Problem::new(Code::Unreadable, subject, error.to_string())]);
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
    for claim in &claims.modelopt {
        problems.extend(modelopt::check(claim, &layers));
    }
    if depth == Depth::Full {
        problems.extend(layers.check_codes()?);
    }
    Ok(problems)
}
