//! Samples to run the demo with, as prepared tensors: bytes of captions, and seeded pictures with captions.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

use super::config::{IMAGE_DEVIATION, IMAGE_MEAN, MODEL_TYPE};
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
///
/// The metadata say whose they are: `tokenizer` is the BLAKE3 hash of `tokenizer.json`, in hexadecimal.
pub(super) fn inputs(shape: &Qwen25VlShape, seed: u64, tokenizer: &str) -> Result<Vec<u8>> {
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
        let (area, frames) = (vision.patch_size * vision.patch_size, vision.temporal_patch_size);
        let width = vision.in_channels * frames * area;
        // Levels of 8 bits, normalised; all frames of a patch are the one of the picture.
        let pixels = (0..rows * columns * width).flat_map(|at| {
            let (patch, channel, pixel) = (at / width, at % width / (frames * area), at % area);
            let level = (unit(seed, &format!("picture {number} {patch} {channel} {pixel}")) * 256.0).floor();
            let value = (level / 255.0 - IMAGE_MEAN[channel % 3]) / IMAGE_DEVIATION[channel % 3];
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
    let said = json!({"model_type": MODEL_TYPE, "tokenizer_blake3": tokenizer});
    let failed = |error: String| Error::argument(format!("the demo's samples cannot be written: {error}"));
    let bytes =
        views.and_then(|views| safetensors::serialize(views, None)).map_err(|e| failed(e.to_string()))?;
    with_metadata(&bytes, said).ok_or_else(|| failed("their header does not parse".into()))
}

/// The safetensors file `bytes` with metadata; the crate writes several in any order.
fn with_metadata(bytes: &[u8], said: Value) -> Option<Vec<u8>> {
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let (header, data) = bytes.get(8..)?.split_at_checked(length)?;
    let mut header: Map<String, Value> = serde_json::from_slice(header).ok()?;
    header.insert("__metadata__".into(), said);
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Some([&(text.len() as u64).to_le_bytes()[..], &text, data].concat())
}
