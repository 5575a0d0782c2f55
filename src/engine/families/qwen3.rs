//! Qwen3 ("Qwen3 Technical Report", 2025): queries and keys are normalised head by head.

use super::super::configuration::{Blueprint, TextConfiguration};
use super::super::rotary::AxisSections;
use super::reading::Reading;
use crate::error::Result;

/// A Qwen3.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let text = TextConfiguration {
        normalises_heads: true,
        ..reading.language_model(10000.0, |_| AxisSections::One)?
    };
    Ok(Blueprint { text, vision: None, image_token: None })
}
