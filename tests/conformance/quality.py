"""What `qlua evaluate` says a scheme costs, against PyTorch on the same directories: ten all-layers schemes of the trained model in
every dialect with every kind of activations, on text and on pictures with text."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import schemes
from outcome import Outcome, read
from schemes import Job, Model

if TYPE_CHECKING:
    from run import Run

HERE = Path(__file__).resolve().parent
PART = "quality"
POINTS = "10,20,30,40,50,60,70,80,90,100"
LOADED = (30, 100)
"""The coverages at which Transformers' own loader is asked too."""
LAYOUTS = {
    "static": (("universal", "static"), ("compressed-tensors", "static"), ("modelopt", "static")),
    "dynamic": (("compressed-tensors", "dynamic"), ("modelopt", "dynamic"), ("fp8-block", "dynamic")),
}
"""What is compared in one process each: `universal` and static `compressed-tensors` hold the same numbers, which are computed once."""
READ = (("universal", "static"), ("compressed-tensors", "static"), ("compressed-tensors", "dynamic"))
"""What Transformers reads and rounds inputs for, without a GPU."""
KINDS = {"text": "text", "image_text": "vlm"}
"""The kinds of samples as `evaluate` and as files of inputs call them."""
FIGURES = ("kl", "perplexity", "agreement")


def expected() -> int:
    """How many checks run where there is a trained model."""
    layouts = sum(map(len, LAYOUTS.values()))
    return len(KINDS) * (layouts * (len(POINTS.split(",")) * len(FIGURES) + 1) + len(READ) * len(LOADED))


def check_quality(run: Run) -> None:
    """Writes, measures with qlua, compares in the environment of Transformers, counts, and prints what was found."""
    if run.golden is None:
        run.tally.skip(PART, expected(), f"there is no trained model in {run.options.golden}")
        return
    with ThreadPoolExecutor(len(LAYOUTS)) as pool:
        outcomes = [outcome for found in pool.map(lambda name: compare(run, name), LAYOUTS) for outcome in found]
    if len(outcomes) < expected() and not any(o.outcome == "failed" for o in outcomes):
        outcomes.append(Outcome(PART, "", "", "", "all of its checks ran", "failed", f"{len(outcomes)} of {expected()} ran"))
    for outcome in outcomes:
        outcome.part = PART
    run.tally.add(outcomes)


def compare(run: Run, name: str) -> list[Outcome]:
    """Compares the schemes of some layouts."""
    answers = run.golden / "modelopt"
    manifest = answers / "autoquant_all_layers.json"
    model = Model(
        "trained", run.golden / "tiny-qwen2_5-vl", answers / "inputs.safetensors", manifest, manifest,
        {"all_layers_topx": POINTS}, ("--baseline", str(answers / "fp8_baseline")), layouts=LAYOUTS[name],
    )
    jobs = list(schemes.write(run.qlua, model, run.work / PART))
    groups: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.dialect, job.activations].append(job)
    described = [
        asdict(job) | {"measured": rows[job.scheme], "loaded": layout in READ and job.percent in LOADED}
        for layout, group in groups.items()
        for rows in [evaluate(run, model, group)]
        for job in group
    ]
    path = run.work / f"{PART}-{name}.json"
    path.write_text(json.dumps({"qlua": str(run.qlua), "jobs": described}, indent=1))
    done = run.script("transformers", HERE / "quality_reference.py", path)
    outcomes = [outcome for line in done.stdout.splitlines() if (outcome := read(line))]
    told = [line for line in done.stdout.splitlines() if not read(line)]
    print("\n".join([f"quality, {name} activations: {len(outcomes)} checks of {len(jobs)} directories", *told]), flush=True)
    if done.returncode != 0:
        detail = (done.stderr or done.stdout)[-1500:]
        outcomes.append(Outcome(PART, "", "", name, "the checks ran to their end", "failed", detail))
    return outcomes


def evaluate(run: Run, model: Model, jobs: list[Job]) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of each scheme for each kind of samples, by the command line that users type."""
    command = [
        run.qlua, "evaluate", "--model", model.base, "--inputs", model.inputs, "--calibration-samples", "--threads", "2", "--json",
        *[job.directory for job in jobs],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"evaluate ended with {done.returncode}: {done.stderr[-800:]}")
    rows: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for row in json.loads(done.stdout)["rows"]:
        rows[row["scheme"]][KINDS[row["kind"]]] = {figure: row[figure] for figure in FIGURES}
    return rows
