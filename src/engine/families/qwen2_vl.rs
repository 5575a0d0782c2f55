//! Qwen2-VL ("Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution", 2024): a vision tower of any
//! resolution with rotary positions by rows and columns, and a Qwen2 whose positions have a time, a row and a column.

use super::super::backend::Activation;
use super::super::configuration::{
    Blueprint, MergerConfiguration, NormKind, Perceptron, VisionConfiguration,
};
use super::super::rotary::{AxisSections, VisionRotary};
use super::reading::Reading;
use crate::error::Result;

/// A Qwen2-VL.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let vision = reading.vision();
    let number = |keys: &[&str]| reading.number(vision, keys);
    let (hidden, heads) = (number(&["embed_dim"])?, number(&["num_heads"])?);
    let patch = number(&["patch_size"])?;
    let ratio = vision["mlp_ratio"].as_f64().unwrap_or(4.0);
    let vision = VisionConfiguration {
        hidden,
        depth: number(&["depth"])?,
        heads,
        intermediate: (hidden as f64 * ratio) as usize,
        output: number(&["hidden_size"])?,
        patch_values: number(&["in_channels", "in_chans"])?
            * number(&["temporal_patch_size"])?
            * patch
            * patch,
        patch,
        merge: number(&["spatial_merge_size"])?,
        norm: NormKind::Layer,
        perceptron: Perceptron::Plain { first: "fc1", second: "fc2" },
        activation: reading.activation(vision, "hidden_act", Activation::QuickGelu)?,
        rotary: VisionRotary::new(10000.0, hidden / heads),
        windows: None,
        positions: None,
        merger: merger(NormKind::Layer),
        deepstack: vec![],
    };
    let text = reading.language_model(1e6, AxisSections::InTurn)?;
    Ok(Blueprint { text, vision: Some(vision), image_token: reading.image_token() })
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
