//! The dimensions of a Qwen2.5-VL, and the tensors that follow from them.
//!
//! Names, shapes and order are those of the published checkpoints (Transformers 4.49 `state_dict` order, saved in hub
//! spelling: `visual.*`, then `model.*`; `lm_head` is tied to the embedding and not stored).

use crate::tensor::Dtype;
use crate::tensor::TensorSpec;

/// Dimensions of one Qwen2.5-VL checkpoint, named as in its `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qwen25VlShape {
    /// Width of the language model.
    pub hidden_size: usize,
    /// Width inside a language MLP.
    pub intermediate_size: usize,
    /// Language blocks.
    pub num_hidden_layers: usize,
    /// Query heads of a language block.
    pub num_attention_heads: usize,
    /// Key and value heads of a language block.
    pub num_key_value_heads: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Rotary frequencies for time, height and width; their sum is half a head.
    pub mrope_section: [usize; 3],
    /// The first of the fourteen special tokens, `<|endoftext|>`.
    pub first_special_token: usize,
    /// Longest sequence the configuration promises.
    pub max_position_embeddings: usize,
    /// The vision tower.
    pub vision: VisionShape,
    /// A shard is closed before it would grow beyond this many bytes of tensor data.
    pub max_shard_bytes: u64,
}

/// Dimensions of the vision tower, named as in `vision_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionShape {
    /// Vision blocks.
    pub depth: usize,
    /// Width of the vision tower.
    pub hidden_size: usize,
    /// Heads of a vision block.
    pub num_heads: usize,
    /// Width inside a vision MLP.
    pub intermediate_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames that one patch covers.
    pub temporal_patch_size: usize,
    /// Colour channels.
    pub in_channels: usize,
    /// Patches that the merger joins along each side.
    pub spatial_merge_size: usize,
    /// Side of an attention window in pixels.
    pub window_size: usize,
    /// Blocks that attend to the whole image instead of a window.
    pub fullatt_block_indexes: &'static [usize],
}

impl Qwen25VlShape {
    /// Qwen2.5-VL-3B-Instruct as published: 824 tensors, 7,509,245,952 bytes, in two shards.
    pub const REAL_3B: Self = Qwen25VlShape {
        hidden_size: 2048,
        intermediate_size: 11008,
        num_hidden_layers: 36,
        num_attention_heads: 16,
        num_key_value_heads: 2,
        vocab_size: 151_936,
        mrope_section: [16, 24, 24],
        first_special_token: 151_643,
        max_position_embeddings: 128_000,
        vision: VisionShape {
            depth: 32,
            hidden_size: 1280,
            num_heads: 16,
            intermediate_size: 3420,
            patch_size: 14,
            temporal_patch_size: 2,
            in_channels: 3,
            spatial_merge_size: 2,
            window_size: 112,
            fullatt_block_indexes: &[7, 15, 23, 31],
        },
        max_shard_bytes: 4_000_000_000,
    };

    /// The embedded demo: every kind of layer of the real one in 3.5 MB, in two shards. The vision MLP's width is no
    /// multiple of 16, as the real one's is not.
    pub const DEMO: Self = Qwen25VlShape {
        hidden_size: 128,
        intermediate_size: 352,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        vocab_size: 512,
        mrope_section: [4, 6, 6],
        first_special_token: 256,
        max_position_embeddings: 2048,
        vision: VisionShape {
            depth: 3,
            hidden_size: 128,
            num_heads: 4,
            intermediate_size: 220,
            patch_size: 14,
            temporal_patch_size: 2,
            in_channels: 3,
            spatial_merge_size: 2,
            window_size: 112,
            fullatt_block_indexes: &[2],
        },
        max_shard_bytes: 2_000_000,
    };

    /// Width of one attention head of the language model.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Every tensor of the checkpoint, BF16, in the order in which the hub's shards are filled.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = Vec::new();
        self.vision_tensors(&mut list);
        let mut add = |name: String, shape: &[usize]| list.push(TensorSpec::new(name, Dtype::BF16, shape));
        let (hidden, mlp) = (self.hidden_size, self.intermediate_size);
        let key_value = self.num_key_value_heads * self.head_dim();
        add("model.embed_tokens.weight".into(), &[self.vocab_size, hidden]);
        for i in 0..self.num_hidden_layers {
            let block = format!("model.layers.{i}");
            for (name, out) in [("q_proj", hidden), ("k_proj", key_value), ("v_proj", key_value)] {
                add(format!("{block}.self_attn.{name}.weight"), &[out, hidden]);
                add(format!("{block}.self_attn.{name}.bias"), &[out]);
            }
            add(format!("{block}.self_attn.o_proj.weight"), &[hidden, hidden]);
            add(format!("{block}.mlp.gate_proj.weight"), &[mlp, hidden]);
            add(format!("{block}.mlp.up_proj.weight"), &[mlp, hidden]);
            add(format!("{block}.mlp.down_proj.weight"), &[hidden, mlp]);
            add(format!("{block}.input_layernorm.weight"), &[hidden]);
            add(format!("{block}.post_attention_layernorm.weight"), &[hidden]);
        }
        add("model.norm.weight".into(), &[hidden]);
        list
    }

    fn vision_tensors(&self, list: &mut Vec<TensorSpec>) {
        let v = &self.vision;
        let (hidden, mlp) = (v.hidden_size, v.intermediate_size);
        let merged = hidden * v.spatial_merge_size * v.spatial_merge_size;
        let mut add = |name: String, shape: &[usize]| list.push(TensorSpec::new(name, Dtype::BF16, shape));
        let patch = [hidden, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size];
        add("visual.patch_embed.proj.weight".into(), &patch);
        for i in 0..v.depth {
            let block = format!("visual.blocks.{i}");
            add(format!("{block}.norm1.weight"), &[hidden]);
            add(format!("{block}.norm2.weight"), &[hidden]);
            let linears = [
                ("attn.qkv", 3 * hidden, hidden),
                ("attn.proj", hidden, hidden),
                ("mlp.gate_proj", mlp, hidden),
                ("mlp.up_proj", mlp, hidden),
                ("mlp.down_proj", hidden, mlp),
            ];
            for (name, out, inputs) in linears {
                add(format!("{block}.{name}.weight"), &[out, inputs]);
                add(format!("{block}.{name}.bias"), &[out]);
            }
        }
        add("visual.merger.ln_q.weight".into(), &[hidden]);
        for (index, out) in [(0, merged), (2, self.hidden_size)] {
            add(format!("visual.merger.mlp.{index}.weight"), &[out, merged]);
            add(format!("visual.merger.mlp.{index}.bias"), &[out]);
        }
    }

    /// The tensors cut into shards as Transformers does on saving: in order, a new shard before
    /// [`max_shard_bytes`](Self::max_shard_bytes) would be exceeded.
    pub fn shards(&self) -> Vec<Vec<TensorSpec>> {
        let mut shards: Vec<Vec<TensorSpec>> = Vec::new();
        let mut filled = u64::MAX;
        for tensor in self.tensors() {
            filled = filled.saturating_add(tensor.bytes());
            if filled > self.max_shard_bytes {
                shards.push(Vec::new());
                filled = tensor.bytes();
            }
            if let Some(shard) = shards.last_mut() {
                shard.push(tensor);
            }
        }
        shards
    }
}

#[cfg(test)]
pub(in crate::demo) mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    #[test]
    fn the_real_shape_has_the_published_number_of_tensors_and_bytes() {
        let tensors = Qwen25VlShape::REAL_3B.tensors();
        assert_eq!(tensors.len(), 824);
        assert_eq!(tensors.iter().map(TensorSpec::bytes).sum::<u64>(), 7_509_245_952);
    }

    #[test]
    fn the_real_shards_have_the_published_sizes() {
        let gigabytes = |shard: &Vec<TensorSpec>| {
            format!("{:.2}", shard.iter().map(TensorSpec::bytes).sum::<u64>() as f64 / 1e9)
        };
        let sizes: Vec<_> = Qwen25VlShape::REAL_3B.shards().iter().map(gigabytes).collect();
        assert_eq!(sizes, ["3.98", "3.53"]);
    }

    #[test]
    fn shards_hold_every_tensor_once_and_in_order() {
        for shape in [Qwen25VlShape::DEMO, Qwen25VlShape::REAL_3B] {
            assert_eq!(shape.shards().len(), 2);
            assert_eq!(shape.shards().concat(), shape.tensors());
        }
    }

    #[test]
    fn heads_and_rotary_sections_fit() {
        for shape in [Qwen25VlShape::DEMO, Qwen25VlShape::REAL_3B] {
            assert_eq!(shape.head_dim() * shape.num_attention_heads, shape.hidden_size);
            assert_eq!(shape.num_attention_heads % shape.num_key_value_heads, 0);
            assert_eq!(shape.mrope_section.iter().sum::<usize>() * 2, shape.head_dim());
            assert_eq!(shape.vision.hidden_size % (4 * shape.vision.num_heads), 0);
            assert!(shape.first_special_token + 14 <= shape.vocab_size);
        }
    }

    /// The dimensions of `../shared/golden/tiny-qwen2_5-vl`, which Transformers itself saved.
    pub(in crate::demo) fn golden_shape() -> Qwen25VlShape {
        Qwen25VlShape {
            hidden_size: 256,
            intermediate_size: 704,
            num_hidden_layers: 6,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            vocab_size: 2048,
            mrope_section: [8, 12, 12],
            vision: VisionShape {
                depth: 4,
                hidden_size: 160,
                num_heads: 4,
                intermediate_size: 342,
                ..Qwen25VlShape::DEMO.vision
            },
            ..Qwen25VlShape::DEMO
        }
    }

    #[test]
    fn names_and_shapes_equal_those_that_transformers_saves() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden/tiny-qwen2_5-vl/model.safetensors");
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("SKIPPED: {} is not there", path.display());
            return;
        };
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let saved: BTreeMap<String, (String, Vec<usize>)> = file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, (view.dtype().to_string(), view.shape().to_vec())))
            .collect();
        let ours: BTreeMap<String, (String, Vec<usize>)> = golden_shape()
            .tensors()
            .into_iter()
            .map(|t| (t.name, (t.dtype.name().into(), t.shape)))
            .collect();
        assert_eq!(ours, saved);
    }
}
