//! The JSON files beside the weights, laid out as the hub's Qwen2.5-VL-3B-Instruct has them.
//!
//! `config.json` is written as text, not through a serialiser: the hub's file says `1e-06`, and a tool that copies it
//! must keep that byte for byte.

use serde_json::json;

use super::shape::Qwen25VlShape;
use super::tokenizer;
use crate::json;

/// `model_type` of the configuration.
pub(super) const MODEL_TYPE: &str = "qwen2_5_vl";
/// The mean of each channel of pictures, from 0 to 1.
pub(super) const IMAGE_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// Their standard deviations.
pub(super) const IMAGE_DEVIATION: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Every file of the checkpoint but the weights and their index: name and content.
pub(super) fn files(shape: &Qwen25VlShape) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("chat_template.json", json::pretty(&json!({"chat_template": tokenizer::CHAT_TEMPLATE}))),
        ("config.json", config(shape).into_bytes()),
        ("generation_config.json", generation_config(shape).into_bytes()),
        ("preprocessor_config.json", preprocessor_config(shape).into_bytes()),
        ("tokenizer.json", json::pretty(&tokenizer::tokenizer(shape))),
        ("tokenizer_config.json", json::pretty(&tokenizer::tokenizer_config(shape))),
    ]
}

/// `config.json` in the flat form of the hub: the language model's keys at the top level.
fn config(shape: &Qwen25VlShape) -> String {
    let v = &shape.vision;
    let token = |offset: usize| shape.first_special_token + offset;
    let list = |values: &[usize], indent: &str| {
        values.iter().map(|v| format!("{indent}{v}")).collect::<Vec<_>>().join(",\n")
    };
    format!(
        r#"{{
  "architectures": [
    "Qwen2_5_VLForConditionalGeneration"
  ],
  "attention_dropout": 0.0,
  "bos_token_id": {bos},
  "eos_token_id": {eos},
  "vision_start_token_id": {vision_start},
  "vision_end_token_id": {vision_end},
  "vision_token_id": {vision_pad},
  "image_token_id": {image_pad},
  "video_token_id": {video_pad},
  "hidden_act": "silu",
  "hidden_size": {hidden_size},
  "initializer_range": 0.02,
  "intermediate_size": {intermediate_size},
  "max_position_embeddings": {max_position_embeddings},
  "max_window_layers": 70,
  "model_type": "{MODEL_TYPE}",
  "num_attention_heads": {num_attention_heads},
  "num_hidden_layers": {num_hidden_layers},
  "num_key_value_heads": {num_key_value_heads},
  "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0,
  "sliding_window": 32768,
  "tie_word_embeddings": true,
  "torch_dtype": "bfloat16",
  "transformers_version": "4.41.2",
  "use_cache": true,
  "use_sliding_window": false,
  "vision_config": {{
    "depth": {depth},
    "hidden_act": "silu",
    "hidden_size": {vision_hidden_size},
    "intermediate_size": {vision_intermediate_size},
    "num_heads": {num_heads},
    "in_chans": {in_channels},
    "out_hidden_size": {hidden_size},
    "patch_size": {patch_size},
    "spatial_merge_size": {spatial_merge_size},
    "spatial_patch_size": {patch_size},
    "window_size": {window_size},
    "fullatt_block_indexes": [
{full_attention}
    ],
    "tokens_per_second": 2,
    "temporal_patch_size": {temporal_patch_size}
  }},
  "rope_scaling": {{
    "type": "mrope",
    "mrope_section": [
{sections}
    ]
  }},
  "vocab_size": {vocab_size}
}}
"#,
        bos = token(tokenizer::END_OF_TEXT),
        eos = token(tokenizer::IM_END),
        vision_start = token(tokenizer::VISION_START),
        vision_end = token(tokenizer::VISION_END),
        vision_pad = token(tokenizer::VISION_PAD),
        image_pad = token(tokenizer::IMAGE_PAD),
        video_pad = token(tokenizer::VIDEO_PAD),
        hidden_size = shape.hidden_size,
        intermediate_size = shape.intermediate_size,
        max_position_embeddings = shape.max_position_embeddings,
        num_attention_heads = shape.num_attention_heads,
        num_hidden_layers = shape.num_hidden_layers,
        num_key_value_heads = shape.num_key_value_heads,
        depth = v.depth,
        vision_hidden_size = v.hidden_size,
        vision_intermediate_size = v.intermediate_size,
        num_heads = v.num_heads,
        in_channels = v.in_channels,
        patch_size = v.patch_size,
        spatial_merge_size = v.spatial_merge_size,
        window_size = v.window_size,
        full_attention = list(v.fullatt_block_indexes, "      "),
        temporal_patch_size = v.temporal_patch_size,
        sections = list(&shape.mrope_section, "      "),
        vocab_size = shape.vocab_size,
    )
}

fn generation_config(shape: &Qwen25VlShape) -> String {
    let end_of_text = shape.first_special_token + tokenizer::END_OF_TEXT;
    let im_end = shape.first_special_token + tokenizer::IM_END;
    format!(
        r#"{{
  "bos_token_id": {end_of_text},
  "pad_token_id": {end_of_text},
  "do_sample": true,
  "eos_token_id": [
    {im_end},
    {end_of_text}
  ],
  "repetition_penalty": 1.05,
  "temperature": 0.000001,
  "transformers_version": "4.49.0"
}}
"#
    )
}

fn preprocessor_config(shape: &Qwen25VlShape) -> String {
    let v = &shape.vision;
    let list = |values: [f64; 3]| values.map(|value| value.to_string()).join(",\n    ");
    format!(
        r#"{{
  "min_pixels": 3136,
  "max_pixels": 12845056,
  "patch_size": {patch_size},
  "temporal_patch_size": {temporal_patch_size},
  "merge_size": {merge_size},
  "image_mean": [
    {mean}
  ],
  "image_std": [
    {deviation}
  ],
  "image_processor_type": "Qwen2VLImageProcessor",
  "processor_class": "Qwen2_5_VLProcessor"
}}
"#,
        patch_size = v.patch_size,
        temporal_patch_size = v.temporal_patch_size,
        merge_size = v.spatial_merge_size,
        mean = list(IMAGE_MEAN),
        deviation = list(IMAGE_DEVIATION),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_file_is_json_and_the_configuration_says_the_dimensions() {
        for (name, content) in files(&Qwen25VlShape::REAL_3B) {
            let value: Value = serde_json::from_slice(&content).unwrap_or_else(|e| panic!("{name}: {e}"));
            if name == "config.json" {
                assert_eq!(value["vision_start_token_id"], 151_652);
                assert_eq!(value["image_token_id"], 151_655);
                assert_eq!(value["rope_scaling"]["mrope_section"], json!([16, 24, 24]));
                assert_eq!(value["vision_config"]["fullatt_block_indexes"], json!([7, 15, 23, 31]));
                assert_eq!(value["vision_config"]["out_hidden_size"], 2048);
            }
        }
        let text = config(&Qwen25VlShape::DEMO);
        assert!(text.contains("\"rms_norm_eps\": 1e-06,"), "the number is spelled as Python spells it");
    }
}
