//! Qwen2-VL ("Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution", 2024): a vision tower of any
//! resolution with rotary positions by rows and columns, and a Qwen2 whose positions have a time, a row and a column.

use super::super::backend::Activation;
use super::super::configuration::{Blueprint, MergerConfiguration, NormKind, Perceptron, TextConfiguration};
use super::super::rotary::AxisSections;
use super::reading::{Reading, TowerParts};
use crate::error::Result;

/// A Qwen2-VL.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let parts = TowerParts {
        norm: NormKind::Layer,
        perceptron: Perceptron::Plain { first: "fc1", second: "fc2" },
        activation: Activation::QuickGelu,
        merger: merger(NormKind::Layer),
    };
    let vision = reading.vision_tower("embed_dim", "hidden_size", parts)?;
    let text = with_axes(reading)?;
    Ok(Blueprint { text, vision: Some(vision), image_token: reading.image_token() })
}

/// The language model of Qwen2-VL and Qwen2.5-VL.
pub(super) fn with_axes(reading: &Reading) -> Result<TextConfiguration> {
    reading.require_axes()?;
    let mut text = reading.language_model(1e6, AxisSections::InTurn)?;
    // The default of their configurations in Transformers, unlike that of Qwen2.
    if reading.text()["rms_norm_eps"].is_null() {
        text.epsilon = 1e-5;
    }
    Ok(text)
}

/// What merges the patches of Qwen2-VL and Qwen2.5-VL.
pub(super) fn merger(norm: NormKind) -> MergerConfiguration {
    MergerConfiguration {
        name: "vision.merger".into(),
        norm_name: "ln_q",
        norm,
        norm_after_merge: false,
        first: "mlp.0",
        second: "mlp.2",
    }
}
