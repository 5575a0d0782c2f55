//! Checks of any checkpoint directory: what loaders would reject, and above all what they would accept and get wrong.
//!
//! The rules are those that vLLM, Transformers, SGLang and TensorRT-LLM were found to follow; each [`Code`] is one.

mod blocks;
mod found;
mod layers;
mod tensors;
mod unknown;
mod values;
mod weights;

use std::fs;
use std::io;
use std::path::Path;

use crate::dialect::{CONFIG, Claims, DialectId, StoredLayers};
pub use crate::dialect::{Code, Problem};
use crate::error::{Error, Result};
use crate::model::{Model, expected_tensors};
use crate::words::words;
use weights::LeftOut;

words! {
    /// How much of a directory is read.
    pub enum Depth: "depth" {
        /// Headers, configurations and scales: milliseconds.
        Headers = "headers",
        /// Every FP8 code and every other weight as well.
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

/// Checks `directory` and returns what is wrong with it, and what of it is not known here ([`Code::NotChecked`]), in a fixed
/// order; nothing when all loaders read what is meant.
///
/// # Errors
/// [`Error::NotFound`] when `directory` is no directory, [`Error::Io`] when it cannot be read. Damage is a problem, not an
/// error.
pub fn verify(directory: &Path, depth: Depth) -> Result<Vec<Problem>> {
    if !directory.is_dir() {
        return Err(Error::not_found(format!("the directory `{}` does not exist", directory.display())));
    }
    fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
    let opened = Model::open(directory).and_then(|model| {
        let claims = Claims::read(&model)?;
        Ok((model, claims))
    });
    let (model, claims) = match opened {
        Ok(opened) => opened,
        Err(error) if is_damage(&error) => {
            let subject = directory.display().to_string();
            return Ok(vec![Problem::new(Code::Unreadable, subject, error.to_string())]);
        }
        Err(error) => return Err(error),
    };

    let stored = StoredLayers::of(&model);
    let (mut problems, left_out) = weights::check(&model)?;
    if let Some(unknown) = unknown::check(&claims, &stored) {
        problems.push(unknown);
        return Ok(problems);
    }
    problems.extend(check_model(&model, &claims, &left_out));
    problems.extend(layers::check(&stored));
    problems.extend(check_covered(&claims, &stored));
    for id in DialectId::ALL {
        problems.extend(id.dialect().check(&claims, &stored));
    }
    if depth == Depth::Full {
        problems.extend(layers::check_codes(&stored)?);
        problems.extend(values::check(&model)?);
    }
    Ok(problems)
}

/// The tensors of the model, where its architecture is known. What quantisers of unknown methods make of them is not.
fn check_model(model: &Model, claims: &Claims, left_out: &LeftOut) -> Vec<Problem> {
    if claims.method().is_some_and(|method| !is_known(method)) {
        return Vec::new();
    }
    match expected_tensors(model.config(), &|name| model.tensor(name).is_some()) {
        Some(expected) => tensors::check(model, &expected, left_out),
        None => blocks::check(model, left_out),
    }
}

/// Whether some dialect has this `quant_method`.
fn is_known(method: &str) -> bool {
    DialectId::ALL.iter().any(|id| id.dialect().methods().contains(&method))
}

/// Whether anything says that the FP8 layers, if there are any, are FP8.
fn check_covered(claims: &Claims, stored: &StoredLayers) -> Option<Problem> {
    let first = stored.fp8().next()?.name;
    let layers = match stored.fp8().count() {
        1 => format!("`{first}` is FP8"),
        count => format!("{count} layers are FP8, such as `{first}`"),
    };
    if claims.are_none() {
        let message = format!("{layers}, and no configuration says so: their codes are taken for weights");
        return Some(Problem::new(Code::Unconfigured, CONFIG, message));
    }
    let method = claims.method()?;
    let is_known = is_known(method);
    let message = || format!("{layers}, and the quant_method {method} of config.json knows no such layers");
    (!is_known).then(|| Problem::new(Code::Configuration, CONFIG, message()))
}
