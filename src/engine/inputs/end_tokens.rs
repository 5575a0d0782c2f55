//! The tokens that end an answer.

use serde_json::Value;

use super::tokens::read_json;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

/// The file that says how a model generates.
const FILE: &str = "generation_config.json";
const KEY: &str = "eos_token_id";

/// The tokens by which a model says that it has finished: `eos_token_id` of its `generation_config.json`, one or a list of them, else
/// that of its `config.json`; none where neither says.
///
/// # Errors
/// [`Error::Format`] where something else stands there; those of [`Checkpoint::read_beside`].
pub fn end_tokens(checkpoint: &Checkpoint) -> Result<Vec<u32>> {
    let (of_generation, config) = (read_json(checkpoint, FILE)?, checkpoint.config());
    let said = [
        (FILE, &of_generation[KEY]),
        ("config.json", &config[KEY]),
        ("config.json", &config["text_config"][KEY]),
    ];
    let Some((file, said)) = said.into_iter().find(|(_, said)| !said.is_null()) else { return Ok(vec![]) };
    let token = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let tokens: Option<Vec<u32>> = match said {
        Value::Array(list) => list.iter().map(token).collect(),
        one => token(one).map(|token| vec![token]),
    };
    tokens.ok_or_else(|| {
        Error::format(
            checkpoint.directory().join(file),
            format!("has an `{KEY}` that is no token and no list of them"),
        )
        .with_hint("take the file from the model's page")
    })
}
