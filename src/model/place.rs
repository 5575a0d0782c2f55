//! Where a module stands in its model, by its name in any spelling: tower, block and kind.

use super::head::is_head;
use crate::words::words;

/// Components of what joins an encoder to the language model.
const MERGERS: [&str; 12] = [
    "merger",
    "deepstack_merger_list",
    "multi_modal_projector",
    "mm_projector",
    "connector",
    "projector",
    "aligner",
    "mlp1",
    "embed_vision",
    "qformer",
    "layerwise_projectors",
    "spatial_projectors",
];

/// Components of vision encoders that do not begin with one of [`SEEING`].
const EYES: [&str; 4] = ["vit", "vpm", "sam_model", "qwen2_model"];

/// What components of the names of vision encoders begin with.
const SEEING: [&str; 6] = ["visual", "vision", "image", "img", "video", "vit_"];

/// Components of what hears or speaks that do not begin with one of [`HEARING`].
const EARS: [&str; 2] = ["apm", "tts"];

/// What components of the names of what hears or speaks begin with.
const HEARING: [&str; 4] = ["audio", "speech", "sound", "whisper"];
/// Components below which language models have their blocks.
const LANGUAGE: [&str; 9] = [
    "language_model",
    "text_model",
    "layers",
    "embed_tokens",
    "h",
    "blocks",
    "block",
    "layer",
    "transformer",
];
/// Components before the number of a block.
const STACKS: [&str; 5] = ["layers", "blocks", "h", "block", "layer"];

words! {
    /// The part of a model that a module belongs to.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Tower: "tower" {
        /// The language model's blocks and embeddings.
        Language = "language",
        /// The vision encoder.
        Vision = "vision",
        /// What joins the vision encoder to the language model.
        Merger = "merger",
        /// The output head, `lm_head`.
        Head = "head",
        /// Anything else, such as an audio encoder.
        Other = "other",
    }
}

impl Tower {
    /// The tower of the module `name`, in any spelling, from the components of its name.
    pub fn of(name: &str) -> Self {
        let any = |test: fn(&str) -> bool| name.split('.').any(test);
        if any(|c| MERGERS.contains(&c) || c.starts_with("resampler")) {
            Tower::Merger
        } else if is_head(name) {
            Tower::Head
        } else if any(|c| EYES.contains(&c) || SEEING.iter().any(|start| c.starts_with(start))) {
            Tower::Vision
        } else if any(|c| EARS.contains(&c) || HEARING.iter().any(|start| c.starts_with(start))) {
            Tower::Other
        } else if any(|c| LANGUAGE.contains(&c)) {
            Tower::Language
        } else {
            Tower::Other
        }
    }
}

/// The number of the block that the module `name` belongs to: the component after the first that is a stack of blocks,
/// such as `layers`, `blocks` or `h`.
pub fn block_of(name: &str) -> Option<u32> {
    let mut components = name.split('.');
    while let Some(component) = components.next() {
        if STACKS.contains(&component)
            && let Some(number) = components.clone().next().and_then(|next| next.parse().ok())
        {
            return Some(number);
        }
    }
    None
}

/// The last component of the module `name`, e.g. `o_proj`; with the one before it where the last is a number, e.g. `mlp.0`.
pub fn kind_of(name: &str) -> &str {
    let is_number = |c: &str| c.bytes().all(|b| b.is_ascii_digit());
    match name.rsplit_once('.') {
        None => name,
        Some((_, last)) if !is_number(last) => last,
        Some((parent, _)) => &name[parent.rfind('.').map_or(0, |dot| dot + 1)..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn towers_blocks_and_kinds_come_from_the_name_in_every_spelling() {
        let cases = [
            ("language_model.layers.35.self_attn.o_proj", Tower::Language, Some(35), "o_proj"),
            ("layers.3.mlp.gate_proj", Tower::Language, Some(3), "gate_proj"),
            ("model.language_model.layers.0.mlp.down_proj", Tower::Language, Some(0), "down_proj"),
            ("visual.blocks.31.attn.qkv", Tower::Vision, Some(31), "qkv"),
            ("model.vision_tower.vision_model.encoder.layers.2.mlp.fc1", Tower::Vision, Some(2), "fc1"),
            ("visual.patch_embed.proj", Tower::Vision, None, "proj"),
            ("visual.merger.mlp.0", Tower::Merger, None, "mlp.0"),
            ("model.visual.deepstack_merger_list.2.linear_fc1", Tower::Merger, None, "linear_fc1"),
            ("multi_modal_projector.linear_1", Tower::Merger, None, "linear_1"),
            ("lm_head", Tower::Head, None, "lm_head"),
            ("audio_tower.layers.1.fc1", Tower::Other, Some(1), "fc1"),
            ("mlp.0", Tower::Other, None, "mlp.0"),
            ("transformer.h.3.attn.c_attn", Tower::Language, Some(3), "c_attn"),
            ("gpt_neox.layers.3.mlp.dense_h_to_4h", Tower::Language, Some(3), "dense_h_to_4h"),
            ("encoder.block.2.layer.1.DenseReluDense.wo", Tower::Language, Some(2), "wo"),
            ("bert.encoder.layer.7.attention.self.query", Tower::Language, Some(7), "query"),
            ("vision_model.transformer.layers.4.self_attn.q_proj", Tower::Vision, Some(4), "q_proj"),
            ("model.connector.modality_projection.proj", Tower::Merger, None, "proj"),
            ("embed_out", Tower::Head, None, "embed_out"),
            // MiniCPM-V and MiniCPM-o, Phi-4-multimodal, HunYuan-VL, DeepSeek-OCR, Video-LLaVA, BLIP-2, Nemotron, Ovis.
            ("llm.model.layers.0.self_attn.q_proj", Tower::Language, Some(0), "q_proj"),
            ("vpm.encoder.layers.0.self_attn.q_proj", Tower::Vision, Some(0), "q_proj"),
            ("apm.layers.0.fc1", Tower::Other, Some(0), "fc1"),
            ("tts.model.layers.0.mlp.up_proj", Tower::Other, Some(0), "up_proj"),
            ("resampler.kv_proj", Tower::Merger, None, "kv_proj"),
            (
                "model.embed_tokens_extend.image_embed.img_processor.encoder.layers.1.mlp.fc1",
                Tower::Vision,
                Some(1),
                "fc1",
            ),
            ("vit.layers.1.mlp.dense_h_to_4h", Tower::Vision, Some(1), "dense_h_to_4h"),
            ("model.sam_model.blocks.1.attn.qkv", Tower::Vision, Some(1), "qkv"),
            ("model.video_tower.encoder.layers.1.mlp.fc1", Tower::Vision, Some(1), "fc1"),
            ("qformer.encoder.layer.1.attention.attention.key", Tower::Merger, Some(1), "key"),
            ("sound_encoder.layers.1.fc1", Tower::Other, Some(1), "fc1"),
            ("visual_tokenizer.backbone.trunk.blocks.1.attn.qkv", Tower::Vision, Some(1), "qkv"),
        ];
        for (name, tower, block, kind) in cases {
            assert_eq!((Tower::of(name), block_of(name), kind_of(name)), (tower, block, kind), "{name}");
        }
    }
}
