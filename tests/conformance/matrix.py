"""The matrix: every architecture, in every dialect, by every engine. Each cell is right, refused with its reason before anything is
written, or does not count because the engine does not load the untouched base.

`run.py` checks a sample of it, `run.py --all` the whole.
"""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import matrix_plan
import matrix_tables
import schemes
from matrix_plan import Case
from outcome import Outcome
from schemes import Job

if TYPE_CHECKING:
    from run import Run

HERE = Path(__file__).resolve().parent
DIALECTS = tuple(dialect for dialect, _ in matrix_plan.LAYOUTS)
ENGINES = ("transformers", "transformers-4.57", "vllm", "sglang")
SAMPLE = ("qwen3_moe", "deepseek_v3", "qwen3_5_text", "gpt_oss", "gemma3", "mistral3", "gpt_neox", "llama4_text")
"""What is checked without `--all`, beside the four main models: numbered experts, latent attention, linear attention, stacked
experts, towers and heads of other names."""
BASE = "the untouched base loads"
LETTERS = {"right": "R", "refused": "r", "wrong": "X", "not read": "-", "base": "."}
"""How results.json keeps a cell: one letter for each dialect, in the order of `DIALECTS`."""

Cells = dict[tuple[str, str], dict[str, str]]
"""A word for each dialect, by architecture and engine."""


def check_matrix(run: Run, whole: bool) -> tuple[Cells, dict[tuple[str, str], str]]:
    """Runs the matrix, counts its outcomes, and returns its cells, and why bases do not load."""
    names = list(matrix_tables.ARCHITECTURES if whole else SAMPLE)
    folder = run.work / "matrix"
    cases = make(run, names, folder / "models")
    jobs: list[Job] = []
    for case in cases:
        written, outcomes = matrix_plan.write(run.qlua, case, folder / "schemes")
        jobs += written
        count(run, outcomes)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        refusals = dict(zip(
            ((job.model, job.dialect, engine) for job in jobs for engine in ("transformers", "vllm", "sglang")),
            pool.map(lambda pair: pair[0].refusal(pair[1]), [(j, e) for j in jobs for e in ("transformers", "vllm", "sglang")]),
        ))
    work = [(engine, script, plan(engine, jobs, refusals, folder)) for engine, script in scripts(run)]
    with ThreadPoolExecutor(len(work)) as pool:
        done = [pool.submit(run.checks, *one, "matrix") for one in work]
    cells: Cells = {}
    bases: dict[tuple[str, str], str] = {}
    for (engine, _, mine), future in zip(work, done):
        outcomes = future.result()
        judge(engine, names, mine, outcomes, refusals, cells, bases)
        for outcome in outcomes:
            if outcome.check == BASE and outcome.outcome == "failed":
                outcome.outcome = "refused"  # A base that an engine does not load says nothing of qlua.
        count(run, outcomes)
    return cells, bases


def count(run: Run, outcomes: list[Outcome]) -> None:
    """Counts outcomes as those of the matrix."""
    for outcome in outcomes:
        outcome.part = "matrix"
    run.tally.add(outcomes)


def scripts(run: Run) -> list[tuple[str, str]]:
    """The engines whose environments are there, with their scripts."""
    every = [(engine, f"matrix_{engine.partition('-')[0]}.py") for engine in ENGINES]
    return [(engine, script) for engine, script in every if engine in run.interpreters]


def make(run: Run, names: list[str], folder: Path) -> list[Case]:
    """The tiny models, each saved by the line of Transformers that spells it as published."""
    for line in ("transformers-4.57", "transformers"):
        mine = [name for name in names if matrix_tables.line_of(name) == line]
        if mine:
            run.must(line, HERE / "matrix_models.py", folder, *mine)
    return [Case(name, folder / name) for name in names]


def plan(engine: str, jobs: list[Job], refusals: dict[tuple[str, str, str], str], folder: Path) -> list[Job]:
    """The directories that an engine is to load, in each view of them. What qlua refuses for it is left out."""
    readable = [job for job in jobs if not refusals[job.model, job.dialect, engine.partition("-")[0]]]
    if engine in ("vllm", "sglang"):
        # Both look into config.json first: the other list of `universal` is that of `modelopt`.
        return [job.viewed(job.views()[0], folder / "views") for job in readable]
    return [job for job in readable if job.dialect != "modelopt"]


def judge(
    engine: str, names: list[str], jobs: list[Job], outcomes: list[Outcome],
    refusals: dict[tuple[str, str, str], str], cells: Cells, bases: dict[tuple[str, str], str],
) -> None:
    """The words of an engine's cells: a cell that should have been checked and was not is wrong."""
    loads = {o.model: o for o in outcomes if o.check == BASE}
    failed: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    ran = {(o.model, o.dialect) for o in outcomes}
    for outcome in outcomes:
        if outcome.outcome == "failed" and outcome.dialect:
            failed[outcome.model, outcome.dialect].append(outcome)
    for name in names:
        words = cells.setdefault((name, engine), {})
        base = loads.get(name)
        if base and base.outcome != "passed":
            bases[name, engine] = base.detail
        for dialect in DIALECTS:
            planned = any(job.model == name and job.dialect == dialect for job in jobs)
            if base and base.outcome != "passed":
                words[dialect] = "base"
            elif planned:
                right = (name, dialect) in ran and not failed[name, dialect]
                words[dialect] = "right" if right else "wrong"
            elif dialect == "modelopt" and engine.startswith("transformers"):
                words[dialect] = "not read"
            elif refusals.get((name, dialect, engine.partition("-")[0])) or name in matrix_plan.NOTHING:
                words[dialect] = "refused"
            else:
                words[dialect] = "wrong"


def reasons(bases: dict[tuple[str, str], str]) -> dict[str, str]:
    """Why bases do not load, as results.json keeps it."""
    return {f"{name}, {engine}": " ".join(why.split())[:160] for (name, engine), why in bases.items()}


def letters(cells: Cells) -> dict[str, str]:
    """The cells as results.json keeps them: one line for an architecture."""
    lines: dict[str, list[str]] = defaultdict(list)
    for (name, engine), words in cells.items():
        lines[name].append(f"{engine} {''.join(LETTERS[words[dialect]] for dialect in DIALECTS)}")
    return {name: ", ".join(parts) for name, parts in lines.items()}
