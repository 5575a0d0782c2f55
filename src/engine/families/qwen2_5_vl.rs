//! Qwen2.5-VL ("Qwen2.5-VL Technical Report", 2025): most blocks of its vision tower see a window of the picture only.

use super::super::backend::Activation;
use super::super::configuration::{Blueprint, NormKind, Perceptron, VisionConfiguration};
use super::super::rotary::{AxisSections, VisionRotary};
use super::qwen2_vl::merger;
use super::reading::Reading;
use crate::error::Result;

/// A Qwen2.5-VL.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let vision = reading.vision();
    let number = |keys: &[&str]| reading.number(vision, keys);
    let (hidden, heads) = (number(&["hidden_size"])?, number(&["num_heads"])?);
    let patch = number(&["patch_size"])?;
    let whole = vision["fullatt_block_indexes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let whole = whole.iter().filter_map(|block| block.as_u64()).map(|block| block as usize).collect();
    let vision = VisionConfiguration {
        hidden,
        depth: number(&["depth"])?,
        heads,
        intermediate: number(&["intermediate_size"])?,
        output: number(&["out_hidden_size"])?,
        patch_values: number(&["in_channels", "in_chans"])?
            * number(&["temporal_patch_size"])?
            * patch
            * patch,
        patch,
        merge: number(&["spatial_merge_size"])?,
        norm: NormKind::Rms,
        perceptron: Perceptron::Gated,
        activation: reading.activation(vision, "hidden_act", Activation::Silu)?,
        rotary: VisionRotary::new(10000.0, hidden / heads),
        windows: Some((number(&["window_size"])?, whole)),
        positions: None,
        merger: merger(NormKind::Rms),
        deepstack: vec![],
    };
    let text = reading.language_model(1e6, AxisSections::InTurn)?;
    Ok(Blueprint { text, vision: Some(vision), image_token: reading.image_token() })
}
