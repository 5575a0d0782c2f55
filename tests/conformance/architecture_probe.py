"""Records what one line of Transformers makes of every architecture. Runs in its environment; no weight is ever allocated.

Usage: `architecture_probe.py record OUT.json`, or `architecture_probe.py check NAMES.json OUT.json`, where NAMES holds
spellings of each architecture that may load, and OUT gets the names in memory that they are loaded to.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, Iterator

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "critical", "CUDA_VISIBLE_DEVICES": ""}

import torch  # noqa: E402
import transformers  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear  # noqa: E402
from transformers import modeling_utils  # noqa: E402
from transformers.models.auto import modeling_auto  # noqa: E402
from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402

import architecture_variants as variants  # noqa: E402
from folding import Row, fold, fold_rows  # noqa: E402

NEWEST = not transformers.__version__.startswith("4.")
MAPPINGS = {
    "image-text-to-text": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
}
CONVOLUTIONS = (nn.modules.conv._ConvNd,)
ROUTERS = re.compile(r"(^|\.)(gate|router|shared_expert_gate|router\.\w+|\w*_router|gate\.wg)$")
EXPERTS = re.compile(r"expert", re.IGNORECASE)
HEADS = re.compile(r"(^|\.)(lm_head|embed_out|score|classifier)$")


class Unknown(modeling_utils.PreTrainedModel):
    """Stands for a vision tower of the library timm, which is not installed: nothing is recorded of its modules."""

    def __init__(self, config: Any, *_: Any, **__: Any) -> None:
        super().__init__(config)


for config_class in (transformers.TimmWrapperConfig, transformers.Gemma3nVisionConfig):
    transformers.AutoModel.register(config_class, type("Unknown", (Unknown,), {"config_class": config_class}), exist_ok=True)


class Traced(torch.Tensor):
    """A tensor without data that remembers which parameters it was made of."""

    @classmethod
    def of(cls, tensor: torch.Tensor, name: str) -> Traced:
        """A stand-in for `tensor`, which is the parameter `name`."""
        made = torch.empty(tensor.shape, dtype=torch.bfloat16, device="meta").as_subclass(cls)
        made.names = (name,)
        return made

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        made = super().__torch_function__(function, types, arguments, keywords or {})
        names = tuple(dict.fromkeys(n for t in tensors(arguments) for n in getattr(t, "names", ())))
        for tensor in tensors(made):
            if names:
                tensor.names = names
        return made


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from tensors(inner)


def architectures() -> dict[str, tuple[str, str, str]]:
    """Every class of models with each model type that it serves, and the mapping that says so; by `class/type`."""
    found: dict[str, tuple[str, str, str]] = {}
    for mapping, names in MAPPINGS.items():
        for model_type, classes in names.items():
            for name in (classes,) if isinstance(classes, str) else classes:
                found.setdefault(f"{name}/{model_type}", (name, model_type, mapping))
    return found


def build(name: str, model_type: str, change: dict[str, Any]) -> nn.Module | None:
    """The architecture `name` from the configuration `model_type` with `change`; nothing where the change does not apply."""
    config = variants.configuration(CONFIG_MAPPING[model_type], change)
    if config is None:
        return None
    kind = getattr(transformers, name)
    if kind.config_class and not isinstance(config, kind.config_class):
        # The mapping names the configuration of the composite model for its language model, too; where neither is the kind
        # that the class states, it is another composite model under a name of its own.
        text = config.get_text_config()
        config = text if isinstance(text, kind.config_class) else config
    without_values = modeling_utils.no_init_weights() if hasattr(modeling_utils, "no_init_weights") else torch.no_grad()
    with without_values:
        try:
            with torch.device("meta"):
                model = kind(config)
        except NotImplementedError:
            # It computes with values; its configuration is a small one.
            model = kind(config)
    if change.get("tie_word_embeddings"):
        model.tie_weights()
    return model


def repetitions(model: nn.Module) -> tuple[str, ...]:
    """The members of lists that are made as two before them are: they tell nothing new, and most of a model is such."""
    found: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or name.startswith(tuple(found)):
            continue
        seen: dict[Any, int] = {}
        for index, child in enumerate(module):
            form = tuple((n, p.dim()) for n, p in child.named_parameters()), tuple(type(m) for m in child.modules())
            seen[form] = seen.get(form, 0) + 1
            if seen[form] > 2:
                found.append(f"{name}.{index}.")
    return tuple(found)


def written(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The names that `save_pretrained` writes, with those in memory that each was made of."""
    found: dict[str, tuple[str, ...]] = {}

    def take(state: dict[str, torch.Tensor], *_: Any, **__: Any) -> None:
        found.update({name: getattr(tensor, "names", ()) for name, tensor in state.items()})

    traced: dict[int, Traced] = {}
    state = {}
    repeated = repetitions(model)
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not name.startswith(repeated):
            state[name] = traced.setdefault(id(tensor), Traced.of(tensor, name))
    modeling_utils.safe_save_file = take
    model.can_generate = lambda: False
    kept: list[Any] = []

    def parameter(name: str) -> Any:
        # The 4.57 line tells tensors without data apart by their parameters, which it cannot find once it has renamed them.
        kept.append(state.get(name, object()))
        return kept[-1]

    model.get_parameter = parameter
    with tempfile.TemporaryDirectory() as folder:
        try:
            model.save_pretrained(folder, state_dict=dict(state), max_shard_size="1000TB")
        except RuntimeError:
            # The 4.57 line refuses shared tensors that it does not expect, such as those of layers that are left out here.
            state = {name: Traced.of(tensor, name) for name, tensor in state.items()}
            model.save_pretrained(folder, state_dict=dict(state), max_shard_size="1000TB")
    return found


def kind_of(model: nn.Module, name: str, head: nn.Module | None) -> tuple[str, str] | None:
    """What the tensor `name` in memory belongs to: the name of the module (or of the bare parameter) and its class; nothing
    for the bias of a module that has a weight."""
    owner_name, _, leaf = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    tensor = getattr(owner, leaf)
    rank = tensor.dim()
    class_name = type(owner).__name__
    weight = getattr(owner, "weight", None)
    if leaf == "bias" and isinstance(weight, torch.Tensor):
        return None
    bare = "" if leaf == "weight" else "p"
    key = owner_name if leaf == "weight" else name
    routes = bool(ROUTERS.search(owner_name)) or "Router" in class_name or class_name.endswith(("Gate", "MoEGate"))
    if isinstance(owner, nn.Linear):
        code = "H" if owner is head or HEADS.search(owner_name) else "R" if routes and is_router(owner) else "L"
        if isinstance(owner, NonDynamicallyQuantizableLinear):
            code = f"O{rank}"  # The output of torch's own attention: its weight is read, it is never run as a layer.
        return key, code + ("l" if code != "L" else "")
    if owner is head:
        return key, "H"
    if isinstance(owner, nn.Embedding):
        return key, "E"
    if isinstance(owner, CONVOLUTIONS):
        return key, f"C{rank}"
    if class_name == "Conv1D":
        return key, "T"
    if rank >= 2 and (EXPERTS.search(class_name) or (rank == 3 and EXPERTS.search(owner_name.rpartition(".")[2]))):
        return key, f"S{rank}{bare}"
    if rank == 2 and routes:
        return key, f"R{bare}"
    return key, f"O{rank}{bare}"


def is_router(layer: nn.Linear) -> bool:
    """Whether a layer called a gate has a row for each expert, or a single one, and not as many as a projection."""
    return layer.out_features <= 1024 and layer.out_features < layer.in_features or layer.out_features == 1


def rows_of(model: nn.Module) -> Iterator[tuple[Row, tuple[str, tuple[str, ...]]]]:
    """Each module or bare parameter on disk, with what it is in memory; and the names of the tensors themselves."""
    head = model.get_output_embeddings()
    for disk, names in written(model).items():
        kinds = [kind for name in names if (kind := kind_of(model, name, head))]
        if kinds:
            yield (disk.removesuffix(".weight"), tuple(name for name, _ in kinds), kinds[0][1]), (disk, names)


def tied(model: nn.Module) -> list[list[str]]:
    """The names in memory that are one tensor; a name alone where blocks share it."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name.removesuffix(".weight"))
    pairs = {tuple(dict.fromkeys(fold(n) for n in sorted(group))) for group in groups.values() if len(group) > 1}
    return [list(pair) for pair in sorted(pairs)]


def kept(model: nn.Module) -> list[str]:
    """The beginnings and ends of names of linear layers that quantisers of this line's own leave alone without being told."""
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    words = getattr(model, "_keep_in_fp32_modules", None) or ()
    return sorted(w for w in words if any(n.endswith(w) or n.startswith(f"{w}.") for n in linears))


def stacks(model: nn.Module) -> list[str]:
    """The lists of blocks: those that are inside no other, and whose members are what is never split or is checkpointed."""
    unsplit = {name for m in model.modules() for name in getattr(m, "_no_split_modules", None) or ()}
    found: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if inside or not isinstance(module, (nn.ModuleList, nn.Sequential)) or not len(module):
            continue
        classes = [c.__name__ for child in module for c in type(child).__mro__]
        if unsplit & set(classes) or "GradientCheckpointingLayer" in classes or re.search(r"(^|\.)(layers|blocks|h)$", name):
            found.append(name)
    return sorted({fold(name) + ".#" for name in found})


def towers(model: nn.Module) -> dict[str, str]:
    """The parts of a composite model by prefix, from the configuration that each submodel was made of."""
    subs = {
        id(sub): kind
        for key, kind in (("text_config", "language"), ("llm_config", "language"), ("vision_config", "vision"),
                          ("vision_tower_config", "vision"), ("audio_config", "other"), ("vq_config", "vision"))
        if (sub := getattr(model.config, key, None)) is not None and sub is not model.config
    }
    if not subs:
        return {"": "language"}
    types = {type(sub): kind for key, kind in (("text_config", "language"), ("vision_config", "vision"), ("audio_config", "other"))
             if (sub := getattr(model.config, key, None)) is not None}
    found: dict[str, str] = {}
    around = [""]
    for name, module in model.named_modules():
        inside = next((prefix for prefix in found if name.startswith(f"{prefix}.")), None)
        if inside is not None:
            if found[inside] == "vision" and re.search(r"(^|\.)(merger|deepstack_merger_list|aligner)$", name):
                found[name] = "merger"
            continue
        if not name or not isinstance(module, modeling_utils.PreTrainedModel):
            continue
        kind = subs.get(id(module.config)) or types.get(type(module.config))
        if kind:
            found[name] = kind
        else:
            around.append(name)
    for prefix in around:
        owner = model.get_submodule(prefix)
        for child, module in owner.named_children():
            name = f"{prefix}.{child}" if prefix else child
            covered = any(p == name or p.startswith(f"{name}.") for p in (*found, *around)) or name in found
            if not covered and any(True for _ in module.parameters()) and module is not model.get_output_embeddings():
                found[name] = "language" if isinstance(module, nn.Embedding) else "merger"
    if "language" not in found.values():
        found[""] = "language"
    return found


def record(name: str, model_type: str, mapping: str) -> dict[str, Any]:
    """What this line makes of the architecture `name` of `model_type`, and why where it makes nothing."""
    rows: dict[str, Row] = {}
    # Two names of each pattern are enough to try a spelling with.
    examples: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    facts: dict[str, Any] = {"mapping": mapping, "ties": [], "built": 0}
    problems = []
    for change in variants.CHANGES:
        try:
            model = build(name, model_type, change)
            if model is None:
                continue
            if change.get("tie_word_embeddings"):
                facts["ties"] = tied(model)
                continue
            for row, names in rows_of(model):
                if row[0] not in rows and len(examples.setdefault(fold(row[0]), [])) < 2:
                    examples[fold(row[0])].append(names)
                rows.setdefault(row[0], row)
            if not facts["built"]:
                facts |= {"towers": towers(model), "base": model.base_model_prefix}
                facts["ignored"] = sorted(getattr(type(model), "_keys_to_ignore_on_load_unexpected", None) or ())
                facts["kept"] = kept(model)
                facts["own"] = type(model).__module__.split(".")[2] == model_type.replace("-", "_")
            facts["stacks"] = sorted({*facts.get("stacks", ()), *stacks(model)})
            facts["built"] += 1
        except Exception as error:  # noqa: BLE001: whatever a configuration does to a model is recorded
            problems.append(f"{change}: {type(error).__name__}: {str(error).strip()[:160]}")
    folded, mixed = fold_rows(rows.values())
    return facts | {"modules": folded, "mixed": mixed, "problems": problems, "examples": [e for f in examples.values() for e in f]}


def loaded(model: nn.Module, names: list[str]) -> dict[str, str]:
    """The names in memory that tensors called `names` on disk are loaded to."""
    if NEWEST:
        from transformers import core_model_loading as loading
        from transformers.conversion_mapping import get_model_conversion_mapping

        conversions = get_model_conversion_mapping(model)
        renamings = [c for c in conversions if isinstance(c, loading.WeightRenaming)]
        converters = [c for c in conversions if isinstance(c, loading.WeightConverter)]
        state, prefix = model.state_dict(), model.base_model_prefix
        names = sorted(names, key=loading.dot_natural_key)
        return {n: loading.rename_source_key(n, renamings, converters, prefix, state)[0] for n in names}
    vision = any(word in c.__name__.lower() for c in type(model).__mro__[:-1] for word in modeling_utils.VLMS)
    prefix = model.base_model_prefix
    has, expects = any(n.startswith(prefix) for n in names) if prefix else False, hasattr(model, prefix) if prefix else False
    mapping = type(model)._checkpoint_conversion_mapping if vision else None
    return model._get_key_renaming_mapping(names, mapping, has and not expects, not has and expects)


def check(name: str, model_type: str, spellings: dict[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """What tensors are loaded to that are called as each of `spellings` has it: only names that the model has."""
    found: dict[str, dict[str, set[str]]] = {spelling: {} for spelling in spellings}
    for change in variants.CHANGES:
        if change.get("tie_word_embeddings"):
            continue
        try:
            model = build(name, model_type, change)
        except Exception:  # noqa: BLE001: recorded before
            continue
        if model is None:
            continue
        state = model.state_dict()
        for spelling, names in spellings.items():
            try:
                for disk, memory in loaded(model, names).items():
                    if memory in state:
                        found[spelling].setdefault(disk, set()).add(memory)
            except ValueError:
                # The 4.57 line refuses a mixture of spellings.
                continue
        own = "disk5" if NEWEST else "disk4"
        if found[own].keys() >= set(spellings[own]):
            break
    return {spelling: {disk: sorted(to) for disk, to in names.items()} for spelling, names in found.items()}


def main() -> None:
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.CRITICAL)
    wanted = os.environ.get("QLUA_ARCHITECTURES", "").split()
    found = {key: of for key, of in architectures().items() if not wanted or of[0] in wanted}
    if sys.argv[1] == "record":
        made: dict[str, Any] = {}
        for key, of in found.items():
            print(key, file=sys.stderr, flush=True)
            made[key] = record(*of)
    else:
        spellings = json.loads(Path(sys.argv[2]).read_text())
        made = {key: check(*of[:2], spellings[key]) for key, of in found.items() if key in spellings}
    Path(sys.argv[-1]).write_text(json.dumps(made))


if __name__ == "__main__":
    main()
