#!/usr/bin/env python3
"""Makes the tiny random models of `engine/` and what Transformers and NVIDIA ModelOpt say of them.

    engine.py make    (Transformers 5.24): config.json, model.safetensors, golden.safetensors
    engine.py score   (ModelOpt 0.47): golden.json

Names of models after the command limit it to those.

Weights are random BF16 in the spelling of the hub, of a size at which attention is not uniform and FP8 is felt. Everything is
computed in F32 on the CPU with eager attention; labels are the input ids.

golden.safetensors: `N.input_ids`, `N.logits`, `N.loss`, with pictures `N.pixel_values`, `N.image_grid_thw`.
golden.json: `amax` of every input quantiser and `scores` [modules, score] of every group, of ModelOpt's own gradient search;
`layers`, the gradient score of every layer by its definition, and `kl`, the KL score of every group by its definition, in F64 from
the F32 logits. The definitions use ModelOpt's `_fp8_eager`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

HERE = Path(__file__).resolve().parent / "engine"
FORMAT = "FP8_DEFAULT_CFG"
IMAGE, START, END = 60, 61, 62

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000.0,
    "tie_word_embeddings": False,
    "vocab_size": 64,
    "torch_dtype": "bfloat16",
}
PICTURES = {
    "image_token_id": IMAGE,
    "video_token_id": 63,
    "vision_start_token_id": START,
    "vision_end_token_id": END,
}
LENGTHS = [24, 37]
GRIDS = [[[1, 6, 10]], [[1, 4, 4], [1, 10, 6]]]
"""Rows and columns of patches: with windows of 4 × 4 merged patches of 2 × 2, several windows, of which the last are cut off."""

MODELS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    # Biases of queries, keys and values; tied; the second block sees 8 keys.
    "qwen2": (
        TEXT
        | {
            "model_type": "qwen2",
            "architectures": ["Qwen2ForCausalLM"],
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": 8,
            "max_window_layers": 1,
        },
        [24, 90],
    ),
    # Heads that are wider than the hidden size's share, normalised queries and keys.
    "qwen3": (
        TEXT | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 12, "use_sliding_window": False},
        LENGTHS,
    ),
    "llama3": (
        TEXT
        | {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": True,
            "mlp_bias": True,
            "rope_scaling": {
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
        },
        LENGTHS,
    ),
    "llama_yarn": (
        TEXT
        | {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "num_hidden_layers": 1,
            "head_dim": 16,
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 64, "rope_type": "yarn"},
        },
        LENGTHS,
    ),
    "llama_linear": (
        TEXT
        | {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "num_hidden_layers": 1,
            "rope_scaling": {"factor": 2.5, "type": "linear"},
        },
        LENGTHS,
    ),
    # Every block sees 12 keys; four queries to a head of keys.
    "mistral": (
        TEXT
        | {
            "model_type": "mistral",
            "architectures": ["MistralForCausalLM"],
            "num_key_value_heads": 1,
            "sliding_window": 12,
        },
        [24, 90],
    ),
    "qwen2_vl": (
        TEXT
        | PICTURES
        | {
            "model_type": "qwen2_vl",
            "architectures": ["Qwen2VLForConditionalGeneration"],
            "num_hidden_layers": 1,
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
            "use_sliding_window": False,
            "vision_config": {
                "model_type": "qwen2_vl",
                "depth": 2,
                "embed_dim": 16,
                "hidden_size": 32,
                "mlp_ratio": 2,
                "num_heads": 2,
                "in_chans": 3,
                "patch_size": 2,
                "spatial_merge_size": 2,
                "spatial_patch_size": 2,
                "temporal_patch_size": 2,
            },
        },
        GRIDS,
    ),
    "qwen2_5_vl": (
        TEXT
        | PICTURES
        | {
            "model_type": "qwen2_5_vl",
            "architectures": ["Qwen2_5_VLForConditionalGeneration"],
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "vision_config": {
                "model_type": "qwen2_5_vl",
                "depth": 3,
                "hidden_act": "silu",
                "hidden_size": 16,
                "intermediate_size": 36,
                "num_heads": 2,
                "in_chans": 3,
                "out_hidden_size": 32,
                "patch_size": 2,
                "spatial_merge_size": 2,
                "spatial_patch_size": 2,
                "window_size": 16,
                "fullatt_block_indexes": [1],
                "temporal_patch_size": 2,
            },
        },
        GRIDS,
    ),
    # The first and the third block of the tower feed the first two of the language model.
    "qwen3_vl": (
        PICTURES
        | {
            "model_type": "qwen3_vl",
            "architectures": ["Qwen3VLForConditionalGeneration"],
            "tie_word_embeddings": True,
            "text_config": {k: v for k, v in TEXT.items() if k not in ("torch_dtype", "rope_theta")}
            | {
                "model_type": "qwen3_vl_text",
                "dtype": "bfloat16",
                "head_dim": 16,
                "rope_theta": 5000.0,
                "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"},
                "tie_word_embeddings": True,
            },
            "vision_config": {
                "model_type": "qwen3_vl",
                "depth": 3,
                "deepstack_visual_indexes": [0, 2],
                "hidden_act": "gelu_pytorch_tanh",
                "hidden_size": 16,
                "in_channels": 3,
                "intermediate_size": 40,
                "num_heads": 2,
                "num_position_embeddings": 25,
                "out_hidden_size": 32,
                "patch_size": 2,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
        },
        GRIDS,
    ),
}


def auto(directory: Path) -> Any:
    """The class that loads the model in `directory`."""
    vision = hasattr(AutoConfig.from_pretrained(directory), "vision_config")
    return AutoModelForImageTextToText if vision else AutoModelForCausalLM


def load(directory: Path) -> Any:
    """The model in F32."""
    return auto(directory).from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def randomise(model: Any, generator: torch.Generator) -> None:
    """Random weights: products of about the size of their inputs, factors about 1, everything else well off 0."""
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if "embed_tokens" in name:
            values *= 0.3 if model.config.tie_word_embeddings else 1.0
        elif "pos_embed" in name:
            values *= 0.5
        elif parameter.dim() >= 2:
            values *= 1.3 / parameter[0].numel() ** 0.5
        elif name.endswith("bias"):
            values *= 0.3
        else:
            values = 1 + 0.2 * values
        parameter.data = values.to(torch.bfloat16)


def inputs(shape: Any, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A sample of so many tokens, or of pictures of these grids between words."""

    def words(count: int) -> list[int]:
        return torch.randint(0, IMAGE, (count,), generator=generator).tolist()

    if isinstance(shape, int):
        return {"input_ids": torch.tensor(words(shape))}
    tokens = words(3)
    for _, rows, columns in shape:
        tokens += [START, *[IMAGE] * (rows * columns // 4), END, *words(6)]
    patches = sum(rows * columns for _, rows, columns in shape)
    return {
        "input_ids": torch.tensor(tokens),
        "pixel_values": torch.randn((patches, 24), generator=generator),
        "image_grid_thw": torch.tensor(shape),
    }


def arguments(sample: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the model is called with."""
    ids = sample["input_ids"][None]
    named = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids, "use_cache": False}
    if "pixel_values" in sample:
        pictures = {n: sample[n] for n in ("pixel_values", "image_grid_thw")}
        named |= pictures | {"mm_token_type_ids": (ids == IMAGE).int()}
    return named


def make() -> None:
    """Models, samples, logits and losses."""
    for name, (config, shapes) in MODELS.items():
        directory = HERE / name
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(config, indent=2) + "\n"
        (directory / "config.json").write_text(text)
        generator = torch.Generator().manual_seed(sum(name.encode()))
        model = auto(directory).from_config(AutoConfig.from_pretrained(directory), dtype=torch.bfloat16)
        randomise(model, generator)
        model.save_pretrained(directory)
        (directory / "generation_config.json").unlink(missing_ok=True)
        (directory / "config.json").write_text(text)
        (directory / "model.safetensors").chmod(0o644)
        model = load(directory)
        golden = {}
        for index, shape in enumerate(shapes):
            sample = inputs(shape, generator)
            with torch.no_grad():
                output = model(**arguments(sample))
            sample |= {"logits": output.logits[0], "loss": output.loss.reshape(1)}
            golden |= {f"{index}.{n}": t.contiguous() for n, t in sample.items()}
        save_file(golden, directory / "golden.safetensors")
        (directory / "golden.safetensors").chmod(0o644)
        spread = output.logits.std().item()
        print(name, f"loss {output.loss.item():.4f}, logits ± {spread:.2f}", flush=True)


def samples(directory: Path) -> list[dict[str, torch.Tensor]]:
    """The samples of a model."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(directory / "golden.safetensors").items():
        index, _, part = name.partition(".")
        found.setdefault(index, {})[part] = tensor
    return [arguments(found[index]) for index in sorted(found, key=int)]


def search(directory: Path) -> dict[str, Any]:
    """ModelOpt's own gradient search."""
    import modelopt.torch.quantization as mtq

    data = samples(directory)
    _, state = mtq.auto_quantize(
        load(directory),
        constraints={"effective_bits": 11.0},
        quantization_formats=[getattr(mtq, FORMAT)],
        data_loader=data,
        forward_step=lambda model, batch: model(**batch),
        loss_func=lambda output, _: output.loss,
        disabled_layers=[],
        num_calib_steps=len(data),
        num_score_steps=len(data),
        method="gradient",
    )
    scores = [
        [stats["module_names"], score]
        for stats in state["candidate_stats"].values()
        for format, score in zip(stats["formats"], stats["scores"], strict=True)
        if FORMAT in str(format)
    ]
    quantisers = next(v["state_dict"] for k, v in state["quantizer_states"].items() if FORMAT in str(k))
    amax = {
        name.removesuffix(".input_quantizer"): tensors["_amax"].item()
        for name, tensors in quantisers.items()
        if name.endswith(".input_quantizer") and "_amax" in tensors
    }
    return {"amax": amax, "scores": scores}


class Rounded:
    """A layer whose input and weight are rounded to FP8."""

    def __init__(self, layer: torch.nn.Module, amax: float) -> None:
        from modelopt.torch.quantization.tensor_quant import _fp8_eager

        self.layer, self.amax, self.round = layer, torch.tensor(amax), _fp8_eager
        self.weight = _fp8_eager(layer.weight.detach(), layer.weight.detach().abs().amax())

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = self.round(x, self.amax)
        if isinstance(self.layer, torch.nn.Conv3d):
            return torch.nn.functional.conv3d(x, self.weight, self.layer.bias, self.layer.stride)
        return torch.nn.functional.linear(x, self.weight, self.layer.bias)


def by_definition(directory: Path, searched: dict[str, Any]) -> dict[str, Any]:
    """Gradient scores of layers and KL scores of groups."""
    model, data = load(directory), samples(directory)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv3d))}
    rounded = {n: Rounded(m, searched["amax"][n]) for n, m in layers.items()}
    scores = dict.fromkeys(layers, 0.0)
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(_: torch.nn.Module, given: tuple[torch.Tensor], output: torch.Tensor) -> None:
            output.retain_grad()
            seen[name] = (given[0].detach(), output)

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    for batch in data:
        model.zero_grad()
        model(**batch).loss.backward()
        for name, (x, y) in seen.items():
            with torch.no_grad():
                scores[name] += (y.grad.double() * (rounded[name](x) - y).double()).square().sum().item()
    for hook in hooks:
        hook.remove()

    @torch.no_grad()
    def probabilities() -> list[torch.Tensor]:
        return [model(**batch).logits.double().log_softmax(-1) for batch in data]

    base, kl = probabilities(), []
    for members, _ in searched["scores"]:
        plain = {n: layers[n].forward for n in members}
        for name in members:
            layers[name].forward = rounded[name]
        kl.append(sum((b.exp() * (b - q)).sum().item() for b, q in zip(base, probabilities(), strict=True)))
        for name in members:
            layers[name].forward = plain[name]
    return {"layers": scores, "kl": [[members, score] for (members, _), score in zip(searched["scores"], kl, strict=True)]}


def score() -> None:
    """Scores and amax."""
    for name in MODELS:
        directory = HERE / name
        searched = search(directory)
        golden = searched | by_definition(directory, searched)
        lines = [f"{json.dumps(part)}: {json.dumps(values)}" for part, values in golden.items()]
        (directory / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        worst = max(abs(sum(golden["layers"][m] for m in members) / s - 1) for members, s in golden["scores"])
        print(name, len(golden["layers"]), f"layers, definition and ModelOpt differ by {worst:.1e}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 2:
        MODELS = {name: MODELS[name] for name in sys.argv[2:]}
    {"make": make, "score": score}[sys.argv[1]]()
