//! Text to tokens and back, by the `tokenizer.json` of a checkpoint.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::input::InputKind;
use crate::json;

/// The name of the tokenizer's file.
const FILE: &str = "tokenizer.json";
/// The name of the file that says how the tokenizer is used.
pub(super) const CONFIG_FILE: &str = "tokenizer_config.json";
/// How many times longer the replacements of a tokenizer, one after the other, may make a text. Those of known ones make it three times
/// as long.
const MOST_GROWTH: f64 = 100.0;

/// The tokenizer of a checkpoint.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// Which end of a text that is too long is cut off (`truncation_side`).
    cut: TruncationDirection,
    /// Tokens that `tokenizer_config.json` adds.
    added: HashSet<u32>,
    hash: String,
    path: PathBuf,
}

impl TextTokenizer {
    /// Opens that of `checkpoint`; `config` is its `tokenizer_config.json`, null where there is none.
    ///
    /// # Errors
    /// [`Error::NotFound`] without a `tokenizer.json`; [`Error::Format`] for one that is none; [`Error::Refused`] for one that leaves
    /// merges to chance, or makes texts longer without measure; those of [`Checkpoint::read_beside`].
    pub(super) fn open(checkpoint: &Checkpoint, config: &Value) -> Result<Self> {
        let path = checkpoint.directory().join(FILE);
        let bytes = checkpoint.read_beside(FILE, InputKind::Configuration)?.ok_or_else(|| {
            Error::not_found(format!("`{}` holds no {FILE}", checkpoint.directory().display())).with_hint(
                "copy it from the model's page; Transformers writes it with tokenizer.save_pretrained",
            )
        })?;
        let unread = |why: String| {
            Error::format(&path, format!("is no tokenizer that can be read: {why}"))
                .with_hint("take the file from the model's page")
        };
        let said: Value = serde_json::from_slice(&bytes).map_err(|e| unread(e.to_string()))?;
        require_usable(&path, &said)?;
        drop(said);
        let mut tokenizer = Tokenizer::from_bytes(&bytes).map_err(|e| unread(e.to_string()))?;
        // Some files carry the truncation and the padding of whoever saved them last.
        tokenizer
            .with_truncation(None)
            .map_err(|e| Error::format(&path, format!("cannot be used without truncation: {e}")))?
            .with_padding(None);
        let cut = match config["truncation_side"].as_str() {
            Some("left") => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        };
        let added = config["added_tokens_decoder"].as_object().into_iter().flatten();
        let added = added.filter_map(|(id, _)| id.parse().ok()).collect();
        Ok(TextTokenizer { tokenizer, cut, added, hash: blake3::hash(&bytes).to_hex().to_string(), path })
    }

    /// The tokens of `text`. With `adding_special`, those that the tokenizer puts around every text, such as BOS, are there too.
    /// Names of special tokens inside the text become these tokens.
    ///
    /// # Errors
    /// [`Error::Format`] when the tokenizer fails.
    pub fn encode(&self, text: &str, adding_special: bool) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, adding_special).map_err(|e| self.failed(&e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of `text` with those around it, cut to `most` tokens in all: those around it are never cut.
    ///
    /// # Errors
    /// [`Error::Argument`] when `most` leaves no room for any text; those of [`TextTokenizer::encode`].
    pub fn encode_cut(&self, text: &str, most: usize) -> Result<Vec<u32>> {
        let around = self.tokenizer.get_post_processor().map_or(0, |added| added.added_tokens(false));
        let Some(room) = most.checked_sub(around).filter(|room| *room > 0) else {
            return Err(Error::argument(format!("{most} tokens leave no room for text"))
                .with_hint(format!("the tokenizer adds {around} of its own; give a larger --max-length")));
        };
        let mut encoding = self.tokenizer.encode_fast(text, false).map_err(|e| self.failed(&e))?;
        encoding.truncate(room, 0, self.cut);
        let encoding = self.tokenizer.post_process(encoding, None, true).map_err(|e| self.failed(&e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The same tokenizer, for which names of special tokens inside a text are letters like others.
    #[must_use]
    pub fn without_special_names(&self) -> Self {
        let mut plain = self.clone();
        plain.tokenizer.set_encode_special_tokens(true);
        plain
    }

    /// The token that the tokenizer puts before every text (BOS); nothing where it puts none.
    ///
    /// # Errors
    /// Those of [`TextTokenizer::encode`].
    pub fn first_token(&self) -> Result<Option<u32>> {
        let (plain, whole) = (self.encode("a", false)?, self.encode("a", true)?);
        Ok(whole.first().copied().filter(|first| plain.first() != Some(first)))
    }

    /// The text of `tokens`; bytes that are no UTF-8 become replacement characters. Special tokens are spelled out or skipped.
    ///
    /// # Errors
    /// [`Error::Format`] when the tokenizer fails.
    pub fn decode(&self, tokens: &[u32], skipping_special: bool) -> Result<String> {
        self.tokenizer.decode(tokens, skipping_special).map_err(|e| self.failed(&e))
    }

    /// The token called `name`.
    pub fn token(&self, name: &str) -> Option<u32> {
        self.tokenizer.token_to_id(name)
    }

    /// Whether some text can have `token`: the embedding may have more rows than there are tokens.
    pub(super) fn has(&self, token: u32) -> bool {
        self.added.contains(&token) || self.tokenizer.id_to_token(token).is_some()
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The BLAKE3 hash of its file, in hexadecimal.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// The name of `token`.
    pub fn name(&self, token: u32) -> Option<String> {
        self.tokenizer.id_to_token(token)
    }

    fn failed(&self, error: &tokenizers::Error) -> Error {
        Error::format(&self.path, format!("cannot be applied: {error}"))
    }
}

/// Fails for a tokenizer of which nobody could say what a text becomes, or how long.
fn require_usable(path: &Path, said: &Value) -> Result<()> {
    let refused = |problem: String| {
        Error::refused(format!("`{}` {problem}", path.display()))
            .with_hint("take the file from the model's page")
    };
    // An aid of training: the same text would have other tokens each time, and other scores.
    let dropout = &said["model"]["dropout"];
    if !dropout.is_null() && dropout.as_f64() != Some(0.0) {
        return Err(refused(format!("leaves out merges at random (`dropout` is {dropout})")));
    }
    let parts = ["normalizer", "pre_tokenizer", "decoder"];
    match parts.iter().map(|part| growth(&said[*part])).fold(1.0, f64::max) {
        most if most > MOST_GROWTH => {
            Err(refused("makes texts longer without measure by its replacements".into()))
        }
        _ => Ok(()),
    }
}

/// How many times longer the replacements in `part`, one after the other, may make a text.
fn growth(part: &Value) -> f64 {
    let inner: f64 = match part {
        Value::Array(parts) => parts.iter().map(growth).product(),
        Value::Object(parts) => parts.values().map(growth).product(),
        _ => 1.0,
    };
    if part["type"] != "Replace" {
        return inner;
    }
    let length = |value: &Value| value.as_str().map_or(0, str::len).max(1) as f64;
    // An expression may find single letters.
    (length(&part["content"]) / length(&part["pattern"]["String"])).max(1.0) * inner
}

/// The file `name` of a checkpoint as JSON; null where there is none.
///
/// # Errors
/// Those of [`Checkpoint::read_beside`]; [`Error::Format`] for what is no JSON object.
pub(super) fn read_json(checkpoint: &Checkpoint, name: &str) -> Result<Value> {
    let Some(bytes) = checkpoint.read_beside(name, InputKind::Configuration)? else { return Ok(Value::Null) };
    let path = checkpoint.directory().join(name);
    let value: Value = json::parse(&path, &bytes)?;
    match value.is_object() {
        true => Ok(value),
        false => Err(Error::format(&path, "is not a JSON object")),
    }
}
