"""Has qlua write the directories of the matrix, and compares what they store with what the manifests ask for.

It reads headers alone, and shares no code with qlua.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matrix_tables
from outcome import Outcome
from schemes import Job

LAYOUTS = (("universal", "static"), ("compressed-tensors", "dynamic"), ("modelopt", "static"), ("fp8-block", "dynamic"))
PERCENT = 50
BLOCK = 128
EVERYTHING = frozenset(("linear", "router", "head", "experts", "convolution", "table", "transposed", "attention"))
CANDIDATES = {
    "universal": EVERYTHING, "compressed-tensors": EVERYTHING,
    "modelopt": EVERYTHING - {"table", "transposed"}, "fp8-block": EVERYTHING - {"table", "transposed", "convolution"},
}
"""What manifests score: everything with two dimensions, or what ModelOpt may score."""
NOTHING = {"gpt2": "it has no linear layer, but transposed ones"}
"""Architectures of which qlua has to refuse every scheme, and why."""
FUSED = (
    ("q_proj", "k_proj", "v_proj", "qkv_proj"), ("gate_proj", "up_proj"), ("w1", "w3"), ("q_a_proj", "kv_a_proj_with_mqa"),
    ("in_proj_qkv", "in_proj_z"), ("in_proj_a", "in_proj_b"),
)
"""Layers that some engine builds as one: where a manifest scores them apart, qlua decides them together."""


@dataclass
class Case:
    """One architecture with its manifest and the truth of its layers."""

    name: str
    folder: Path

    @property
    def base(self) -> Path:
        """The untouched checkpoint."""
        return self.folder / "base"

    @cached_property
    def roles(self) -> dict[str, dict[str, Any]]:
        """What each candidate is, and its names on disk."""
        return json.loads((self.folder / "roles.json").read_text())

    def manifest(self, dialect: str) -> Path:
        """The manifest with the candidates of a dialect."""
        document = json.loads((self.folder / "manifest.json").read_text())
        groups = {
            key: group for key, group in document["layer_sensitivity"].items()
            if all(self.roles[m]["role"] in CANDIDATES[dialect] for m in group["module_names"])
        }
        ranking = [entry for entry in document["sensitivity_ranking"] if entry["name"] in groups]
        for rank, entry in enumerate(ranking, 1):
            groups[entry["name"]]["rank"] = rank
        path = self.folder / f"manifest-{dialect}.json"
        path.write_text(json.dumps(document | {"layer_sensitivity": groups, "sensitivity_ranking": ranking}, indent=1))
        return path

    def linear(self, member: str) -> list[str]:
        """The linear layers on disk that a member of a group stands for: experts that are stacked there are none."""
        one = self.roles[member]
        if one["role"] not in ("linear", "experts"):
            return []
        shapes = header(self.base)
        return [layer for layer in one["disk"] if len(shapes[f"{layer}.weight"]["shape"]) == 2]

    def layers(self, group: Ranked) -> list[str]:
        """The linear layers on disk of a group."""
        return [layer for member in group.members for layer in self.linear(member)]


def header(directory: Path) -> dict[str, dict[str, Any]]:
    """The entries of all tensors of a directory."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(directory.glob("*.safetensors")):
        with open(file, "rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            found |= json.loads(opened.read(length))
    found.pop("__metadata__", None)
    return found


def write(qlua: Path, case: Case, out: Path) -> tuple[list[Job], list[Outcome]]:
    """The directories that qlua writes of an architecture, and an outcome for each that it does not or that is not the plan."""
    jobs, outcomes = [], []
    for dialect, activations in LAYOUTS:
        folder = out / case.name / f"{dialect}-{activations}"
        shutil.rmtree(folder, ignore_errors=True)
        manifest = case.manifest(dialect)
        command = [
            str(qlua), "all_layers_topx", "--model", str(case.base), "--manifest", str(manifest), "--out", str(folder),
            "--dialect", dialect, "--activations", activations, "--top", str(PERCENT), "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            outcomes.append(refused(case, dialect, activations, done.stderr, folder))
            continue
        scheme = json.loads(done.stdout)["schemes"][0]
        job = Job(
            case.name, str(case.base), str(case.folder / "inputs.safetensors"), str(manifest), scheme["directory"],
            scheme["name"], dialect, activations, PERCENT, language_only=False, vision=case.name in matrix_tables.VISION,
            command=command,
        )
        jobs.append(job)
        problem = difference(case, job)
        outcomes.append(
            Outcome(
                "qlua", case.name, dialect, job.scheme, "stores in FP8 what the manifest ranks lowest and is linear",
                "failed" if problem else "passed", problem, activations,
            )
        )
    return jobs, outcomes


def refused(case: Case, dialect: str, activations: str, message: str, folder: Path) -> Outcome:
    """The outcome of a run that qlua ended: a refusal where there is nothing to write, before anything was."""
    rightly = case.name in NOTHING and not folder.exists()
    last = message.strip().splitlines()
    said = next((line for line in last if "error:" in line), last[-1] if last else "said nothing")
    return Outcome(
        "qlua", case.name, dialect, "", "writes the directory", "refused" if rightly else "failed", said[:400], activations
    )


def difference(case: Case, job: Job) -> str:
    """What is stored in FP8 against the plan; nothing when it is the plan."""
    shapes, entries = header(case.base), header(Path(job.directory))
    stored = {name.removesuffix(".weight") for name, entry in entries.items() if entry["dtype"] == "F8_E4M3"}
    linear = {layer for member in case.roles for layer in case.linear(member)}
    if stored - linear:
        return f"in FP8, and no linear layers: {sorted(stored - linear)[:4]}"
    groups = json.loads(Path(job.manifest).read_text())["layer_sensitivity"]
    ranked = sorted(joined(groups), key=lambda group: group.score)
    chosen = [case.layers(g) for g in ranked[: max(1, -(-PERCENT * len(ranked) // 100))]]
    if job.dialect == "fp8-block":
        chosen = [ls for ls in chosen if all(size % BLOCK == 0 for one in ls for size in shapes[f"{one}.weight"]["shape"])]
    wanted = {layer for layers in chosen for layer in layers}
    named = [m for key in explained(Path(job.directory)) if key in groups for m in groups[key]["module_names"]]
    kept = {layer for member in named for layer in case.linear(member)}
    wrong = sorted((stored - wanted) | (wanted - stored - kept))
    return f"against the ranking: {wrong[:4]} ({len(wrong)})" if wrong else "" if stored else "nothing is in FP8"


@dataclass
class Ranked:
    """What is decided together: members, and the sum of their groups' scores."""

    members: list[str]
    score: float


def joined(groups: dict[str, dict[str, Any]]) -> list[Ranked]:
    """The groups of a manifest, with those made one that some engine builds as one."""
    found: dict[tuple[str, int] | str, Ranked] = {}
    for key, group in groups.items():
        parent, _, leaf = group["module_names"][0].rpartition(".")
        which = next((at for at, fused in enumerate(FUSED) if leaf in fused), None)
        place = found.setdefault(key if which is None else (parent, which), Ranked([], 0.0))
        place.members += group["module_names"]
        place.score += group["importance"]
    return list(found.values())


def explained(directory: Path) -> set[str]:
    """The groups that the coverage manifest keeps in BF16 with a reason."""
    found: set[str] = set()
    for path in directory.rglob("*_coverage_from_baseline.json"):
        found |= {one["layer"] for one in json.loads(path.read_text())["kept_in_bf16"] if one["reason"]}
    return found
