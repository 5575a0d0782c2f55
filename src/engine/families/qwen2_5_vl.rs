//! Qwen2.5-VL ("Qwen2.5-VL Technical Report", 2025): most blocks of its vision tower see a window of the picture only.

use super::super::backend::Activation;
use super::super::configuration::{Blueprint, NormKind, Perceptron, VisionConfiguration};
use super::qwen2_vl::{merger, with_axes};
use super::reading::{Reading, TowerParts};
use crate::error::Result;

/// A Qwen2.5-VL.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let parts = TowerParts {
        norm: NormKind::Rms,
        perceptron: Perceptron::Gated,
        activation: Activation::Silu,
        merger: merger(NormKind::Rms),
    };
    let window = reading.number(reading.vision(), &["window_size"])?;
    let vision = VisionConfiguration {
        windows: Some((window, reading.vision_blocks("fullatt_block_indexes"))),
        ..reading.vision_tower("hidden_size", "out_hidden_size", parts)?
    };
    let text = with_axes(reading)?;
    Ok(Blueprint { text, vision: Some(vision), image_token: reading.image_token() })
}
