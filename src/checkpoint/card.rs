//! The model card of a checkpoint directory, and how one that qlua wrote is told from any other.

use std::path::Path;

use crate::error::{Error, Result};
use crate::input::{self, InputKind};

/// The name of the card, which the Hugging Face Hub reads.
pub const CARD: &str = "README.md";
/// A line that stands in cards of qlua and nowhere else.
pub const CARD_MARK: &str = "<!-- This model card was written by qlua. -->";

/// Whether the card of `directory` is one that qlua wrote for it: it says nothing of what is made from it, nor of what that was
/// made from.
///
/// # Errors
/// [`Error::Io`] when it is there and cannot be read.
pub fn has_own_card(directory: &Path) -> Result<bool> {
    match input::read(&directory.join(CARD), InputKind::Data) {
        Ok(text) => Ok(text.windows(CARD_MARK.len()).any(|window| window == CARD_MARK.as_bytes())),
        Err(error @ Error::Io { .. }) if !input::is_missing(&error) => Err(error),
        // What is no file is no card.
        Err(_) => Ok(false),
    }
}
