//! Text that appears token by token.

use super::tokens::TextTokenizer;
use crate::error::Result;

/// What a decoder of bytes shows for a character of which some bytes are missing yet.
const INCOMPLETE: char = '\u{fffd}';
/// No character has more bytes, and a token has at least one: after as many tokens, what is incomplete is no UTF-8 at all.
const LONGEST_CHARACTER: usize = 4;

/// Gives the text of tokens as they come, whole characters only.
///
/// What a token reads as may depend on the ones before it (a space at the beginning of a text is dropped by some decoders), so a
/// token is read together with the piece before it, and what that piece is known to read as is taken off.
#[derive(Debug)]
pub struct TextStream<'t> {
    tokenizer: &'t TextTokenizer,
    skipping_special: bool,
    /// The tokens of the last piece that was given out, then those that were not yet.
    tokens: Vec<u32>,
    /// How many of them were given out.
    given: usize,
}

impl<'t> TextStream<'t> {
    /// A stream after `before`, whose text is not given out again.
    pub fn after(tokenizer: &'t TextTokenizer, before: &[u32], skipping_special: bool) -> Self {
        // A word or two tell the decoder that the text has begun.
        let tokens = before[before.len().saturating_sub(8)..].to_vec();
        TextStream { tokenizer, skipping_special, given: tokens.len(), tokens }
    }

    /// Takes a token; the text that is complete by it, which may be none.
    ///
    /// # Errors
    /// Those of [`TextTokenizer::decode`].
    pub fn push(&mut self, token: u32) -> Result<String> {
        self.tokens.push(token);
        let text = self.pending()?;
        let waits = text.ends_with(INCOMPLETE) && self.tokens.len() - self.given < LONGEST_CHARACTER;
        if text.is_empty() || waits {
            return Ok(String::new());
        }
        self.tokens.drain(..self.given);
        self.given = self.tokens.len();
        Ok(text)
    }

    /// What is left at the end: characters that never became complete, as replacement characters.
    ///
    /// # Errors
    /// Those of [`TextTokenizer::decode`].
    pub fn finish(self) -> Result<String> {
        self.pending()
    }

    /// The text of the tokens that were not given out.
    fn pending(&self) -> Result<String> {
        let before = self.tokenizer.decode(&self.tokens[..self.given], self.skipping_special)?;
        let whole = self.tokenizer.decode(&self.tokens, self.skipping_special)?;
        match whole.strip_prefix(&before) {
            Some(text) => Ok(text.into()),
            // What was given out ended inside a character.
            None => self.tokenizer.decode(&self.tokens[self.given..], self.skipping_special),
        }
    }
}
