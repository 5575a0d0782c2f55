#!/usr/bin/env python3
"""How exact ModelOpt's KL scores are: the KL score of every group of a model, computed three ways.

    divergence.py MODEL INPUTS AUTOQUANT_KL OUT      (with the Python of ModelOpt)

ModelOpt sums KL in F32 over all tokens and words, from F32 logits. `f32` here does the same once more, on one thread; `exact_sum`
takes the same logits, but log-softmax and sum are F64; in `f64` the whole model is F64 as well, only the values that are rounded to
FP8 become F32 before, as a quantiser does. OUT gets the three for every group with what AUTOQUANT_KL says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
from engine import Rounded, load  # noqa: E402


class RoundedWide(Rounded):
    """The same in a model of F64 values."""

    def __init__(self, layer: torch.nn.Module, amax: float) -> None:
        layer.float()
        super().__init__(layer, amax)
        layer.double()
        self.weight = self.weight.double()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rounded = self.round(x.float(), self.amax).double()
        if isinstance(self.layer, torch.nn.Conv3d):
            return torch.nn.functional.conv3d(rounded, self.weight, self.layer.bias, self.layer.stride)
        return torch.nn.functional.linear(rounded, self.weight, self.layer.bias)


def batches(inputs: Path, model: Any, dtype: torch.dtype) -> list[dict[str, torch.Tensor]]:
    """The image+text samples of a file of prepared tensors."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(inputs).items():
        kind, index, part = name.split(".")
        if kind == "vlm":
            found.setdefault(index, {})[part] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    names = ("input_ids", "mm_token_type_ids")
    for sample in found.values():
        for name in names:
            sample[name] = sample[name].reshape(1, -1)
        sample["image_grid_thw"] = sample["image_grid_thw"].reshape(-1, 3)
        sample["attention_mask"] = torch.ones_like(sample["input_ids"])
    return [found[index] | {"use_cache": False} for index in sorted(found, key=int)]


@torch.no_grad()
def scores(directory: Path, inputs: Path, document: dict[str, Any], dtype: torch.dtype) -> dict[str, list[float]]:
    """[KL summed in F32, KL summed in F64] of every group."""
    model = load(directory).to(dtype)
    data = batches(inputs, model, dtype)
    modules = dict(model.named_modules())
    kind = Rounded if dtype == torch.float32 else RoundedWide
    base = [model(**batch).logits for batch in data]
    found = {}
    for name, row in document["layer_sensitivity"].items():
        if len(row["formats"]) < 2:
            continue
        layers = {member: modules[member] for member in row["module_names"]}
        amax = {member: document["amax"][f"{member}.input_quantizer"] for member in layers}
        plain = {member: layer.forward for member, layer in layers.items()}
        for member, layer in layers.items():
            layer.forward = kind(layer, amax[member])
        single, double = torch.zeros(()), 0.0
        for batch, before in zip(data, base, strict=True):
            after = model(**batch).logits
            p, q = (logits.float().log_softmax(-1) for logits in (before, after))
            single += torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True)
            p, q = (logits.double().log_softmax(-1) for logits in (before, after))
            double += torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True).item()
        for member, layer in layers.items():
            layer.forward = plain[member]
        found[name] = [single.item(), double]
        print(dtype, name, found[name], row["scores"][0], flush=True)
    return found


def main(model: Path, inputs: Path, golden: Path, out: Path) -> None:
    document = json.loads(golden.read_text())
    narrow = scores(model, inputs, document, torch.float32)
    wide = scores(model, inputs, document, torch.float64)
    rows = {
        name: {
            "modelopt": document["layer_sensitivity"][name]["scores"][0],
            "f32": narrow[name][0],
            "exact_sum": narrow[name][1],
            "f64": wide[name][1],
        }
        for name in narrow
    }
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    out.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for way in ("modelopt", "f32", "exact_sum"):
        absolute = max(abs(row[way] - row["f64"]) for row in rows.values())
        relative = max(abs(row[way] / row["f64"] - 1) for row in rows.values())
        print(f"{way} differs from f64 by {absolute:.1e} absolute, {relative:.1e} relative")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(Path, sys.argv[1:]))
