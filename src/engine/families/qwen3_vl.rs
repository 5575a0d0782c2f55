//! Qwen3-VL ("Qwen3-VL Technical Report", 2025): learned positions in the vision tower, features of several of its blocks added to
//! the first blocks of the language model (DeepStack), and positions by time, row and column that alternate among frequencies.

use super::super::backend::Activation;
use super::super::configuration::{
    Blueprint, MergerConfiguration, NormKind, Perceptron, TextConfiguration, VisionConfiguration,
};
use super::super::rotary::AxisSections;
use super::reading::{Reading, TowerParts};
use crate::error::Result;

/// A Qwen3-VL.
pub(super) fn read(reading: &Reading) -> Result<Blueprint> {
    let parts = TowerParts {
        norm: NormKind::Layer,
        perceptron: Perceptron::Plain { first: "linear_fc1", second: "linear_fc2" },
        activation: Activation::GeluTanh,
        merger: merger("vision.merger".into(), false),
    };
    let positions = reading.number(reading.vision(), &["num_position_embeddings"])?;
    let deep = reading.vision_blocks("deepstack_visual_indexes").into_iter().enumerate();
    let deep = deep.map(|(at, block)| (block, merger(format!("vision.deepstack_merger_list.{at}"), true)));
    let vision = VisionConfiguration {
        positions: Some(positions.isqrt()),
        deepstack: deep.collect(),
        ..reading.vision_tower("hidden_size", "out_hidden_size", parts)?
    };
    reading.require_axes()?;
    let text = TextConfiguration {
        normalises_heads: true,
        ..reading.language_model(500000.0, AxisSections::Interleaved)?
    };
    reading.require_no_windows(&text)?;
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
