"""Has qlua write the scheme directories that are checked, and lists them as jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Iterator

LAYOUTS = (
    ("universal", "static"),
    ("compressed-tensors", "static"),
    ("compressed-tensors", "dynamic"),
    ("modelopt", "static"),
    ("modelopt", "dynamic"),
)
"""Every dialect of scales per tensor and channel, with every kind of activations that it has."""
BLOCK_LAYOUTS = (("fp8-block", "dynamic"),)
"""Those of scales per block, of which a model of any other size would have nothing."""


@dataclass
class Model:
    """What schemes of one model are made from."""

    name: str
    base: Path
    inputs: Path
    manifest: Path
    language_manifest: Path
    points: dict[str, str]
    """The coverage points of each policy."""
    scales: tuple[str, ...] = ()
    """Options that say where input scales come from; a manifest with amax needs none."""
    vision: bool = True
    layouts: tuple[tuple[str, str], ...] = LAYOUTS
    """What is written of it."""


@dataclass
class Job:
    """One directory, and what to check it against."""

    model: str
    base: str
    inputs: str
    manifest: str
    directory: str
    scheme: str
    dialect: str
    activations: str
    percent: int
    language_only: bool
    vision: bool
    view: str = ""
    """How vLLM or SGLang is to read it: `compressed-tensors`, `modelopt` or `fp8`."""
    command: list[str] = field(default_factory=list)
    """The command line that wrote it and its siblings."""

    @property
    def policy(self) -> str:
        """The policy that wrote it."""
        return "lm_only_topx" if self.language_only else "all_layers_topx"

    def viewed(self, view: str, scratch: Path) -> Job:
        """This job with the directory as a reader of one format sees it: for ModelOpt, without what compressed-tensors says."""
        if view != "modelopt" or self.dialect == "modelopt":
            return replace(self, view=view)
        copy = scratch / self.model / f"{self.dialect}-{self.activations}" / self.policy / self.scheme
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.directory, copy, copy_function=link)
        config = json.loads((copy / "config.json").read_text())
        config.pop("quantization_config", None)
        (copy / "config.json").unlink()  # A hard link must not be written through.
        (copy / "config.json").write_text(json.dumps(config, indent=2))
        return replace(self, directory=str(copy), view=view)

    @property
    def sglang_view(self) -> str:
        """The format in which SGLang reads it: it looks into `config.json` first."""
        return self.views()[0]

    def refusal(self, engine: str) -> str:
        """What qlua says when it is asked for this scheme alone `--for` an engine that cannot read it; nothing when it can."""
        at = self.command.index("--top")
        command = [*self.command[:at], "--top", str(self.percent), *self.command[at + 2:], "--for", engine, "--dry-run"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-800:]}")
        return done.stderr.strip() if done.returncode else ""

    def views(self) -> tuple[str, ...]:
        """The formats in which vLLM can read it."""
        return {
            "universal": ("compressed-tensors", "modelopt"), "compressed-tensors": ("compressed-tensors",),
            "modelopt": ("modelopt",), "fp8-block": ("fp8",),
        }[self.dialect]


def link(source: str, target: str) -> None:
    """Makes `target` a hard link, or a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write(qlua: Path, model: Model, out: Path, layouts: tuple[tuple[str, str], ...] = ()) -> Iterator[Job]:
    """Writes every scheme of `model` in these layouts, or its own; the policies and options are those that users type."""
    for dialect, activations in layouts or model.layouts:
        for policy, points in model.points.items():
            folder = out / model.name / f"{dialect}-{activations}" / policy
            shutil.rmtree(folder, ignore_errors=True)
            language_only = policy == "lm_only_topx"
            manifest = model.language_manifest if language_only else model.manifest
            command = [
                str(qlua), policy, "--model", str(model.base), "--manifest", str(manifest), "--out", str(folder),
                "--dialect", dialect, "--activations", activations, "--top", points, "--json", *model.scales,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-800:]}")
            for scheme in json.loads(done.stdout)["schemes"]:
                yield Job(
                    model.name, str(model.base), str(model.inputs), str(manifest), scheme["directory"],
                    scheme["name"], dialect, activations, round(scheme["percent"]), language_only, model.vision,
                    command=command,
                )


def save(jobs: list[Job], path: Path) -> Path:
    """Writes jobs for a script that runs inside an environment."""
    path.write_text(json.dumps([asdict(job) for job in jobs], indent=1))
    return path
