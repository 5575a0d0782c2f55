"""Where an engine puts the tensors of a checkpoint: found by loading marks instead of weights, so no names are known here.

The base is loaded three times into the same modules: as it is, with every tensor filled by a number of its own, and with every
row of a matrix filled by its number. What comes to lie where says of each row of each parameter which row of which tensor it
is: of fused layers, of stacks of experts, under any name. A directory of qlua must then fill exactly the same places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import torch

from checkpoint import FP8, Directory, spread
from engine_checks import UNLOADED, Built
from outcome import require

Weights = Iterable[tuple[str, torch.Tensor]]
FIRST = 0x0080
"""The bits of the first mark, the smallest normal number in BF16; each is a number that survives being copied."""
LAST = 0x7F7F


def mark(number: int) -> torch.Tensor:
    """The mark of a number."""
    return torch.tensor([FIRST + number], dtype=torch.int16).view(torch.bfloat16)


def numbers(marks: torch.Tensor) -> torch.Tensor:
    """The numbers of marks; negative for what is none."""
    bits = marks.to(torch.bfloat16).view(torch.int16).long()
    return torch.where((bits >= FIRST) & (bits <= LAST), bits - FIRST, -1)


def by_tensor(names: list[str]) -> Callable[[Weights], Iterator[tuple[str, torch.Tensor]]]:
    """Fills every tensor with the mark of its place in `names`."""
    places = {name: at for at, name in enumerate(names)}

    def filled(weights: Weights) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in weights:
            if tensor.is_floating_point() and name in places:
                tensor = mark(places[name]).to(tensor.dtype).expand(tensor.shape).clone()
            yield name, tensor

    return filled


def by_row(weights: Weights) -> Iterator[tuple[str, torch.Tensor]]:
    """Fills every row of matrices with the mark of its number."""
    for name, tensor in weights:
        if tensor.is_floating_point() and tensor.dim() == 2 and len(tensor) < LAST - FIRST:
            rows = torch.cat([mark(row) for row in range(len(tensor))]).to(tensor.dtype)
            tensor = rows.reshape(-1, 1).expand(tensor.shape).clone()
        yield name, tensor


def snapshot(model: Built) -> dict[str, torch.Tensor]:
    """A copy of all that checkpoints give."""
    return {name: parameter.data.clone() for name, parameter in model.parameters.items()}


class Places:
    """What each row of each parameter is made of, and what the base puts there."""

    def __init__(self, base: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor], rows: dict[str, torch.Tensor],
                 names: list[str], class_name: str | None) -> None:
        self.base, self.names, self.class_name = base, names, class_name
        self.tensors = {name: numbers(values) for name, values in tensors.items()}
        self.rows = {name: numbers(values) for name, values in rows.items() if values.dim() > 1}

    @classmethod
    def of(cls, built: Built, names: list[str], load: Callable[[Callable[[Weights], Weights]], Any]) -> Places:
        """Found by three loads of the base into `built`; `load` loads it with the tensors changed by a function."""
        load(lambda weights: weights)
        base = snapshot(built)
        load(by_tensor(names))
        tensors = snapshot(built)
        load(by_row)
        return cls(base, tensors, snapshot(built), names, built.class_name)

    def made_of(self, parameter: str) -> set[str]:
        """The tensors on disk of which `parameter` has something."""
        return {self.names[n] for n in self.tensors[parameter].unique().tolist() if 0 <= n < len(self.names)}

    def row_map(self, parameter: str) -> tuple[torch.Tensor, torch.Tensor]:
        """For each row of a matrix or stack, the number of its tensor and of the row there."""
        tensors, rows = self.tensors[parameter], self.rows[parameter]
        require(bool((tensors == tensors[..., :1]).all() and (rows == rows[..., :1]).all()), f"{parameter} mixes columns")
        return tensors[..., 0], rows[..., 0]

    def unset(self) -> list[str]:
        """Parameters that the base leaves as they were."""
        return [n for n, t in self.base.items() if t.is_floating_point() and bool(t.float().isnan().any())]


def check_places(built: Built, scheme: Directory, places: Places) -> None:
    """Every parameter holds what is on disk: codes and scales where that is FP8, and the bits of the base where it is not."""
    fp8 = {f"{layer}.weight" for layer in scheme.fp8_layers}
    met: set[str] = set()
    for name, parameter in built.parameters.items():
        if name not in places.base:
            continue
        made_of = places.made_of(name)
        if parameter.dtype != FP8:
            require(not made_of & fp8, f"{name} is built as BF16, and {sorted(made_of & fp8)[:3]} is FP8")
            same = torch.equal(bits(parameter.data), bits(places.base[name]))
            require(same or name in places.unset(), f"{name} is not as the base has it")
            continue
        require(made_of <= fp8, f"{name} is built as FP8, and {sorted(made_of - fp8)[:3]} is BF16")
        require(bool(made_of), f"{name} is FP8 and made of nothing on disk")
        check_codes(built, name, parameter.data, scheme, places)
        met |= made_of
    require(met == fp8, f"in no FP8 layer: {sorted(fp8 - met)[:4]}")
    gone = [name for name in places.base if name not in built.parameters]
    require(not gone, f"not built: {gone[:4]}")


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bits of a tensor, to compare NaN too."""
    return tensor.reshape(-1).contiguous().view(torch.uint8)


def check_codes(built: Built, name: str, codes: torch.Tensor, scheme: Directory, places: Places) -> None:
    """Codes, scales and input scales of an FP8 parameter are those of its tensors, row by row."""
    numbers_, rows = places.row_map(name)
    require(codes.shape[:-1] == numbers_.shape, f"{name} is {tuple(codes.shape)} and {tuple(places.base[name].shape)} in BF16")
    block = scheme.config.get("quantization_config", {}).get("weight_block_size")
    held = codes.float() * scales_of(built, name, codes, numbers_, block)
    stacks = numbers_.reshape(-1, numbers_.shape[-1])
    lines = rows.reshape(stacks.shape)
    for at, stack in enumerate(held.reshape(len(stacks), *held.shape[-2:])):
        parts = [places.names[n].removesuffix(".weight") for n in dict.fromkeys(stacks[at].tolist())]
        for part in parts:
            mine = stacks[at] == places.names.index(f"{part}.weight")
            wanted = scheme.weight(part)[lines[at][mine]]
            difference = (stack[mine][:, : wanted.shape[1]] - wanted).abs().max().item()
            require(difference == 0, f"{part} in {name} differs by up to {difference}")
        if not block:
            check_equal_scales(scheme, parts)
        check_input_scales(built, name, at, len(stacks), scheme, parts)


def owner(built: Built, name: str) -> tuple[torch.nn.Module, str]:
    """The module of a parameter, and its name there."""
    parent, _, leaf = name.rpartition(".")
    return built.model.get_submodule(parent), leaf


def scales_of(built: Built, name: str, codes: torch.Tensor, parts: torch.Tensor, block: list[int] | None) -> torch.Tensor:
    """The scale of each element, or of each row, of an FP8 parameter."""
    module, leaf = owner(built, name)
    scale = next((s for end in ("_scale_inv", "_scale") if (s := getattr(module, leaf + end, None)) is not None), None)
    require(scale is not None, f"{name} has no scale")
    values = scale.data.float()
    stacks = codes.shape[0] if codes.dim() == 3 else 1
    if block:
        grids = values.reshape(stacks, -(-codes.shape[-2] // block[0]), -(-codes.shape[-1] // block[1]))
        return torch.stack([spread(grid, codes.shape[-2:], block) for grid in grids]).reshape(codes.shape)
    if values.numel() == parts.numel():
        return values.reshape(*parts.shape, 1)
    slots = values.reshape(stacks, -1)
    found = torch.empty(stacks, parts.shape[-1])
    for at, numbers_ in enumerate(parts.reshape(stacks, -1)):
        order = list(dict.fromkeys(numbers_.tolist()))
        single = slots.shape[1] == 1 or len(order) == 1
        # A fused tensor on disk has one scale, of which an engine takes the largest slot that is set.
        per_part = slots[at].max().expand(len(order)) if single else slots[at][: len(order)]
        for slot, number in zip(per_part, order):
            found[at][numbers_ == number] = slot
    return found.reshape(*parts.shape, 1)


def check_equal_scales(scheme: Directory, parts: list[str]) -> None:
    """Parts of one layer with one number each have the same: engines requantise others to the largest."""
    scales = [scheme.tensors[f"{part}.weight_scale"] for part in parts]
    if all(scale.numel() == 1 for scale in scales):
        require(len({scale.float().item() for scale in scales}) == 1, f"the parts {parts} have different scales")


def check_input_scales(built: Built, name: str, at: int, stacks: int, scheme: Directory, parts: list[str]) -> None:
    """A layer, or expert number `at`, has the input scales on disk of its parts."""
    wanted = {float(scale.float()) for part in parts if (scale := scheme.input_scale(part)) is not None}
    if not wanted:
        return
    module, leaf = owner(built, name)
    held = getattr(module, leaf.replace("weight", "input_scale"), None)
    require(held is not None, f"{name} has no input scale")
    values = held.data.float().reshape(-1)
    own = values if values.numel() < stacks or stacks == 1 else values.reshape(stacks, -1)[at]
    found = {v for v in own.tolist() if v != UNLOADED}
    require(found == wanted or (values.numel() < stacks and found >= wanted), f"input scales of {name} are {found}, not {wanted}")


def names_in(base: Path) -> list[str]:
    """The names of the tensors of a checkpoint."""
    return sorted(Directory(base).tensors)
