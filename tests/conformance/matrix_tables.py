"""Configurations of tiny models of every architecture of the matrix: tables, and no code of a family.

A row is what differs from the sizes below. Widths are whole blocks of 128×128 wherever the architecture lets them be, heads are
64 wide, and every kind of layer is there at least twice, so that one of each can be FP8 beside one that stays BF16.
"""

from __future__ import annotations

from typing import Any

Table = dict[str, dict[str, Any]]

VOCABULARY = 512
IMAGE, VIDEO, VISION_START, VISION_END = 500, 501, 502, 503
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 256,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.1,
}
MIXTURE = {
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128, "n_shared_experts": 1, "num_shared_experts": 1,
}
"""Every family reads those of these that it knows; the others are attributes that nobody reads."""
LATENT = {
    "q_lora_rank": 128, "kv_lora_rank": 64, "qk_rope_head_dim": 64, "qk_nope_head_dim": 64, "v_head_dim": 64, "head_dim": 64,
    "num_key_value_heads": 4, "first_k_dense_replace": 1, "num_hidden_layers": 3, "n_group": 1, "topk_group": 1,
    "moe_layer_freq": 1,
}
"""Multi-head latent attention, with a dense block before the mixtures."""
DELTA = {
    "num_hidden_layers": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 64,
    "linear_value_head_dim": 64, "linear_conv_kernel_dim": 4,
    "layer_types": ["linear_attention", "full_attention"] * 2, "full_attention_interval": 2,
}
"""Linear attention in every second block."""
PARTIAL = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
SLIDING = {"sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]}

TEXT: Table = {
    "llama": {},
    "mistral": {"sliding_window": 64},
    "qwen2": {"head_dim": None, "num_attention_heads": 2},
    "qwen3": {},
    "qwen2_moe": MIXTURE | {"head_dim": None, "num_attention_heads": 2},
    "qwen3_moe": MIXTURE,
    "qwen3_next": MIXTURE | DELTA | {"decoder_sparse_step": 1, "mlp_only_layers": []},
    "qwen3_5_text": DELTA | {"rope_parameters": PARTIAL | {"mrope_section": [8, 4, 4], "mrope_interleaved": True}},
    "qwen3_5_moe_text": MIXTURE | DELTA | {
        "rope_parameters": PARTIAL | {"mrope_section": [8, 4, 4], "mrope_interleaved": True},
    },
    "mixtral": MIXTURE | {"sliding_window": 64, "head_dim": None, "num_attention_heads": 2},
    "deepseek_v2": MIXTURE | LATENT | {"topk_method": "greedy", "scoring_func": "softmax"},
    "deepseek_v3": MIXTURE | LATENT | {"topk_method": "noaux_tc", "scoring_func": "sigmoid"},
    "glm4": {"pad_token_id": 0},
    "glm4_moe": MIXTURE | {"first_k_dense_replace": 1, "num_hidden_layers": 3, "n_group": 1, "topk_group": 1},
    "gemma2": {"query_pre_attn_scalar": 64, "hidden_act": "gelu_pytorch_tanh"} | SLIDING,
    "gemma3_text": {"query_pre_attn_scalar": 64} | SLIDING,
    "phi3": {"head_dim": None, "num_attention_heads": 2, "original_max_position_embeddings": 256},
    "phi": {"head_dim": None, "num_attention_heads": 2},
    "olmo2": {"head_dim": None, "num_attention_heads": 2},
    "granite": {"head_dim": None, "num_attention_heads": 2},
    "granitemoe": MIXTURE | {"head_dim": None, "num_attention_heads": 2, "intermediate_size": 128},
    "gpt_oss": MIXTURE | SLIDING | {"intermediate_size": 128},
    "cohere2": SLIDING | {"head_dim": None, "num_attention_heads": 2},
    "smollm3": {"head_dim": None, "num_attention_heads": 2, "no_rope_layer_interval": 2},
    "minimax_m2": MIXTURE | {"scoring_func": "sigmoid", "use_routing_bias": True, "rotary_dim": 32, "intermediate_size": 128},
    "ernie4_5": {},
    "ernie4_5_moe": MIXTURE | {
        "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": 1, "num_hidden_layers": 3,
        "moe_layer_end_index": 2, "head_dim": None, "num_attention_heads": 2,
    },
    "gpt_neox": {"num_attention_heads": 2, "head_dim": None, "num_key_value_heads": None},
    "falcon": {
        "num_attention_heads": 2, "head_dim": None, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": False,
        "num_key_value_heads": None,
    },
    "lfm2": {
        "head_dim": None, "num_attention_heads": 2, "num_hidden_layers": 4, "block_auto_adjust_ff_dim": False,
        "layer_types": ["conv", "full_attention"] * 2, "block_ff_dim": 256, "block_dim": 128, "conv_dim": 128, "conv_dim_out": 128,
    },
    "hunyuan_v1_dense": {"use_qk_norm": True},
    "exaone4": SLIDING | {"head_dim": None, "num_attention_heads": 2, "sliding_window_pattern": "LG"},
    "nemotron": {"head_dim": None, "num_attention_heads": 2},
    "stablelm": {"head_dim": None, "num_attention_heads": 2},
    "starcoder2": {"head_dim": None, "num_attention_heads": 2},
    "dots1": MIXTURE | {"first_k_dense_replace": 1, "num_hidden_layers": 3, "n_group": 1, "topk_group": 1},
    "seed_oss": {},
    "bitnet": {"head_dim": None, "num_attention_heads": 2},
    "gpt2": {
        "activation_function": "gelu", "n_inner": 256, "n_ctx": 256, "num_attention_heads": 2, "head_dim": None,
        "num_key_value_heads": None,
    },
    "llama4_text": MIXTURE | {
        "intermediate_size_mlp": 256, "intermediate_size": 128, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
        "num_hidden_layers": 4, "no_rope_layer_interval": 2,
    },
}
"""Language models."""

IDS = {
    "image_token_id": IMAGE, "image_token_index": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END, "image_start_token_id": VISION_START, "image_end_token_id": VISION_END,
    "video_start_token_id": VISION_START, "video_end_token_id": VISION_END,
}
PATCHES = {
    "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14, "initializer_range": 0.1, "head_dim": 64, "hidden_act": "gelu",
}
SQUARES = PATCHES | {
    "depth": 2, "num_heads": 2, "out_hidden_size": 128, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_chans": 3,
}
SIGLIP = {"model_type": "siglip_vision_model", "vision_use_head": False} | PATCHES
CLIP = {"model_type": "clip_vision_model", "projection_dim": 128} | PATCHES
SECTIONS = {"rope_scaling": {"type": "mrope", "mrope_section": [8, 12, 12]}}
INTERLEAVED = {"rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [12, 10, 10]}}
NARROW = {"num_attention_heads": 2, "head_dim": None}


def stated(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what is None: sizes that a family works out by itself."""
    return {key: value for key, value in row.items() if value is not None}


def language(family: str, **change: Any) -> dict[str, Any]:
    """The language model of a composite one: the row of `family`, changed."""
    return stated({"model_type": family} | SIZES | TEXT.get(family, {}) | change)


VISION: Table = {
    "qwen2_vl": {
        "text_config": language("qwen2_vl_text", **NARROW, **SECTIONS),
        "vision_config": SQUARES | {"embed_dim": 128, "hidden_size": 128, "mlp_ratio": 2},
    },
    "qwen2_5_vl": {
        "text_config": language("qwen2_5_vl_text", **NARROW, **SECTIONS),
        "vision_config": SQUARES | {"window_size": 56, "fullatt_block_indexes": [1]},
    },
    "qwen3_vl": {
        "text_config": language("qwen3_vl_text", **INTERLEAVED),
        "vision_config": SQUARES | {"patch_size": 16, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 256},
    },
    "qwen3_vl_moe": {
        "text_config": language("qwen3_vl_moe_text", **MIXTURE, **INTERLEAVED),
        "vision_config": SQUARES | {"patch_size": 16, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 256},
    },
    "qwen3_5": {
        "text_config": language("qwen3_5_text"),
        "vision_config": SQUARES | {"patch_size": 16, "num_position_embeddings": 256, "deepstack_visual_indexes": []},
    },
    "qwen3_5_moe": {
        "text_config": language("qwen3_5_moe_text"),
        "vision_config": SQUARES | {"patch_size": 16, "num_position_embeddings": 256, "deepstack_visual_indexes": []},
    },
    "idefics3": {
        "text_config": language("llama"), "vision_config": PATCHES, "scale_factor": 2,
    },
    "smolvlm": {
        "text_config": language("llama"), "vision_config": PATCHES, "scale_factor": 2,
    },
    "glm4v": {
        "text_config": language(
            "glm4v_text", **NARROW, rope_scaling={"type": "default", "mrope_section": [4, 6, 6]}, partial_rotary_factor=0.5,
        ),
        "vision_config": SQUARES | {"out_hidden_size": 128, "intermediate_size": 256},
    },
    "gemma3": {
        "text_config": language("gemma3_text"), "vision_config": SIGLIP, "mm_tokens_per_image": 4,
    },
    "mistral3": {
        "text_config": language("mistral"), "vision_config": {"model_type": "pixtral"} | PATCHES, "spatial_merge_size": 2,
    },
    "llava": {
        "text_config": language("llama"), "vision_config": CLIP, "vision_feature_layer": -1,
    },
    "llava_next": {
        "text_config": language("llama"), "vision_config": CLIP, "vision_feature_layer": -1,
        "image_grid_pinpoints": [[28, 28]],
    },
    "internvl": {
        "text_config": language("qwen2"), "downsample_ratio": 0.5,
        "vision_config": {"model_type": "internvl_vision"} | PATCHES | {"image_size": [28, 28], "patch_size": [14, 14]},
    },
    "paligemma": {
        "text_config": language("gemma", num_attention_heads=2), "vision_config": SIGLIP | {"projection_dim": 128},
        "projection_dim": 128, "hidden_size": 128,
    },
    "aya_vision": {
        "text_config": language("cohere2"), "vision_config": SIGLIP, "downsample_factor": 2, "alignment_intermediate_size": 256,
    },
    "mllama": {
        "text_config": language(
            "mllama_text_model", **NARROW, num_hidden_layers=4, cross_attention_layers=[1, 3],
            rope_scaling={"rope_type": "default"},
        ),
        "vision_config": PATCHES | {
            "attention_heads": 2, "num_global_layers": 2, "vision_output_dim": 384, "intermediate_layers_indices": [0, 1],
            "max_num_tiles": 2, "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
    },
    "llama4": {
        "text_config": language("llama4_text"),
        "vision_config": PATCHES | {
            "intermediate_size": 512, "vision_output_dim": 128, "projector_input_dim": 128, "projector_output_dim": 128,
            "pixel_shuffle_ratio": 0.5,
        },
    },
    "lfm2_vl": {
        "text_config": language("lfm2"), "downsample_factor": 2, "projector_hidden_size": 128,
        "vision_config": SIGLIP | {"model_type": "siglip2_vision_model", "num_patches": 16, "patch_size": 16},
    },
}
"""Models with a vision tower."""

ARCHITECTURES: Table = {name: stated(SIZES | row) for name, row in TEXT.items()} | {name: IDS | row for name, row in VISION.items()}
NEWEST = frozenset(
    ("qwen3_5_text", "qwen3_5_moe_text", "minimax_m2", "qwen3_5", "qwen3_5_moe", "lfm2_vl"),
)
"""What the 4.57 line does not know, or calls by another name than engines do: saved by the newest. All others are saved by 4.57,
which spells them as published."""


PREPROCESSORS = {
    "aya_vision": {"image_processor_type": "GotOcr2ImageProcessor"},
    "mllama": {"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 2, "size": {"height": 28, "width": 28}},
}
"""What some engine asks for before it builds a model."""


def line_of(name: str) -> str:
    """The environment that saves an architecture."""
    return "transformers" if name in NEWEST else "transformers-4.57"
