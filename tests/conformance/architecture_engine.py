"""Records what vLLM's model classes say of themselves: which modules they fuse and how they rename. Runs in its environment.

Usage: `architecture_engine.py OUT.json`.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ |= {
    "VLLM_TARGET_DEVICE": "cpu", "VLLM_LOGGING_LEVEL": "CRITICAL", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "critical", "CUDA_VISIBLE_DEVICES": "",
}

from vllm.model_executor.models.registry import ModelRegistry  # noqa: E402

MAPS = ("prefix", "substr", "suffix")
ADDED = re.compile(r'self\.packed_modules_mapping\["(\w+)"\] = \[([^\]]+)\]')
EXPERT_NAMES = re.compile(r'ckpt_(gate|down|up)_proj_name\s*=\s*"(\w+)"')


def facts(kind: type) -> dict[str, Any]:
    """What the class `kind` says."""
    found: dict[str, Any] = {}
    fused = getattr(kind, "packed_modules_mapping", None)
    fused = (fused if isinstance(fused, dict) else {}) | added(kind)
    found["fused"] = {name: list(parts) for name, parts in fused.items() if list(parts) != [name]}
    mapper = getattr(kind, "hf_to_vllm_mapper", None)
    for word in MAPS:
        # What is mapped to nothing is not loaded, which does not matter to names.
        found[word] = [[old, new] for old, new in getattr(mapper, f"orig_to_new_{word}", {}).items() if new is not None]
    stacked = merged(getattr(mapper, "orig_to_new_stacked", {}))
    found["stacked"] = {name: parts for name, parts in stacked.items() if found.get("fused", {}).get(name) != parts}
    if any(getattr(mapper, f"orig_to_new_{word}", None) for word in ("regex", "renaming")):
        found["more"] = True
    if experts := expert_names(kind):
        found["experts"] = experts
    return {key: value for key, value in found.items() if value}


def added(kind: type) -> dict[str, list[str]]:
    """What the class adds to its fused modules when it is made from some configurations, such as MLA's with `q_lora_rank`."""
    found: dict[str, list[str]] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("vllm."):
            for name, parts in ADDED.findall(inspect.getsource(base)):
                found[name] = re.findall(r'"([^"]+)"', parts)
    return found


def merged(stacked: dict[str, tuple[str, Any]]) -> dict[str, list[str]]:
    """What the loader stacks: the parts by what they become, without what comes before both."""
    found: dict[str, list[str]] = {}
    for part, (name, _) in stacked.items():
        name, part = (text.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2] for text in (name, part))
        if part not in found.setdefault(name, []):
            found[name].append(part)
    return {name: parts for name, parts in found.items() if len(parts) > 1}


def expert_names(kind: type) -> dict[str, str]:
    """How the class calls the three matrices of an expert where it hands them to the fused mixture; nothing unless its file
    says it in plain words, once."""
    try:
        named = EXPERT_NAMES.findall(inspect.getsource(inspect.getmodule(kind)))
    except (OSError, TypeError):
        return {}
    names: dict[str, set[str]] = {}
    for part, name in named:
        names.setdefault(part, set()).add(name)
    return {part: next(iter(found)) for part, found in sorted(names.items()) if len(found) == 1}


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    made, failed = {}, {}
    for name, registered in sorted(ModelRegistry.models.items()):
        try:
            made[name] = facts(registered.load_model_cls())
        except Exception as error:  # noqa: BLE001: a class that cannot be imported is one that nothing is known of
            failed[name] = f"{type(error).__name__}: {str(error).strip()[:160]}"
    Path(sys.argv[-1]).write_text(json.dumps({"made": made, "failed": failed}))


if __name__ == "__main__":
    main()
