//! Qwen3 ("Qwen3 Technical Report", 2025): queries and keys are normalised head by head.

use super::super::configuration::{Architecture, TextConfiguration};
use super::super::rotary::Sections;
use super::reading::Reading;
use crate::error::Result;

/// A Qwen3.
pub(super) fn read(reading: &Reading) -> Result<Architecture> {
    let text = TextConfiguration { normalises_heads: true, ..reading.language_model(|_| Sections::One)? };
    Ok(Architecture { text, vision: None, image_token: None })
}
