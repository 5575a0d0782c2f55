#!/usr/bin/env python3
"""Proves qlua's directories in the engines that serve them: makes the environments, has qlua write, checks, and counts.

Exit code 1 when a check failed, or one that should have run did not. `--record` keeps the counts for the table in docs/engines.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import environments
import matrix
import schemes
from controls import negative_controls
from environments import EnvironmentFailed
from matrix import check_matrix
from matrix_mixture import check_mixture
from outcome import Outcome, read
from quality import check_quality
from schemes import Job, Model
from tally import Tally, divergences
from whole_job import whole_job

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SEEDED = {"qwen2_5_vl": True, "qwen3_vl": True, "qwen2": False, "llama": False}
"""The families, and whether they have a vision tower. Each is there a second time in whole blocks of 128×128."""
LINES = ("transformers", "transformers-4.57")
OPTIONAL = ("vllm", "sglang")
"""Environments without which the checks of one engine are skipped."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--qlua", type=Path, default=ROOT / "target" / "release" / "qlua", help="the binary to prove")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "conformance", help="where models and schemes go")
    parser.add_argument("--golden", type=Path, default=ROOT.parent / "shared" / "golden", help="a trained model, if there")
    parser.add_argument("--all", action="store_true", help="every architecture of the matrix, and not a sample")
    parser.add_argument("--only", choices=("families", "matrix", "quality"), help="one part of the run")
    parser.add_argument("--record", action="store_true", help="write the counts to results.json")
    return parser.parse_args()


class Run:
    """The environments, and how scripts run inside them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work: Path = options.work.resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.tally = Tally()
        self.slots = threading.BoundedSemaphore(os.cpu_count() or 1)
        self.took: list[tuple[str, str, float]] = []
        """Environment, script and seconds of everything that ran."""
        self.interpreters = {name: environments.ensure(name) for name in ("torch", *LINES, "modelopt")}
        for name in OPTIONAL:
            try:
                self.interpreters[name] = environments.ensure(name)
            except EnvironmentFailed as failure:
                print(f"WARNING: no check of {name} runs: {failure}", flush=True)

    @property
    def qlua(self) -> Path:
        """The binary under test."""
        return self.options.qlua

    @property
    def golden(self) -> Path | None:
        """The folder of the trained model, where it is."""
        return self.options.golden if (self.options.golden / "modelopt").is_dir() else None

    def script(self, environment: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs a Python script inside an environment, on one thread: models this small are slower on more. As many run at a time
        as there are cores, whatever asks for them."""
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
        command = [str(self.interpreters[environment]), *map(str, words)]
        with self.slots:
            begun = time.monotonic()
            done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
            self.took.append((environment, Path(words[0]).name, time.monotonic() - begun))
        return done

    def must(self, environment: str, *words: str | Path) -> str:
        """As `script`, for what nothing can go on without; returns what it printed."""
        done = self.script(environment, *words)
        if done.returncode != 0:
            raise SystemExit(f"{words[0]} ended with {done.returncode}:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def checks(self, environment: str, script: str, jobs: list[Job], label: str) -> list[Outcome]:
        """Runs a script of checks over jobs; a script that breaks off is a failure of its own."""
        path = schemes.save(jobs, self.work / f"{label}-{environment}.json")
        done = self.script(environment, HERE / script, path)
        outcomes = [outcome for line in done.stdout.splitlines() if (outcome := read(line))]
        if done.returncode != 0:
            detail = (done.stderr or done.stdout)[-1500:]
            outcomes.append(Outcome(environment, "", "", label, "the checks ran to their end", "failed", detail))
        print(f"{environment}: {len(outcomes)} checks of {len(jobs)} directories ({label})", flush=True)
        return outcomes

    def print_times(self) -> None:
        """Prints how long the scripts of each kind ran, the longest first."""
        sums: dict[tuple[str, str], list[float]] = defaultdict(list)
        for environment, script, seconds in self.took:
            sums[environment, script].append(seconds)
        for (environment, script), each in sorted(sums.items(), key=lambda one: -sum(one[1])):
            print(f"{sum(each):6.0f} s  {environment}: {script}, {len(each)} runs")

    def models(self) -> list[Model]:
        """Makes the seeded models, and takes the trained one where it is there."""
        folder = self.work / "models"
        seeded = {f"{name}{kind}": (name, kind) for kind in ("", "_blocks") for name in SEEDED}
        words = [*seeded] + ([f"trained={self.golden / 'tiny-qwen2_5-vl'}"] if self.golden else [])
        self.must("transformers-4.57", HERE / "models.py", folder, *words)
        models = [
            Model(
                name, folder / name / "base", folder / name / "inputs.safetensors", folder / name / "manifest.json",
                folder / name / "manifest.json", {"all_layers_topx": "50,100", "lm_only_topx": "50"}, vision=SEEDED[family],
                layouts=schemes.BLOCK_LAYOUTS if kind else schemes.LAYOUTS,
            )
            for name, (family, kind) in seeded.items()
        ]
        if self.golden:
            answers = self.golden / "modelopt"
            points = {"all_layers_topx": "10,50,100", "lm_only_topx": "10,50,100"}
            models.append(
                Model(
                    "trained", folder / "trained" / "base", answers / "inputs.safetensors",
                    answers / "autoquant_all_layers.json", answers / "autoquant_lm_only.json", points,
                    ("--baseline", str(answers / "fp8_baseline")),
                )
            )
        return models


def check_schemes(run: Run, jobs: list[Job]) -> None:
    """Every scheme by every engine that reads its dialect."""
    readable = [job for job in jobs if job.dialect != "modelopt"]
    viewed = [job.viewed(view, run.work / "views") for job in jobs for view in job.views()]
    # What takes longest begins first.
    work: list[tuple[str, str, list[Job]]] = []
    if "vllm" in run.interpreters:
        work.append(("vllm", "vllm_checks.py", viewed))
    else:
        run.tally.skip("vllm", 5 * len(viewed), "the environment could not be made")
    work += [(line, "transformers_checks.py", readable) for line in LINES]
    sglang = [job.viewed(job.sglang_view, run.work / "views") for job in jobs]
    refusals = {job.directory: job.refusal("sglang") for job in sglang}
    read = [job for job in sglang if not refusals[job.directory]]
    refused = [job for job in sglang if refusals[job.directory]]
    if "sglang" in run.interpreters:
        work.append(("sglang", "sglang_checks.py", read))
    else:
        run.tally.skip("sglang", 5 * len(read) + len(refused), "the environment could not be made")
    with ThreadPoolExecutor(len(work)) as pool:
        done = [pool.submit(run.checks, *one, "schemes") for one in work]
    # Other parts run beside this one and add to the tally.
    found = []
    for (environment, _, expected), future in zip(work, done):
        outcomes = future.result()
        found += outcomes
        run.tally.add(outcomes)
        run.tally.require_all(environment, expected, outcomes)
    if "sglang" in run.interpreters:
        run.tally.add(rightly_refused(refused, refusals, run.checks("sglang", "sglang_checks.py", refused, "refused")))
    run.tally.add(divergences(found, jobs))


def rightly_refused(jobs: list[Job], refusals: dict[str, str], outcomes: list[Outcome]) -> list[Outcome]:
    """One outcome for each scheme that qlua refuses `--for` SGLang: the refusal names it, and SGLang does get the scheme wrong."""
    failed = {(o.model, o.dialect, o.activations, o.scheme): o.detail for o in outcomes if o.outcome == "failed"}
    answers = []
    for job in jobs:
        wrong = failed.get((job.model, job.dialect, job.activations, job.scheme), "")
        named = "SGLang cannot read" in refusals[job.directory]
        detail = refusals[job.directory] if wrong and named else f"refused ({refusals[job.directory]}), and SGLang reads it"
        answers.append(
            Outcome(
                f"sglang-{job.view}", job.model, job.dialect, job.scheme, "what qlua refuses is wrong in SGLang",
                "refused" if wrong and named else "failed", detail, job.activations,
            )
        )
    return answers


def verify(run: Run, jobs: list[Job]) -> None:
    """`qlua verify` finds nothing in any of them."""
    done = subprocess.run([run.qlua, "verify", *[j.directory for j in jobs]], capture_output=True, text=True, check=False)
    # What is not checked is said and is no finding.
    found = sum(line.endswith(": ok") or ": not checked in" in line for line in done.stdout.splitlines())
    passed = done.returncode == 0 and found == len(jobs)
    detail = "" if passed else done.stdout[-800:]
    run.tally.add([Outcome("qlua", "", "", "all", f"verify accepts {len(jobs)} directories", "passed" if passed else "failed", detail)])


def check_families(run: Run) -> None:
    """The four main models at every coverage point, in every detail."""
    models = run.models()
    jobs = [job for model in models for job in schemes.write(run.qlua, model, run.work / "schemes")]
    print(f"{len(jobs)} schemes of {len(models)} models", flush=True)
    verify(run, jobs)
    together(lambda: check_schemes(run, jobs), lambda: negative_controls(run, jobs), lambda: whole_job(run, models))


def together(*parts: Callable[[], Any]) -> list[Any]:
    """What the parts return, each run in a thread of its own. They wait for scripts most of the time, so that no core is idle
    while another part has one to run."""
    with ThreadPoolExecutor(len(parts)) as pool:
        running = [pool.submit(part) for part in parts]
    return [part.result() for part in running]


def main() -> None:
    run = Run(arguments())
    parts: list[Callable[[], Any]] = []
    if run.options.only in (None, "matrix"):
        parts += [lambda: check_matrix(run, run.options.all), lambda: check_mixture(run)]
    if run.options.only in (None, "families"):
        parts.append(lambda: check_families(run))
    # Minutes of PyTorch, and figures that hang on the last bit: not of every push.
    if run.options.only == "quality" or run.options.only is None and run.options.all:
        parts.append(lambda: check_quality(run))
    done = together(*parts)
    cells, bases = done[0] if run.options.only in (None, "matrix") else ({}, {})
    run.print_times()
    run.tally.print()
    results = run.tally.results(matrix.letters(cells), matrix.reasons(bases))
    (run.work / "results.json").write_text(results)
    if run.options.record:
        (HERE / "results.json").write_text(results)
    sys.exit(1 if run.tally.failures else 0)


if __name__ == "__main__":
    main()
