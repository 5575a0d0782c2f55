"""Negative controls: directories that loaders accept and get wrong, made on purpose from a good one.

A check that cannot fail proves nothing, so each case must be caught by the checks of the engines named here and by
`qlua verify` with the code named here. Usage, in any environment: `negative.py TIED HEADED OUT` with static `universal`
schemes of partial coverage, of a model with tied embeddings and of one with its own head; prints the cases as JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from checkpoint import Directory

TRANSFORMERS = ["transformers", "transformers-4.57"]
VLLM = ["vllm-compressed-tensors", "vllm-modelopt"]


@dataclass
class Case:
    """One way to be silently wrong."""

    name: str
    code: str
    """The code under which `qlua verify` reports it."""
    engines: list[str]
    """The engines whose checks must catch it."""
    headed: bool = False
    """Whether it is made from the model that has its own head."""


class Broken:
    """A copy of a good directory that is about to be broken."""

    def __init__(self, good: Path, path: Path) -> None:
        shutil.copytree(good, path)
        self.path = path
        self.good = Directory(good)

    def edit(self, file: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes a JSON file."""
        document = json.loads((self.path / file).read_text())
        change(document)
        (self.path / file).write_text(json.dumps(document, indent=2))

    def edit_tensors(self, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
        """Changes the tensors of each weight file, and the index with them."""
        where: dict[str, str] = {}
        for file in sorted(self.path.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}
            change(tensors)
            file.unlink()
            save_file(tensors, file, metadata={"format": "pt"})
            where |= dict.fromkeys(tensors, file.name)
        if (self.path / "model.safetensors.index.json").exists():
            size = sum(t.numel() * t.element_size() for t in Directory(self.path).tensors.values())
            self.edit("model.safetensors.index.json", lambda d: d.update(weight_map=where, metadata={"total_size": size}))

    def unlist(self, layer: str) -> None:
        """Takes an on-disk layer out of both lists of what stays in BF16."""
        self.edit("config.json", lambda d: d["quantization_config"]["ignore"].remove(self.good.in_memory(layer)))
        self.edit("hf_quant_config.json", lambda d: d["quantization"]["exclude_modules"].remove(layer))


def without_input_scales(broken: Broken) -> Case:
    """Static activations whose scales are not there."""

    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in [n for n in tensors if n.endswith(".input_scale")]:
            del tensors[name]

    broken.edit_tensors(drop)
    return Case("static-without-input-scale", "missing_input_scale", TRANSFORMERS + VLLM)


def not_ignored(broken: Broken) -> Case:
    """A BF16 layer that no list of exceptions names."""
    exceptions = broken.good.config["quantization_config"]["ignore"]
    layers = [n.removesuffix(".weight") for n in broken.good.tensors if n.endswith(".weight")]
    broken.unlist(next(n for n in layers if broken.good.in_memory(n) in exceptions and n.endswith(("o_proj", "down_proj"))))
    return Case("bf16-layer-not-listed", "not_excluded", TRANSFORMERS + VLLM)


def tied_head_not_listed(broken: Broken) -> Case:
    """A tied head taken for a layer to quantise: vLLM reads the embedding instead, Transformers is lost."""
    broken.unlist("lm_head")
    return Case("tied-head-not-listed", "lm_head", TRANSFORMERS)


def head_not_listed(broken: Broken) -> Case:
    """A head of its own taken for a layer to quantise; compressed-tensors in vLLM never quantises heads."""
    broken.unlist("lm_head")
    return Case("head-not-listed", "lm_head", [*TRANSFORMERS, "vllm-modelopt"], headed=True)


def split_group(broken: Broken) -> Case:
    """A fused group of which one member is in BF16, under the algorithm that does not object."""
    split = next(layer for layer in broken.good.fp8_layers if layer.endswith(".up_proj"))

    def restore(tensors: dict[str, torch.Tensor]) -> None:
        if f"{split}.weight" in tensors:
            tensors[f"{split}.weight"] = broken.good.weight(split).to(torch.bfloat16)
            for scale in ("weight_scale", "input_scale"):
                tensors.pop(f"{split}.{scale}", None)

    def mix(document: dict[str, Any]) -> None:
        layers = {layer: {"quant_algo": "FP8"} for layer in broken.good.fp8_layers if layer != split}
        document["quantization"] |= {"quant_algo": "MIXED_PRECISION", "quantized_layers": layers, "exclude_modules": []}

    broken.edit_tensors(restore)
    broken.edit("hf_quant_config.json", mix)
    broken.edit("config.json", lambda d: d.pop("quantization_config"))
    return Case("split-group-mixed-precision", "split_group", ["vllm-modelopt"])


def on_disk_spelling(broken: Broken) -> Case:
    """compressed-tensors exceptions spelled as on disk, which Transformers takes for no layer at all."""
    names = {broken.good.in_memory(n.removesuffix(".weight")): n.removesuffix(".weight") for n in broken.good.tensors}
    broken.edit(
        "config.json",
        lambda d: d["quantization_config"].update(ignore=[names.get(n, n) for n in d["quantization_config"]["ignore"]]),
    )
    return Case("on-disk-spelling", "spelling", TRANSFORMERS)


def modelopt_method(broken: Broken) -> Case:
    """A configuration that Transformers has no reader for: scales are dropped, codes become weights."""
    exclude = json.loads((broken.path / "hf_quant_config.json").read_text())["quantization"]["exclude_modules"]
    claim = {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": exclude, "producer": {"name": "modelopt"}}
    broken.edit("config.json", lambda d: d.update(quantization_config=claim))
    return Case("modelopt-method", "modelopt_method", TRANSFORMERS)


TIED = (without_input_scales, not_ignored, tied_head_not_listed, split_group, on_disk_spelling, modelopt_method)
HEADED = (head_not_listed,)


def main() -> None:
    tied, headed, out = map(Path, sys.argv[1:4])
    shutil.rmtree(out, ignore_errors=True)
    cases = []
    for good, makers in ((tied, TIED), (headed, HEADED)):
        for make in makers:
            path = out / make.__name__
            cases.append({**asdict(make(Broken(good, path))), "directory": str(path)})
    print(json.dumps(cases))


if __name__ == "__main__":
    main()
