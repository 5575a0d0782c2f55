"""What the checks with vLLM and with SGLang share: both build fused layers under names of their own and load weights into them.

It imports no engine, and is imported after what an engine has to have replaced.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from checkpoint import FP8, Directory, expected_fp8
from outcome import require

FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
SCALES = ("_scale", "_scale_inv")
UNLOADED = torch.finfo(torch.float32).min
"""What the engines fill scales with before they load them."""


class Built:
    """A model as an engine builds it from a directory."""

    model: torch.nn.Module
    linear: type[torch.nn.Module]
    """The engine's class of linear layers."""
    cache_scales: tuple[str, ...]
    """Ends of the names of scales of an FP8 KV cache, which these checkpoints do not have and the engine does not need."""

    @property
    def class_name(self) -> str | None:
        """The engine's class of the model, where quantisation may change it."""
        return None

    def take_for(self, class_name: str) -> None:
        """Has the engine build the model as another of its classes."""
        raise NotImplementedError

    @cached_property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Parameters that a checkpoint has to give, tied ones once."""
        return {n: p for n, p in self.model.named_parameters() if not n.endswith(self.cache_scales)}

    @property
    def linears(self) -> dict[str, torch.nn.Module]:
        """The linear layers by the engine's names."""
        return {n: m for n, m in self.model.named_modules() if isinstance(m, self.linear)}


def members(name: str, known: dict[str, str]) -> list[str]:
    """The on-disk layers that the engine's layer `name` is made of; `known` has the on-disk name of each of its names."""
    parent, _, leaf = name.rpartition(".")
    parts = [f"{parent}.{part}" for part in FUSED.get(leaf, ()) if f"{parent}.{part}" in known] or [name]
    return [known[part] for part in parts if part in known]


def check_formats(job: dict[str, Any], quantised: dict[str, bool], scheme: Directory, known: dict[str, str]) -> None:
    """Every linear layer is FP8 exactly when the manifest's ranking says so; `quantised` says it by the engine's names."""
    wanted = expected_fp8(job)
    for name, is_fp8 in quantised.items():
        parts = members(name, known)
        require(bool(parts), f"{name} has no weight on disk")
        planned = {scheme.in_memory(part) in wanted for part in parts}
        require(planned == {is_fp8}, f"{name} is {'FP8' if is_fp8 else 'BF16'} against the plan")
    unmet = wanted - {scheme.in_memory(part) for n, is_fp8 in quantised.items() if is_fp8 for part in members(n, known)}
    require(not unmet, f"not in FP8: {sorted(unmet)[:4]}")


def check_input_scale(layer: torch.nn.Module, at: int, scheme: Directory, part: str) -> None:
    """The layer holds the input scale of `part`, its member number `at`, where one is on disk."""
    static = scheme.input_scale(part)
    if static is not None:
        own = layer.input_scale.data.float().flatten()[at]
        require(own.item() == static.float().item(), f"the input scale of {part} is {own} instead of {static}")


def is_set(name: str, values: torch.Tensor) -> bool:
    """Whether loading has put usable values everywhere."""
    if values.dtype == FP8:
        return bool((values.view(torch.uint8) & 0x7F != 0x7F).all())
    if name.endswith(SCALES):
        return bool(((values != UNLOADED) & values.isfinite() & (values > 0)).all())
    return not values.is_floating_point() or not bool(values.isnan().any())
