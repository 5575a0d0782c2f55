"""A checkpoint directory as a plain reader sees it: what the checks compare engines with. It shares no code with qlua."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Iterator

import torch
from safetensors import safe_open

FP8 = torch.float8_e4m3fn


class Directory:
    """The tensors of a checkpoint directory, over as many files as it has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: dict = json.loads((path / "config.json").read_text())

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor by its on-disk name."""
        found: dict[str, torch.Tensor] = {}
        for file in sorted(self.path.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                found |= {name: opened.get_tensor(name) for name in opened.keys()}
        return found

    @cached_property
    def fp8_layers(self) -> list[str]:
        """The on-disk names of the layers whose weight is stored as FP8 codes."""
        return [n.removesuffix(".weight") for n, t in self.tensors.items() if t.dtype == FP8 and n.endswith(".weight")]

    def weight(self, layer: str) -> torch.Tensor:
        """The weight of `layer` in F32: code × scale for FP8, the scale one number, one a row, or one a block."""
        weight = self.tensors[f"{layer}.weight"].float()
        blocks = self.tensors.get(f"{layer}.weight_scale_inv")
        if blocks is not None:
            weight = weight * spread(blocks.float(), weight.shape, self.config["quantization_config"]["weight_block_size"])
        elif layer in self.fp8_layers:
            weight = weight * self.tensors[f"{layer}.weight_scale"].float().reshape(-1, 1)
        return weight

    def input_scale(self, layer: str) -> torch.Tensor | None:
        """The static activation scale of `layer`, where there is one."""
        return self.tensors.get(f"{layer}.input_scale")

    def in_memory(self, name: str) -> str:
        """The name that Transformers gives an on-disk module or tensor."""
        if self.config["model_type"] == "qwen2_5_vl":
            if name.startswith("visual."):
                return f"model.{name}"
            if name.startswith("model.") and not name.startswith(("model.language_model.", "model.visual.")):
                return f"model.language_model.{name.removeprefix('model.')}"
        return name


def spread(scales: torch.Tensor, shape: torch.Size, block: list[int]) -> torch.Tensor:
    """One scale for each element of a weight of `shape`, from one for each block."""
    return scales.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[: shape[0], : shape[1]]


class Inputs:
    """Prepared inputs: tensors named `text.N.*` and `vlm.N.*` in one safetensors file."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as opened:
            self.tensors = {name: opened.get_tensor(name) for name in opened.keys()}

    def batches(self, kind: str) -> Iterator[dict[str, torch.Tensor]]:
        """The inputs of one kind, `text` or `vlm`, in order."""
        numbers = {int(name.split(".")[1]) for name in self.tensors if name.startswith(f"{kind}.")}
        for number in sorted(numbers):
            prefix = f"{kind}.{number}."
            yield {n.removeprefix(prefix): t for n, t in self.tensors.items() if n.startswith(prefix)}


def expected_fp8(job: dict) -> set[str]:
    """The in-memory names of the layers that a scheme must store in FP8, worked out from the manifest alone: the least
    sensitive ⌈percent × N / 100⌉ of the N scored groups, less what is no linear layer, and for blocks less the groups of
    which a layer is not made of whole ones."""
    percent, language_only = job["percent"], job["language_only"]
    groups = json.loads(Path(job["manifest"]).read_text())["layer_sensitivity"].values()
    ranked = [g for g in groups if any(not f.startswith("NONE") for f in g["formats"]) and g["importance"] != 0]
    if language_only:
        ranked = [g for g in ranked if not any("visual" in m or "lm_head" in m for m in g["module_names"])]
    ranked.sort(key=lambda group: group["importance"])
    chosen = ranked[: max(1, -(-percent * len(ranked) // 100))]
    if job["dialect"] == "fp8-block":
        base = Directory(Path(job["base"]))
        weights = {base.in_memory(n.removesuffix(".weight")): t for n, t in base.tensors.items() if n.endswith(".weight")}
        chosen = [g for g in chosen if all(s % 128 == 0 for m in g["module_names"] for s in weights[m].shape)]
    return {m for group in chosen for m in group["module_names"] if "patch_embed" not in m and m != "lm_head"}
