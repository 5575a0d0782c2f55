"""What PyTorch finds a scheme to cost: a checkpoint with code × scale in the place of its FP8 layers, whose inputs are rounded as the
dialect says. It shares no code with qlua."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText, PreTrainedModel

from checkpoint import FP8, Directory, Inputs

KINDS = ("text", "vlm")
LARGEST = torch.finfo(FP8).max
Scale = Callable[[torch.Tensor], torch.Tensor]
"""The scale of each input of a layer, from the inputs."""


@dataclass(frozen=True)
class Figures:
    """What was found on one sample: sums over its positions, whose number is the last."""

    divergence: float
    loss: float
    same: float
    positions: int


def load(directory: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model in `directory` by Transformers' own loader."""
    return AutoModelForImageTextToText.from_pretrained(directory, dtype=dtype, attn_implementation="eager").eval()


def per_token(values: torch.Tensor) -> torch.Tensor:
    """One scale for each vector along the last dimension."""
    amax = values.abs().amax(-1, keepdim=True)
    return torch.where(amax == 0, 1.0, amax / LARGEST)


def per_group(values: torch.Tensor) -> torch.Tensor:
    """One for each 128 values of a vector; the last group may be shorter."""
    width = values.shape[-1]
    groups = torch.nn.functional.pad(values, (0, -width % 128)).unflatten(-1, (-1, 128))
    return per_token(groups).expand_as(groups).flatten(-2)[..., :width]


def per_token_or_picture(values: torch.Tensor) -> torch.Tensor:
    """As compressed-tensors inside Transformers: inputs without a batch, as in vision towers, get one scale for all their tokens."""
    return per_token(values.flatten()) if values.ndim == 2 else per_token(values)


def scale_of(scheme: Directory, layer: str, dynamic: Scale) -> Scale:
    """How inputs of `layer` are rounded; `dynamic` where scales are per token."""
    static = scheme.input_scale(layer)
    if static is not None:
        return lambda values: static.to(values.dtype).reshape(())
    return per_group if f"{layer}.weight_scale_inv" in scheme.tensors else dynamic


def fingerprint(scheme: Directory, kind: str) -> str:
    """A digest of the numbers that a scheme is computed from: equal ones are computed once. Text meets no vision tower."""
    digest = hashlib.sha256()
    for layer in sorted(layer for layer in scheme.fp8_layers if kind != "text" or "visual." not in layer):
        static = scheme.input_scale(layer)
        kind = "group" if f"{layer}.weight_scale_inv" in scheme.tensors else "token" if static is None else static.item()
        digest.update(f"{layer} {kind}".encode() + scheme.weight(layer).contiguous().numpy().tobytes())
    return digest.hexdigest()


class Computation:
    """A base checkpoint in one floating-point type, whose FP8 layers are stood in for one scheme at a time."""

    def __init__(self, base: Path, inputs: Path, dtype: torch.dtype) -> None:
        self.model = load(base, dtype)
        self.modules = dict(self.model.named_modules())
        self.inputs = Inputs(inputs)
        self.base_logits = {kind: self.logits(self.model, kind) for kind in KINDS}

    @torch.no_grad()
    def logits(self, model: PreTrainedModel, kind: str) -> list[torch.Tensor]:
        """Logits of every sample of one kind, in F64."""
        return [model(**batch).logits[0].double() for batch in self.inputs.batches(kind)]

    def simulated(
        self, scheme: Directory, kind: str, dynamic: Scale = per_token, seed: int = 0, off: dict[str, float] | None = None
    ) -> list[Figures]:
        """The figures of `scheme`. `off` says by how much, relative, the inputs of each layer are off, at random by `seed`, before
        they are rounded to FP8."""
        generator = torch.Generator().manual_seed(seed)
        kept, hooks = {}, []
        for layer in scheme.fp8_layers:
            module = self.modules[scheme.in_memory(layer)]
            kept[module] = module.weight.data
            module.weight.data = scheme.weight(layer).to(module.weight.dtype)
            scale, noise = scale_of(scheme, layer, dynamic), off[scheme.in_memory(layer)] if off else 0.0
            hooks.append(module.register_forward_pre_hook(rounded(scale, noise, generator)))
        try:
            return self.compared(kind, self.logits(self.model, kind))
        finally:
            for module, weight in kept.items():
                module.weight.data = weight
            for hook in hooks:
                hook.remove()

    def loaded(self, directory: Path, kind: str) -> list[Figures]:
        """The figures of the model that Transformers loads from `directory`."""
        return self.compared(kind, self.logits(load(directory, self.model.dtype), kind))

    @torch.no_grad()
    def seen(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What goes into each linear layer of the base, in F64."""
        found: dict[str, torch.Tensor] = {}
        hooks = []
        for name, module in self.modules.items():
            if isinstance(module, torch.nn.Linear):
                def keep(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...], key: str = name) -> None:
                    found[key] = arguments[0].double()
                hooks.append(module.register_forward_pre_hook(keep))
        self.model(**batch)
        for hook in hooks:
            hook.remove()
        return found

    def compared(self, kind: str, logits: list[torch.Tensor]) -> list[Figures]:
        """What logits differ by from those of the base."""
        found = []
        for base, other, batch in zip(self.base_logits[kind], logits, self.inputs.batches(kind)):
            p, q = base.log_softmax(-1), other.log_softmax(-1)
            loss = -q[:-1].gather(1, batch["input_ids"][0, 1:, None]).sum().item()
            same = (p.argmax(-1) == q.argmax(-1)).sum().item()
            found.append(Figures((p.exp() * (p - q)).sum().item(), loss, same, len(p)))
        return found


def rounded(scale: Scale, noise: float, generator: torch.Generator) -> Callable[..., tuple[torch.Tensor]]:
    """A hook that rounds inputs, off by `noise`, to FP8 and back."""

    def hook(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        (values,) = arguments
        if noise:
            values = values * (1 + noise * torch.randn(values.shape, generator=generator).to(values.dtype))
        scales = scale(values)
        return ((values / scales).clamp(-LARGEST, LARGEST).to(FP8).to(values.dtype) * scales,)

    return hook


def errors(single: Computation, double: Computation) -> dict[str, float]:
    """By how much F32 is off in what goes into each linear layer of the base: root mean squares of differences from F64, relative."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for kind in KINDS:
        for batch in single.inputs.batches(kind):
            seen = [computation.seen(batch) for computation in (single, double)]
            for name, exact in seen[1].items():
                sums[name][0] += (seen[0][name] - exact).square().sum().item()
                sums[name][1] += exact.square().sum().item()
    return {name: (off / total) ** 0.5 for name, (off, total) in sums.items()}


def whole(samples: list[Figures]) -> dict[str, float]:
    """The figures of all samples together: each position counts once."""
    positions = sum(one.positions for one in samples)
    predicted = positions - len(samples)
    return {
        "kl": sum(one.divergence for one in samples) / positions,
        "perplexity": float(torch.tensor(sum(one.loss for one in samples) / predicted, dtype=torch.float64).exp()),
        "agreement": sum(one.same for one in samples) / positions,
    }


def each(samples: list[Figures]) -> list[float]:
    """The KL of each sample."""
    return [one.divergence / one.positions for one in samples]


def split(inputs: Path, folder: Path) -> None:
    """Writes each sample of `inputs` into a file of its own."""
    tensors = Inputs(inputs).tensors
    number = lambda name: int(name.split(".")[1])  # noqa: E731
    for n, names in itertools.groupby(sorted(tensors, key=number), key=number):
        renumbered = {name.replace(f".{n}.", ".0.", 1): tensors[name].contiguous() for name in names}
        save_file(renumbered, folder / f"{n:03}.safetensors")
