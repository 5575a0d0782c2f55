"""What the checks of the matrix with vLLM and with SGLang do alike: a process for each base, and one for each directory."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

import torch

from checkpoint import Directory
from engine_checks import Built
from forking import forked
from matrix_marks import Places, check_places, names_in
from outcome import check, require

BASE = "the untouched base loads"


def find_places(base: Path, loaded: type, class_name: str | None, path: Path) -> None:
    """Loads the base as the engine's class of that name, or as its own, and keeps where its tensors lie."""
    built = loaded(base)
    if class_name:
        built.take_for(class_name)
    built.build()
    places = Places.of(built, names_in(base), built.load_changed)
    unset = [n for n in places.unset() if not places.base[n].isnan().all() or "lm_head" not in n]
    require(not unset, f"{len(unset)} parameters are unset: {unset[:3]}")
    torch.save(places, path)


def check_base(job: dict[str, Any], engine: str, loaded: type, path: Path) -> None:
    """The engine loads what qlua never touched: only then do other directories count."""
    with check(engine, job | {"dialect": "", "scheme": "", "activations": ""}, BASE):
        find_places(Path(job["base"]), loaded, None, path)


def places_as(built: Built, base: Path, loaded: type, places: Places) -> Places:
    """The places of the base in the class that `built` is of: quantised, an engine may build a model as another class."""
    if built.class_name == places.class_name:
        return places
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "places"
        forked(lambda: find_places(base, loaded, built.class_name, path))
        require(path.is_file(), f"the base does not load as {built.class_name}")
        return torch.load(path, weights_only=False)


def check_scheme(job: dict[str, Any], engine: str, loaded: type, methods: dict[str, str], places: Places) -> None:
    """All checks of one directory in one view of it."""
    view = f"{engine}-{job['view']}"
    scheme = Directory(Path(job["directory"]))
    with check(view, job, "resolves the quantisation method"):
        built = loaded(scheme.path)
        require(built.method == methods[job["view"]], f"resolved {built.method}")
        with check(view, job, "builds the model and loads every weight"):
            mine = places_as(built, Path(job["base"]), loaded, places)
            built.build()
            built.load_changed(lambda weights: weights)
            with check(view, job, "holds what is on disk"):
                check_places(built, scheme, mine)


def prepared(base: Path, prepare: Callable[[str], None]) -> None:
    """Has the engine import what it needs for a base, as far as it can."""
    try:
        prepare(json.loads((base / "config.json").read_text())["architectures"][0])
    except Exception as error:  # noqa: BLE001 - loading the base will say it
        print(f"{base}: {error}", file=sys.stderr)


def run(path: Path, engine: str, loaded: type, methods: dict[str, str], prepare: Callable[[str], None] = str) -> None:
    """Runs the jobs of a file, which are sorted by model."""
    jobs = json.loads(path.read_text())
    with tempfile.TemporaryDirectory() as folder:
        for model, group in itertools.groupby(jobs, key=lambda job: job["model"]):
            mine = list(group)
            kept = Path(folder) / model
            prepared(Path(mine[0]["base"]), prepare)
            status = forked(lambda: check_base(mine[0], engine, loaded, kept))
            if status != 0:
                with check(engine, mine[0] | {"dialect": "", "scheme": ""}, BASE):
                    require(False, f"the process ended with status {status}")
            if not kept.is_file():
                continue
            places = torch.load(kept, weights_only=False)
            for job in (job for job in mine if job["directory"]):
                status = forked(lambda: check_scheme(job, engine, loaded, methods, places))
                if status != 0:
                    with check(f"{engine}-{job['view']}", job, "the checks ran to their end"):
                        require(False, f"the process ended with status {status}")
