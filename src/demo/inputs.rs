//! Samples to run the demo with, as prepared tensors: bytes of captions, and seeded pictures with captions.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};

use super::shape::Qwen25VlShape;
use super::tokenizer::{IM_END, IMAGE_PAD, VISION_END, VISION_START};
use super::values::unit;
use crate::error::{Error, Result};

/// What the samples say.
const CAPTIONS: [&str; 4] = [
    "A cat sleeps on a red mat by the door.",
    "Two dogs run over the wet sand of a beach.",
    "A man reads a paper on the morning train.",
    "Three cups and a pot of tea stand on a table.",
];
/// Rows and columns of patches of each picture: whole windows, and parts of some.
const GRIDS: [[usize; 2]; 4] = [[8, 8], [6, 10], [12, 4], [4, 4]];

/// The safetensors file: `text.N.input_ids`, and `vlm.N.` with `input_ids`, `pixel_values`, `image_grid_thw` and
/// `mm_token_type_ids`, as a processor of Transformers gives them.
pub(super) fn inputs(shape: &Qwen25VlShape, seed: u64) -> Result<Vec<u8>> {
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let integers = |values: &[i64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let special = |offset: usize| (shape.first_special_token + offset) as i64;
    for (number, (caption, [rows, columns])) in CAPTIONS.iter().zip(GRIDS).enumerate() {
        let mut text: Vec<i64> = caption.bytes().map(i64::from).collect();
        text.push(special(IM_END));
        tensors
            .insert(format!("text.{number}.input_ids"), (Dtype::I64, vec![1, text.len()], integers(&text)));
        let vision = &shape.vision;
        let merged = rows * columns / (vision.spatial_merge_size * vision.spatial_merge_size);
        let mut tokens = vec![special(VISION_START)];
        tokens.extend(vec![special(IMAGE_PAD); merged]);
        tokens.push(special(VISION_END));
        tokens.extend(text);
        let kinds: Vec<i64> = tokens.iter().map(|token| i64::from(*token == special(IMAGE_PAD))).collect();
        let width = vision.in_channels * vision.temporal_patch_size * vision.patch_size * vision.patch_size;
        let count = rows * columns * width;
        let pixels = (0..count).flat_map(|at| {
            let value = unit(seed, &format!("picture {number} {at}")) * 4.0 - 2.0;
            (value as f32).to_le_bytes()
        });
        let mut put = |name: &str, dtype, shape, bytes| {
            tensors.insert(format!("vlm.{number}.{name}"), (dtype, shape, bytes));
        };
        put("pixel_values", Dtype::F32, vec![rows * columns, width], pixels.collect());
        put("image_grid_thw", Dtype::I64, vec![1, 3], integers(&[1, rows as i64, columns as i64]));
        put("mm_token_type_ids", Dtype::I64, vec![1, kinds.len()], integers(&kinds));
        put("input_ids", Dtype::I64, vec![1, tokens.len()], integers(&tokens));
    }
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.clone(), view))
    });
    let views = views.collect::<std::result::Result<Vec<_>, _>>();
    views
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|error| Error::argument(format!("the demo's samples cannot be written: {error}")))
}
