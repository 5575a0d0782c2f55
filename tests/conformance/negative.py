"""Negative controls: directories that loaders accept and get wrong, made on purpose from a good one.

A check that cannot fail proves nothing, so each case must be caught by the checks of the engines named here and by
`qlua verify` with the code named here. Usage, in any environment: `negative.py TIED HEADED OUT` with static `universal`
schemes of partial coverage, of a model with tied embeddings and of one with its own head; prints the cases as JSON.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from checkpoint import Directory

TRANSFORMERS = ["transformers", "transformers-4.57"]
VLLM = ["vllm-compressed-tensors", "vllm-modelopt"]
SGLANG = ["sglang-compressed-tensors"]


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
        """Takes an on-disk layer out of both lists of what stays in BF16: of `ignore` with whatever else its entry hits, which is
        named one by one instead."""
        names = [n.removesuffix(".weight") for n in self.good.tensors if n.endswith(".weight")]
        names = [self.good.in_memory(n) for n in [*names, "lm_head"] if n != layer]

        def change(document: dict[str, Any]) -> None:
            entries = document["quantization_config"]["ignore"]
            entry = next(e for e in entries if hits(e, self.good.in_memory(layer)))
            entries.remove(entry)
            entries += [f"re:.*{re.escape(unwrapped(name))}$" for name in names if hits(entry, name)]

        self.edit("config.json", change)
        self.edit("hf_quant_config.json", lambda d: d["quantization"]["exclude_modules"].remove(layer))


def unwrapped(name: str) -> str:
    """A name without what engines differ in."""
    return re.sub(r"^((model|language_model)\.)*", "", name)


def hits(entry: str, name: str) -> bool:
    """Whether an entry of `ignore` is the name, or a regular expression that matches it from its start."""
    return re.match(entry[3:], name) is not None if entry.startswith("re:") else entry == name


def without_input_scales(broken: Broken) -> Case:
    """Static activations whose scales are not there."""

    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in [n for n in tensors if n.endswith(".input_scale")]:
            del tensors[name]

    broken.edit_tensors(drop)
    return Case("static-without-input-scale", "missing_input_scale", TRANSFORMERS + VLLM + SGLANG)


def not_ignored(broken: Broken) -> Case:
    """A BF16 layer that no list of exceptions names."""
    exceptions = broken.good.config["quantization_config"]["ignore"]
    layers = [n.removesuffix(".weight") for n in broken.good.tensors if n.endswith(("o_proj.weight", "down_proj.weight"))]
    broken.unlist(next(n for n in layers if any(hits(e, broken.good.in_memory(n)) for e in exceptions)))
    return Case("bf16-layer-not-listed", "not_excluded", TRANSFORMERS + VLLM + SGLANG)


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


def listed(broken: Broken) -> list[str]:
    """The on-disk names of what `ignore` hits, and the head."""
    entries = broken.good.config["quantization_config"]["ignore"]
    names = [n.removesuffix(".weight") for n in broken.good.tensors if n.endswith(".weight")]
    return [n for n in names if any(hits(e, broken.good.in_memory(n)) for e in entries)] + ["lm_head"]


def on_disk_spelling(broken: Broken) -> Case:
    """compressed-tensors exceptions spelled as on disk, which Transformers takes for no layer at all."""
    names = listed(broken)
    broken.edit("config.json", lambda d: d["quantization_config"].update(ignore=names))
    return Case("on-disk-spelling", "spelling", TRANSFORMERS)


def plain_spelling(broken: Broken) -> Case:
    """compressed-tensors exceptions by their plain names in memory: SGLang looks for other names, and takes BF16 for FP8."""
    names = [broken.good.in_memory(name) for name in listed(broken)]
    broken.edit("config.json", lambda d: d["quantization_config"].update(ignore=names))
    return Case("plain-spelling", "engine_spelling", SGLANG)


def plain_spelling_of_a_text_model(broken: Broken) -> Case:
    """The same for a model whose fused layers SGLang does not take apart."""
    return replace(plain_spelling(broken), name="plain-spelling-of-a-text-model", headed=True)


def modelopt_method(broken: Broken) -> Case:
    """A configuration that Transformers has no reader for: scales are dropped, codes become weights."""
    exclude = json.loads((broken.path / "hf_quant_config.json").read_text())["quantization"]["exclude_modules"]
    claim = {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": exclude, "producer": {"name": "modelopt"}}
    broken.edit("config.json", lambda d: d.update(quantization_config=claim))
    return Case("modelopt-method", "modelopt_method", TRANSFORMERS)


TIED = (
    without_input_scales, not_ignored, tied_head_not_listed, split_group, on_disk_spelling, plain_spelling, modelopt_method,
)
HEADED = (head_not_listed, plain_spelling_of_a_text_model)


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
