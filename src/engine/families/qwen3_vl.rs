//! Qwen3-VL ("Qwen3-VL Technical Report", 2025): learned positions in the vision tower, features of several of its blocks added to
//! the first blocks of the language model (DeepStack), and positions by time, row and column that alternate among frequencies.

use super::super::backend::Activation;
use super::super::configuration::{
    Blueprint, MergerConfiguration, NormKind, Perceptron, TextConfiguration, VisionConfiguration,
};
use super::super::rotary::{AxisSections, VisionRotary};
use super::reading::Reading;
use crate::error::Result;

/// A Qwen3-VL.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let vision = reading.vision();
    let number = |keys: &[&str]| reading.number(vision, keys);
    let (hidden, heads) = (number(&["hidden_size"])?, number(&["num_heads"])?);
    let patch = number(&["patch_size"])?;
    let deep = vision["deepstack_visual_indexes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let deep = deep.iter().filter_map(|block| block.as_u64()).map(|block| block as usize);
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
        norm: NormKind::Layer,
        perceptron: Perceptron::Plain { first: "linear_fc1", second: "linear_fc2" },
        activation: reading.activation(vision, "hidden_act", Activation::GeluTanh)?,
        rotary: VisionRotary::new(10000.0, hidden / heads),
        windows: None,
        positions: Some(number(&["num_position_embeddings"])?.isqrt()),
        merger: merger("vision.merger".into(), false),
        deepstack: deep
            .enumerate()
            .map(|(at, block)| (block, merger(format!("vision.deepstack_merger_list.{at}"), true)))
            .collect(),
    };
    let text = TextConfiguration {
        normalises_heads: true,
        ..reading.language_model(500000.0, AxisSections::Interleaved)?
    };
    Ok(Blueprint { text, vision: Some(vision), image_token: reading.image_token() })
}

fn merger(name: String, norm_after_merge: bool) -> MergerConfiguration {
    MergerConfiguration {
        name,
        norm_name: "norm",
        norm: NormKind::Layer,
        norm_after_merge,
        first: "linear_fc1",
        second: "linear_fc2",
    }
}
