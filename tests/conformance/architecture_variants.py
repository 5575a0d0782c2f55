"""Configurations that architectures are built from: the default of each, with few experts, and changes that bring out modules
which the default leaves out."""

from __future__ import annotations

from typing import Any, Iterator

import transformers

CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"tie_word_embeddings": True},
    {"q_lora_rank": None},
    {"q_lora_rank": 64},
    {"num_experts": 8, "num_experts_per_tok": 2},
    {"num_experts": 0},
    {"num_local_experts": 0},
    {"num_local_experts": 4},
    {"mlp_only_layers": [0]},
    {"first_k_dense_replace": 1},
    {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 64},
    {"use_qk_norm": True},
    {"vision_config": "clip_vision_model"},
    {"vision_config": "siglip_vision_model"},
    {"vision_config": "pixtral"},
)
"""What differs from the default. A change applies where the configuration, or its language model's, has all its keys."""
FEW = 8
EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "num_routed_experts")
CHOSEN = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts", "num_experts_per_token")
MISSING = object()
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
NEEDED: dict[str, dict[str, Any]] = {
    "apertus": {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
        "vocab_size": 512, "pad_token_id": 0,
    },
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152, "num_attention_heads": 16}},
    "bamba": {"attn_layer_indices": [1, 3]},
    "chameleon": {"vocabulary_map": {"<image>": 5}},
    "cohere_compass": {"text_config": {"rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}},
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense", *["sparse"] * 63]}},
    "diffusion_gemma": {"text_config": {"num_experts": FEW, "top_k_experts": 2, "moe_intermediate_size": 64}},
    "dots1": {"n_routed_experts": FEW, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "emu3": {"vocabulary_map": {"<image>": 5}},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}},
    "granite4_vision": {"deepstack_layer_map": [[0, 0], [1, 1]], "downsample_rate": "1/2"},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 16},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": FEW, "moe_topk": 2},
    "hunyuan_vl": {"text_config": {"head_dim": 128}},
    "idefics3": {"text_config": {"model_type": "llama", "pad_token_id": 0}},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 16},
    "lfm2_vl": {"text_config": {"layer_types": ["conv", "full_attention"] * 16}},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "perception_lm": {"vision_config": {"model_type": "timm_wrapper", "model_args": {"embed_dim": 1024}}},
    "qwen4_exp_text": {
        "ple_layer_ids": [1], "ple_embed_dim": 64, "indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 256,
        "indexer_budget": 64, "indexer_compress_ratio": 4, "eos_token_id": 2, "split_ngram_parts": 2,
    },
    "phi4_multimodal": {"vision_config": {}, "audio_config": {}},
    "smolvlm": {"text_config": {"model_type": "llama", "pad_token_id": 0}},
    "reformer": {"is_decoder": True},
}
NEEDED["qwen4_exp"] = {"text_config": NEEDED["qwen4_exp_text"]}
"""What the default lacks for a model to be built, or to have layers of all kinds."""
SECTIONS = {"rope_type": "default", "mrope_section": [24, 20, 20]}
NEEDED_BEFORE_5: dict[str, dict[str, Any]] = {
    "lfm2-vl": {"text_config": {"model_type": "lfm2", "full_attn_idxs": [1, 3, 5]}},
    "mllama": {"text_config": {"rope_scaling": {"rope_type": "default"}}},
    "mllama_text_model": {"rope_scaling": {"rope_type": "default"}},
    "qwen3_vl": {"text_config": {"rope_scaling": SECTIONS}},
    "qwen3_vl_moe": {"text_config": {"rope_scaling": SECTIONS}},
}
"""The same for the 4.57 line alone."""
ANY_VISION = ("llava", "llava_next", "llava_onevision", "vipllava", "mistral3", "llava_next_video", "video_llava")
"""Model types whose published checkpoints differ in the vision tower."""


def configuration(kind: type, change: dict[str, Any]) -> Any | None:
    """The default configuration `kind` with `change`; nothing where that does not apply or changes nothing."""
    change = dict(change)
    needed = NEEDED.get(kind.model_type, {})
    if transformers.__version__.startswith("4."):
        needed = NEEDED_BEFORE_5.get(kind.model_type, needed)
    if vision := change.pop("vision_config", None):
        if kind.model_type not in ANY_VISION:
            return None
        default = kind(**needed)
        if default.vision_config.model_type == vision:
            return None
        config = kind(**needed | {"vision_config": transformers.AutoConfig.for_model(vision)})
    else:
        config = kind(**needed)
    parts = list(unique(config))
    for part in parts:
        for keys, few in ((EXPERTS, FEW), (CHOSEN, FEW // 2)):
            for key in keys:
                if isinstance(count := value_of(part, key), int) and count > FEW:
                    setattr(part, key, few)
    tie = change.pop("tie_word_embeddings", False)
    for part in parts:
        part.tie_word_embeddings = tie
    if change:
        text = config.get_text_config()
        if any(value_of(text, key) is MISSING for key in change):
            return None
        if all(value_of(text, key) == value for key, value in change.items()):
            return None
        for key, value in change.items():
            setattr(text, key, value)
    return config


def value_of(config: Any, key: str) -> Any:
    """The value of `key`, or `MISSING`: where it differs between layers, too, as the newest line says by an error of its own."""
    try:
        return getattr(config, key, MISSING)
    except Exception:  # noqa: BLE001: see above
        return MISSING


def unique(config: Any) -> Iterator[Any]:
    """The configuration and those of its parts."""
    yield config
    for value in list(vars(config).values()):
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield from unique(value)
