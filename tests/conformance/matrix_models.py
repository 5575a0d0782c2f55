"""Makes the tiny models of the matrix: for each a base checkpoint, inputs, a manifest, and what is true of its layers.

Run in the environment that `matrix_tables.line_of` names. Usage: `matrix_models.py FOLDER NAME…`. A manifest has every layer as
a candidate that has a weight of two dimensions or more, routers, heads, tables and convolutions among them: what stays in BF16
is for qlua to know. `roles.json` says which of them are linear layers, and what each is called on disk, found by values.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.pytorch_utils import Conv1D

import matrix_tables
import seeded_manifest

GROUPING = (
    re.compile(r"^(.*?)\.(q_proj|k_proj|v_proj)$"),
    re.compile(r"^(.*?\.mlp\.experts)\.\d+\.(gate_proj|up_proj|down_proj)$"),
    re.compile(r"^(.*?\.mixer\.experts)\.\d+\.(up_proj|down_proj)$"),
    re.compile(r"^(.*?)\.(gate_proj|up_proj)$"),
    re.compile(r"^(.*?)\.(\d+\.(w1|w2|w3))$"),
    re.compile(r"^(.*?)\.((w1_linear|w2_linear|w3_linear)\.\d+)$"),
    re.compile(r"^(.*?)\.(in_proj_qkv|in_proj_z)$"),
    re.compile(r"^(.*?)\.(in_proj_a|in_proj_b)$"),
)
"""ModelOpt's rules, the first that matches wins: layers that are decided together."""
ROUTER = re.compile(r"(^|\.)(gate|router|shared_expert_gate|router\.layer)$")
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


def known(model_type: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row without the words of mixtures that this family does not have: engines may read them all the same."""
    default = CONFIG_MAPPING[model_type]() if model_type in CONFIG_MAPPING else None
    taken = {key: value for key, value in row.items() if key not in matrix_tables.MIXTURE or hasattr(default, key)}
    if "text_config" in row:
        taken["text_config"] = known(row["text_config"]["model_type"], row["text_config"])
    return taken


def build(name: str) -> PreTrainedModel:
    """A seeded model of the architecture, none of whose weights is constant."""
    transformers.set_seed(1)
    config = AutoConfig.for_model(name, **known(name, matrix_tables.ARCHITECTURES[name]))
    auto = AutoModelForImageTextToText if name in matrix_tables.VISION else AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.std() == 0:
                parameter.normal_(0, 0.1)
    return model.to(torch.bfloat16).eval()


def role(model: PreTrainedModel, name: str, module: torch.nn.Module) -> str | None:
    """What a module is by its class: `linear`, why it is no linear layer, or nothing for one that is no candidate. The last layer
    of torch's own attention, which reads its weight past it, is none."""
    if module is model.get_output_embeddings():
        return "head"
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return "attention"
    if isinstance(module, torch.nn.Linear):
        return "router" if ROUTER.search(name) else "linear"
    if isinstance(module, CONVOLUTIONS):
        return "convolution"
    if isinstance(module, Conv1D):
        return "transposed"
    if isinstance(module, torch.nn.Embedding):
        return "table"
    own = dict(module.named_parameters(recurse=False))
    if any(p.dim() == 3 and len(p) > 1 for p in own.values()):
        return "experts"
    return "router" if ROUTER.search(name) and "weight" in own else None


def candidates(model: PreTrainedModel) -> Iterator[tuple[str, str, torch.nn.Module]]:
    """Every module that the manifest scores, with what it is. The head counts where it is no other name of the table."""
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    for name, module in model.named_modules():
        kind = role(model, name, module)
        tied = module is head and head.weight is table.weight
        if kind and not tied:
            yield name, kind, module


def numel(module: torch.nn.Module) -> int:
    """The weights of a module, or of all its experts."""
    own = dict(module.named_parameters(recurse=False))
    return own["weight"].numel() if "weight" in own else sum(p.numel() for p in own.values() if p.dim() == 3)


def digest(tensor: torch.Tensor) -> str:
    """What two tensors of the same values have in common."""
    return hashlib.sha256(tensor.detach().reshape(-1).clone().view(torch.uint8).numpy().tobytes()).hexdigest()


def pieces(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """The tensors that may be on disk for a module: its weight, or the matrices of each of its experts, whole and in halves."""
    own = dict(module.named_parameters(recurse=False))
    if "weight" in own:
        yield own["weight"]
        return
    for stack in own.values():
        for matrix in stack if stack.dim() == 3 else ():
            for side in (matrix, matrix.T):
                yield side
                if side.shape[0] % 2 == 0:
                    yield from side.chunk(2)


def on_disk(model: PreTrainedModel, folder: Path) -> dict[str, list[str]]:
    """The names on disk of each candidate's matrices, found by their values."""
    found: dict[str, str] = {}
    for file in folder.glob("*.safetensors"):
        found |= {digest(t): n.removesuffix(".weight") for n, t in load_file(file).items() if n.endswith(".weight")}
    names = {}
    for name, _, module in candidates(model):
        names[name] = list(dict.fromkeys(found[key] for p in pieces(module) if (key := digest(p)) in found))
    return names


def inputs() -> dict[str, torch.Tensor]:
    """Two sequences of ordinary tokens."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, matrix_tables.IMAGE, (2, 1, 24), generator=generator)
    return {f"text.{n}.input_ids": ids[n] for n in range(2)}


@torch.no_grad()
def amax_of(model: PreTrainedModel, batches: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest absolute input of each linear layer that text reaches."""
    seen: dict[str, float] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            def record(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...], key: str = name) -> None:
                values = arguments[0]
                if values.numel():
                    seen[key] = max(seen.get(key, 0.0), values.abs().max().item())
            hooks.append(module.register_forward_pre_hook(record))
    for ids in batches.values():
        model(input_ids=ids)
    for hook in hooks:
        hook.remove()
    return seen


def grouped(names: list[str]) -> list[list[str]]:
    """The names in ModelOpt's groups."""
    groups: dict[str, list[str]] = {}
    for name in names:
        rule = next((m for pattern in GROUPING if (m := pattern.match(name))), None)
        groups.setdefault(f"{rule.group(1)} {GROUPING.index(rule.re)}" if rule else name, []).append(name)
    return list(groups.values())


def manifest_of(name: str, model: PreTrainedModel, seen: dict[str, float], disk: dict[str, list[str]]) -> dict[str, Any]:
    """A manifest in the published schema. Scores are seeded, and alternate between low and high within layers of one kind, so
    that at half coverage each kind has FP8 and BF16 members."""
    scores = random.Random(5)
    modules = {n: m for n, _, m in candidates(model)}
    linear = {n for n, kind, _ in candidates(model) if kind == "linear"}
    kinds: Counter[str] = Counter()
    sensitivity, amax = {}, {}
    for members in grouped(list(modules)):
        kind = re.sub(r"\d+", "#", members[0])
        kinds.setdefault(kind, scores.randrange(2))
        kinds[kind] += 1
        score = scores.uniform(1e-7, 1e-5) if kinds[kind] % 2 else scores.uniform(1e-4, 1e-3)
        size = float(sum(numel(modules[m]) for m in members))
        sensitivity[f"{members[0]}.quant_recipe"] = {
            "formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"], "scores": [score, 0.0],
            "costs": [size / 2, size], "importance": score, "module_names": members,
        }
        unseen = scores.uniform(2, 6)
        for member in members:
            # What text does not reach gets a number, too: input scales of towers are not what is compared here.
            for key in (member, *(disk[member] if member not in linear else ())):
                amax[f"{key}.input_quantizer"] = seen.get(member, 0.0) or unseen
    return seeded_manifest.document(name, [n for n in modules if n in linear], sensitivity, amax)


def make(folder: Path, name: str) -> None:
    """Writes `base/`, `inputs.safetensors`, `manifest.json` and `roles.json` of the architecture `name`."""
    model = build(name)
    model.save_pretrained(folder / "base")
    path = folder / "base" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"architectures": [type(model).__name__]}, indent=2, sort_keys=True) + "\n")
    if name in matrix_tables.PREPROCESSORS:
        (folder / "base" / "preprocessor_config.json").write_text(json.dumps(matrix_tables.PREPROCESSORS[name]) + "\n")
    batches = inputs()
    save_file(batches, folder / "inputs.safetensors")
    disk = on_disk(model, folder / "base")
    roles = {n: {"role": kind, "disk": disk[n]} for n, kind, _ in candidates(model)}
    (folder / "roles.json").write_text(json.dumps(roles, indent=1))
    seen = amax_of(model.float(), batches)
    (folder / "manifest.json").write_text(json.dumps(manifest_of(name, model, seen, disk), indent=1))


def main() -> None:
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    root = Path(sys.argv[1])
    for name in sys.argv[2:]:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
        make(root / name, name)


if __name__ == "__main__":
    main()
