"""A real mixture of experts, from its beginning: ModelOpt scores a tiny Qwen3-MoE, qlua sweeps, and every engine loads and answers.

ModelOpt runs on the line of Transformers of its own environment, with the shipped example. Its manifest decides a mixture as one
group, as published ones do; what is checked of the directories is what the matrix checks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from outcome import Outcome
from schemes import Job

if TYPE_CHECKING:
    from run import Run

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
NAME = "qwen3_moe"
POINTS = (25, 50, 100)
LAYOUTS = (("universal", "static"), ("compressed-tensors", "dynamic"), ("modelopt", "static"))


def check_mixture(run: Run) -> None:
    """Runs the job and counts its checks."""
    folder = run.work / "mixture"
    run.must("transformers-4.57", HERE / "matrix_models.py", folder / "models", NAME)
    model = folder / "models" / NAME
    out = folder / "baseline"
    shutil.rmtree(out, ignore_errors=True)
    run.must(
        "modelopt", EXAMPLES / "autoquant_baseline.py", "--model", model / "base", "--inputs", model / "inputs.safetensors",
        "--out", out, "--coverage", "all-layers", "--dtype", "float32", "--device", "cpu", "--no-baseline",
    )
    manifest = next(out.glob("*_quant_manifest.json"))
    jobs = [job for layout in LAYOUTS for job in sweep(run, model, manifest, folder / "schemes", layout)]
    readable = [job for job in jobs if job.dialect != "modelopt"]
    work = [(line, "matrix_transformers.py", readable) for line in ("transformers", "transformers-4.57")]
    if "vllm" in run.interpreters:
        views = [job.viewed(view, folder / "views") for job in jobs for view in job.views()]
        work.append(("vllm", "matrix_vllm.py", views))
    if "sglang" in run.interpreters:
        work.append(("sglang", "matrix_sglang.py", [job.viewed(job.sglang_view, folder / "views") for job in jobs]))
    for engine, script, mine in work:
        outcomes = run.checks(engine, script, mine, "mixture")
        for outcome in outcomes:
            outcome.part = "matrix"
        run.tally.add(outcomes)
        ran = {(o.dialect, o.scheme) for o in outcomes}
        missing = [job.directory for job in mine if (job.dialect, job.scheme) not in ran]
        if missing:
            check = "every scheme of the mixture is checked"
            run.tally.add([Outcome(engine, NAME, "", "", check, "failed", str(missing[:3]), part="matrix")])


def sweep(run: Run, model: Path, manifest: Path, out: Path, layout: tuple[str, str]) -> list[Job]:
    """The schemes of one layout, and that some of them have experts in FP8."""
    dialect, activations = layout
    folder = out / dialect
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        str(run.qlua), "all_layers_topx", "--model", str(model / "base"), "--manifest", str(manifest), "--out", str(folder),
        "--dialect", dialect, "--activations", activations, "--top", ",".join(map(str, POINTS)), "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    written = done.returncode == 0
    check = "sweeps ModelOpt's manifest of a mixture"
    run.tally.add([Outcome("job", NAME, dialect, "", check, "passed" if written else "failed", done.stderr[-500:], part="matrix")])
    if not written:
        return []
    job = Job(
        NAME, str(model / "base"), str(model / "inputs.safetensors"), str(manifest), "", "", dialect, activations, 0,
        language_only=False, vision=False, command=command,
    )
    return [
        replace(job, directory=scheme["directory"], scheme=scheme["name"], percent=round(scheme["percent"]))
        for scheme in json.loads(done.stdout)["schemes"]
    ]
