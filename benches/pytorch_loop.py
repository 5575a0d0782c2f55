"""Ten schemes one by one, as one would write them in PyTorch: amax, divide, clamp, cast, save_file.

    python3 benches/pytorch_loop.py MODEL MANIFEST OUT

Each scheme is removed once it is written, so that the disk need hold only one.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FUSED = {"q_proj": ("q_proj", "k_proj", "v_proj"), "gate_proj": ("gate_proj", "up_proj")}


def members(key: str) -> list[str]:
    """On-disk names of the modules that a recipe stands for."""
    prefix, _, leaf = key.removesuffix(".quant_recipe").rpartition(".")
    prefix = re.sub(r"^(model\.)?language_model\.", "model.", re.sub(r"^model\.visual\.", "visual.", prefix))
    return [f"{prefix}.{name}" for name in FUSED.get(leaf, (leaf,))]


def main(model: Path, manifest: Path, out: Path) -> None:
    ranking = [row["name"] for row in json.loads(manifest.read_text())["sensitivity_ranking"]]
    index = json.loads((model / "model.safetensors.index.json").read_text())["weight_map"]
    for percent in range(10, 101, 10):
        chosen = ranking[: -(-percent * len(ranking) // 100)]
        modules = {name for key in chosen for name in members(key)}
        scheme = out / f"top{percent}"
        scheme.mkdir(parents=True)
        for file in sorted(set(index.values())):
            tensors = {}
            with safe_open(model / file, framework="pt") as shard:
                for name in shard.keys():
                    weight = shard.get_tensor(name)
                    module = name.removesuffix(".weight")
                    if module not in modules or weight.dim() != 2:
                        tensors[name] = weight
                        continue
                    scale = weight.abs().amax().float() / 448
                    codes = (weight.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
                    tensors[name] = codes
                    tensors[f"{module}.weight_scale"] = scale
            save_file(tensors, scheme / file, metadata={"format": "pt"})
        print(percent, sum(f.stat().st_size for f in scheme.iterdir()))
        shutil.rmtree(scheme)


main(*map(Path, sys.argv[1:4]))
