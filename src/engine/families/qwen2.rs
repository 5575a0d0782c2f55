//! Qwen2 and Qwen2.5 ("Qwen2 Technical Report", 2024): a Llama with biases on queries, keys and values.

use super::super::configuration::Architecture;
use super::super::rotary::Sections;
use super::reading::Reading;
use crate::error::Result;

/// A Qwen2.
pub(super) fn read(reading: &Reading) -> Result<Architecture> {
    let text = reading.language_model(|_| Sections::One)?;
    Ok(Architecture { text, vision: None, image_token: None })
}
