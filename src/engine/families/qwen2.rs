//! Qwen2 and Qwen2.5 ("Qwen2 Technical Report", 2024): a Llama with biases on queries, keys and values.

use super::super::configuration::Blueprint;
use super::super::rotary::AxisSections;
use super::reading::Reading;
use crate::error::Result;

/// A Qwen2.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let text = reading.language_model(10000.0, |_| AxisSections::One)?;
    Ok(Blueprint { text, vision: None, image_token: None })
}
