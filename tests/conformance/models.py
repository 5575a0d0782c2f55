"""Makes what the checks start from: a base checkpoint, inputs for it, and a sensitivity manifest, one folder a model.

Run in the environment `transformers-4.57`, whose configurations and tensor names are those of the published checkpoints; the
newest Transformers reads them too. Usage: `models.py FOLDER NAME…`, or `models.py FOLDER trained=DIR` for a checkpoint and
its `inputs.safetensors` that were trained elsewhere.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Callable

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

import seeded_manifest

VOCABULARY = 512
IMAGE, VIDEO, VISION_START, VISION_END = 500, 501, 502, 503
TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.1,
}
WHOLE = TEXT | {"hidden_size": 256, "intermediate_size": 384, "initializer_range": 0.05}
"""The same in whole blocks of 128×128, keys and values among them: two heads of 64."""
TOKENS = {
    "image_token_id": IMAGE, "video_token_id": VIDEO,
    "vision_start_token_id": VISION_START, "vision_end_token_id": VISION_END,
}
GROUPING = (re.compile(r"^(.*?)\.(q_proj|k_proj|v_proj)$"), re.compile(r"^(.*?)\.(gate_proj|up_proj)$"))


def make_qwen2_5_vl(sizes: dict[str, Any], vision_sizes: dict[str, int], sections: list[int]) -> PreTrainedModel:
    """A language model of `sizes` and a vision tower of the same width; `sections` divide the rotary embedding."""
    width = sizes["hidden_size"]
    vision = {
        "depth": 2, "hidden_size": width, **vision_sizes, "out_hidden_size": width,
        "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 56, "fullatt_block_indexes": [1],
        "initializer_range": sizes["initializer_range"],
    }
    text = sizes | {"tie_word_embeddings": True, "rope_scaling": {"type": "mrope", "mrope_section": sections}}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **TOKENS)
    )


def make_qwen3_vl(sizes: dict[str, Any], vision_sizes: dict[str, int], head: int, sections: list[int]) -> PreTrainedModel:
    """As above, with attention heads of width `head`."""
    width = sizes["hidden_size"]
    vision = {
        "depth": 2, "hidden_size": width, **vision_sizes, "out_hidden_size": width,
        "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "deepstack_visual_indexes": [0, 1],
        "num_position_embeddings": 256, "initializer_range": sizes["initializer_range"],
    }
    rope = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": sections}
    text = sizes | {"head_dim": head, "tie_word_embeddings": True, "rope_scaling": rope}
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **TOKENS)
    )


def qwen2_5_vl() -> PreTrainedModel:
    """Tied embeddings; a vision MLP whose width is no multiple of 16, as in the published models."""
    return make_qwen2_5_vl(TEXT, {"intermediate_size": 100, "num_heads": 2}, sections=[2, 3, 3])


def qwen3_vl() -> PreTrainedModel:
    """Tied embeddings, norms of q and k, and a vision tower whose features enter several blocks."""
    return make_qwen3_vl(TEXT, {"intermediate_size": 96, "num_heads": 2}, head=16, sections=[4, 2, 2])


def qwen2_5_vl_blocks() -> PreTrainedModel:
    """In blocks, but for the vision MLP, whose width is no multiple of 128, as in the published models."""
    return make_qwen2_5_vl(WHOLE, {"intermediate_size": 220, "num_heads": 4}, sections=[8, 12, 12])


def qwen3_vl_blocks() -> PreTrainedModel:
    """In blocks throughout."""
    return make_qwen3_vl(WHOLE, {"intermediate_size": 384, "num_heads": 4}, head=64, sections=[12, 10, 10])


def qwen2_blocks() -> PreTrainedModel:
    """In blocks, with keys and values of half a block: q, k and v stay as they are."""
    return Qwen2ForCausalLM(Qwen2Config(tie_word_embeddings=True, **WHOLE | {"num_key_value_heads": 1}))


def llama_blocks() -> PreTrainedModel:
    """In blocks throughout."""
    return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=False, **WHOLE))


def qwen2() -> PreTrainedModel:
    """Biases in q, k and v, tied embeddings."""
    return Qwen2ForCausalLM(Qwen2Config(tie_word_embeddings=True, **TEXT))


def llama() -> PreTrainedModel:
    """A head of its own."""
    return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=False, **TEXT))


FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl, "qwen2": qwen2, "llama": llama,
    "qwen2_5_vl_blocks": qwen2_5_vl_blocks, "qwen3_vl_blocks": qwen3_vl_blocks, "qwen2_blocks": qwen2_blocks,
    "llama_blocks": llama_blocks,
}


def text_inputs(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A sequence of ordinary tokens."""
    return {"input_ids": torch.randint(3, IMAGE, (1, 24), generator=generator)}


def image_inputs(model: PreTrainedModel, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A picture of 4 × 8 patches between ordinary tokens."""
    vision = model.config.vision_config
    grid = (1, 4, 8)
    patches, merged = 32, 32 // vision.spatial_merge_size**2
    values = 3 * vision.temporal_patch_size * vision.patch_size**2
    text = torch.randint(3, IMAGE, (12,), generator=generator).tolist()
    ids = torch.tensor([[*text[:4], VISION_START, *[IMAGE] * merged, VISION_END, *text[4:]]])
    return {
        "input_ids": ids,
        "pixel_values": torch.randn(patches, values, generator=generator),
        "image_grid_thw": torch.tensor([grid]),
        "mm_token_type_ids": (ids == IMAGE).int(),
    }


def inputs_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Four inputs of each kind that the model takes, named `text.N.*` and `vlm.N.*`."""
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for n in range(4):
        for name, tensor in text_inputs(generator).items():
            tensors[f"text.{n}.{name}"] = tensor
        if hasattr(model.config, "vision_config"):
            for name, tensor in image_inputs(model, generator).items():
                tensors[f"vlm.{n}.{name}"] = tensor
    return tensors


@torch.no_grad()
def amax_of(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest absolute input that each linear layer sees, under ModelOpt's quantizer names."""
    seen: dict[str, float] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            def record(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...], key: str = f"{name}.input_quantizer") -> None:
                seen[key] = max(seen.get(key, 0.0), arguments[0].abs().max().item())
            hooks.append(module.register_forward_pre_hook(record))
    for prefix in sorted({name.rpartition(".")[0] for name in inputs}):
        batch = {name.rpartition(".")[2]: t for name, t in inputs.items() if name.startswith(f"{prefix}.")}
        batch.pop("mm_token_type_ids", None)
        model(**batch)
    for hook in hooks:
        hook.remove()
    return seen


def manifest_of(name: str, model: PreTrainedModel, amax: dict[str, float]) -> dict[str, Any]:
    """A manifest in the published schema, with seeded scores: what is ranked does not matter here, only that it is."""
    scores = random.Random(3)
    groups: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for module_name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv3d)):
            rule = next((m for pattern in GROUPING if (m := pattern.match(module_name))), None)
            key = f"{rule.group(1)} {GROUPING.index(rule.re)}" if rule else module_name
            groups.setdefault(key, []).append(module_name)
            sizes[module_name] = module.weight.numel()
    sensitivity = {}
    for members in groups.values():
        size = float(sum(sizes[m] for m in members))
        score = scores.uniform(1e-7, 1e-3)
        candidate = members != ["lm_head"]
        formats = ["FP8_DEFAULT_CFG(effective-bits: 8.0)"] * candidate + ["NONE(effective-bits: 16.0)"]
        sensitivity[f"{members[0]}.quant_recipe"] = {
            "formats": formats, "scores": [score] * candidate + [0.0], "costs": [size / 2] * candidate + [size],
            "importance": score if candidate else 0.0, "module_names": members,
        }
    linears = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    return seeded_manifest.document(name, [n for n in sizes if n in linears], sensitivity, amax)


def name_architecture(path: Path, architecture: str) -> None:
    """Puts `architectures` where published checkpoints have it: 4.57.6 writes it into the `text_config` of Qwen2.5-VL alone."""
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"architectures": [architecture]}, indent=2, sort_keys=True) + "\n")


def make(folder: Path, name: str) -> None:
    """Writes `base/`, `inputs.safetensors` and `manifest.json` of a seeded model of the family `name`."""
    transformers.set_seed(1)
    model = FAMILIES[name]().to(torch.bfloat16).eval()
    inputs = inputs_of(model)
    model.save_pretrained(folder / "base")
    name_architecture(folder / "base" / "config.json", type(model).__name__)
    save_file(inputs, folder / "inputs.safetensors")
    amax = amax_of(model.float(), inputs)
    (folder / "manifest.json").write_text(json.dumps(manifest_of(name, model, amax), indent=1))


def adopt(folder: Path, checkpoint: Path) -> None:
    """Copies a Qwen2.5-VL checkpoint to `base/` with its rotary embedding spelled as in published checkpoints, which both lines
    of Transformers read; files written by the newest line name it `rope_parameters`."""
    shutil.copytree(checkpoint, folder / "base")
    path = folder / "base" / "config.json"
    config = json.loads(path.read_text())
    rope = config["text_config"].pop("rope_parameters")
    config["text_config"] |= {
        "rope_theta": rope["rope_theta"], "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    config["vision_config"].pop("rope_parameters", None)
    path.write_text(json.dumps(config, indent=2))


def main() -> None:
    root = Path(sys.argv[1])
    for word in sys.argv[2:]:
        name, _, checkpoint = word.partition("=")
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
        if checkpoint:
            adopt(root / name, Path(checkpoint))
        else:
            make(root / name, name)


if __name__ == "__main__":
    main()
