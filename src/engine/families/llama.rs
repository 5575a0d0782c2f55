//! Llama ("LLaMA: Open and Efficient Foundation Language Models", 2023; "The Llama 3 Herd of Models", 2024) and Mistral ("Mistral
//! 7B", 2023), whose blocks see a window of keys only.

use super::super::configuration::Blueprint;
use super::super::rotary::AxisSections;
use super::reading::Reading;
use crate::error::{Error, Result};

/// A Llama.
pub(super) fn llama(reading: &Reading) -> Result<Blueprint> {
    let text = reading.language_model(10000.0, |_| AxisSections::One)?;
    reading.require_no_windows(&text)?;
    Ok(Blueprint { text, vision: None, image_token: None })
}

/// A Mistral: every block has the window, where there is one.
pub(super) fn mistral(reading: &Reading) -> Result<Blueprint> {
    let mut text = reading.language_model(10000.0, |_| AxisSections::One)?;
    // Transformers' `MistralConfig` has a window unless it is told that there is none.
    let window = match reading.text().get("sliding_window") {
        None => Some(4096),
        Some(stated) => stated.as_u64().map(|window| window as usize),
    };
    // Where its blocks are listed, Transformers takes no notice, and others do.
    let listed = reading.text()["layer_types"].is_array();
    if listed && window.is_some() && text.windows.iter().any(Option::is_none) {
        return Err(Error::refused(
            "layer_types names blocks of a Mistral that see all keys, which Transformers takes no notice of",
        )
        .with_hint("engines disagree about such a model"));
    }
    text.windows.fill(window);
    Ok(Blueprint { text, vision: None, image_token: None })
}
