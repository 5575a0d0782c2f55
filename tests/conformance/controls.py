"""Negative controls: what is silently wrong must be caught by the checks and by `qlua verify`."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from outcome import Outcome
from schemes import Job

if TYPE_CHECKING:
    from run import Run

HERE = Path(__file__).resolve().parent
SGLANG = "sglang-compressed-tensors"
ABOUT_THE_LABEL = ("resolves the quantisation method", "stores in FP8 what the manifest ranks lowest")
"""Checks that a case fails by being another format or another scheme, which catches nothing."""


def negative_controls(run: Run, jobs: list[Job]) -> None:
    """Breaks a scheme of a model with tied embeddings and one of a model with its own head, and counts what is caught."""
    tied, headed = (good(jobs, model) for model in ("qwen2_5_vl", "llama"))
    broken = run.work / "broken"
    cases = json.loads(run.must("torch", HERE / "negative.py", tied.directory, headed.directory, broken))
    found: list[Outcome] = []
    made = {}
    for case in cases:
        made[case["name"]] = replace(headed if case["headed"] else tied, directory=case["directory"], scheme=case["name"])
        found.append(verify(run, case))
    for line in ("transformers", "transformers-4.57"):
        mine = [made[case["name"]] for case in cases if line in case["engines"]]
        found += caught(cases, line, run.checks(line, "transformers_checks.py", mine, "broken"))
    for view in ("compressed-tensors", "modelopt"):
        engine = f"vllm-{view}"
        mine = [made[case["name"]].viewed(view, run.work / "broken-views") for case in cases if engine in case["engines"]]
        if "vllm" in run.interpreters:
            found += caught(cases, engine, run.checks("vllm", "vllm_checks.py", mine, f"broken-{view}"))
        else:
            run.tally.skip("vllm", len(mine), "the environment could not be made")
    mine = [made[case["name"]].viewed("compressed-tensors", run.work / "broken-views") for case in cases if SGLANG in case["engines"]]
    if "sglang" in run.interpreters:
        found += caught(cases, SGLANG, run.checks("sglang", "sglang_checks.py", mine, "broken"))
    else:
        run.tally.skip("sglang", len(mine), "the environment could not be made")
    run.tally.add(found)


def good(jobs: list[Job], model: str) -> Job:
    """The half-covered `universal` scheme of a model."""
    return next(j for j in jobs if (j.model, j.dialect, j.percent, j.language_only) == (model, "universal", 50, False))


def verify(run: Run, case: dict[str, str]) -> Outcome:
    """Whether `qlua verify` reports the case under its code, with exit code 3."""
    done = subprocess.run([run.qlua, "verify", case["directory"]], capture_output=True, text=True, check=False)
    codes = {line.split(":")[0].strip() for line in done.stdout.splitlines()[1:]}
    passed = done.returncode == 3 and case["code"] in codes
    detail = case["code"] if passed else f"exit code {done.returncode}, {sorted(codes)}"
    return Outcome("qlua", "", "", case["name"], "verify reports it", "passed" if passed else "failed", detail)


def caught(cases: list[dict], engine: str, outcomes: list[Outcome]) -> list[Outcome]:
    """One outcome a case: passed when a check of this engine failed over it."""
    answers = []
    for case in cases:
        if engine in case["engines"]:
            by = [o for o in outcomes if o.scheme == case["name"] and o.outcome == "failed" and o.check not in ABOUT_THE_LABEL]
            detail = f"“{by[0].check}” fails: {by[0].detail[:120]}" if by else "no check fails"
            answers.append(
                Outcome(engine, "", "", case["name"], "the checks catch it", "passed" if by else "failed", detail)
            )
    return answers
