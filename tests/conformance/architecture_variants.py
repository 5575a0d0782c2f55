"""Configurations that architectures are built from: the default of each, with few experts, and changes that bring out modules
which the default leaves out."""

from __future__ import annotations

from typing import Any, Iterator

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
ANY_VISION = ("llava", "llava_next", "llava_onevision", "vipllava", "mistral3", "llava_next_video", "video_llava")
"""Model types whose published checkpoints differ in the vision tower."""


def configuration(kind: type, change: dict[str, Any]) -> Any | None:
    """The default configuration `kind` with `change`; nothing where that does not apply or changes nothing."""
    change = dict(change)
    if vision := change.pop("vision_config", None):
        if kind.model_type not in ANY_VISION:
            return None
        from transformers import AutoConfig

        default = kind()
        if default.vision_config.model_type == vision:
            return None
        config = kind(vision_config=AutoConfig.for_model(vision))
    else:
        config = kind()
    parts = list(unique(config))
    for part in parts:
        for key in EXPERTS:
            if isinstance(getattr(part, key, None), int) and getattr(part, key) > FEW:
                setattr(part, key, FEW)
        for key in CHOSEN:
            if isinstance(getattr(part, key, None), int) and getattr(part, key) > FEW:
                setattr(part, key, FEW // 2)
    tie = change.pop("tie_word_embeddings", False)
    for part in parts:
        part.tie_word_embeddings = tie
    if change:
        text = config.get_text_config()
        if not all(key in text.__dict__ or hasattr(text, key) for key in change):
            return None
        if all(getattr(text, key) == value for key, value in change.items()):
            return None
        for key, value in change.items():
            setattr(text, key, value)
    return config


def unique(config: Any) -> Iterator[Any]:
    """The configuration and those of its parts."""
    yield config
    for value in list(vars(config).values()):
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield from unique(value)
