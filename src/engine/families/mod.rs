//! The architectures that the engine computes, one file a family.

mod llama;
mod qwen2;
mod qwen2_5_vl;
mod qwen2_vl;
mod qwen3;
mod qwen3_vl;
mod reading;

use super::configuration::Blueprint;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use reading::Reading;

/// How a family reads its configuration.
type Read = fn(&Reading) -> Result<Blueprint>;

/// `model_type` and its reader.
const FAMILIES: &[(&str, Read)] = &[
    ("llama", llama::llama),
    ("mistral", llama::mistral),
    ("qwen2", qwen2::read),
    ("qwen3", qwen3::read),
    ("qwen2_vl", qwen2_vl::read),
    ("qwen2_5_vl", qwen2_5_vl::read),
    ("qwen3_vl", qwen3_vl::read),
];

/// The architecture of `checkpoint`.
///
/// # Errors
/// [`Error::Refused`] when the engine does not compute it; those of a configuration that lacks something.
pub(super) fn blueprint(checkpoint: &Checkpoint) -> Result<Blueprint> {
    let kind = checkpoint.model_type().unwrap_or("unknown");
    let Some((_, read)) = FAMILIES.iter().find(|(name, _)| *name == kind) else {
        let known: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
        return Err(Error::refused(format!("the engine does not compute models of type `{kind}`"))
            .with_hint(format!(
                "it knows {}; examples/autoquant_baseline.py scores any other with ModelOpt",
                known.join(", ")
            )));
    };
    let blueprint = read(&Reading::new(checkpoint))?;
    if let Some(vision) = &blueprint.vision
        && vision.output != blueprint.text.hidden
    {
        let (output, hidden) = (vision.output, blueprint.text.hidden);
        let problem =
            format!("the vision tower gives tokens of {output} values to a language model of {hidden}");
        return Err(Error::refused(problem));
    }
    Ok(blueprint)
}
