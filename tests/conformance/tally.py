"""Counts outcomes, prints them, and keeps what the table in docs/engines.md is made from."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict

import environments
from outcome import Outcome
from schemes import Job

LARGEST_DIVERGENCE = 0.05
"""In nats per token. The seeded models, whose weights are noise, stay below a fifth of it."""
NOISE, FLOOR = 0.8, 1e-5
"""A divergence may be this part of that at a lower coverage, less what rounding to BF16 alone makes of logits."""
VERSIONS = (
    ("transformers", "transformers"), ("transformers-4.57", "transformers"), ("transformers", "compressed-tensors"),
    ("vllm", "vllm"), ("sglang", "sglang"), ("modelopt", "nvidia-modelopt"), ("torch", "torch"),
)


def versions() -> dict[str, str]:
    """The pinned versions that matter, by environment and package."""
    return {f"{name}/{package}": environments.pinned(name)[package] for name, package in VERSIONS}


class Tally:
    """Every outcome of a run."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.skipped: Counter[str] = Counter()

    def add(self, outcomes: list[Outcome]) -> None:
        """Counts outcomes and prints those that failed."""
        for outcome in outcomes:
            if outcome.outcome == "failed":
                where = " ".join(filter(None, (outcome.engine, outcome.model, outcome.dialect, outcome.scheme)))
                print(f"FAILED {where}: {outcome.check}: {outcome.detail}", flush=True)
        self.outcomes += outcomes

    def skip(self, engine: str, count: int, why: str) -> None:
        """Counts checks that could not run."""
        print(f"SKIPPED {count} checks of {engine}: {why}", flush=True)
        self.skipped[engine] += count

    def require_all(self, environment: str, jobs: list[Job], outcomes: list[Outcome]) -> None:
        """Fails for every job without failures that has fewer checks than it should: a check that did not run proves nothing."""
        counts = Counter((o.engine, o.model, o.dialect, o.scheme) for o in outcomes)
        expected: Counter[tuple[str, str, str, str]] = Counter()
        for job in jobs:
            viewed = environment in ("vllm", "sglang")
            engine = f"{environment}-{job.view}" if viewed else environment
            count = 5 if viewed else 3 + 2 * (2 if job.vision else 1)
            expected[engine, job.model, job.dialect, job.scheme] += count
        failed = {(o.engine, o.model, o.dialect, o.scheme) for o in outcomes if o.outcome == "failed"}
        for key, count in expected.items():
            if counts[key] < count and key not in failed:
                detail = f"{counts[key]} of {count} ran"
                self.add([Outcome(*key, "all of its checks ran", "failed", detail)])

    @property
    def failures(self) -> int:
        """The number of failed checks."""
        return sum(outcome.outcome == "failed" for outcome in self.outcomes)

    def print(self) -> None:
        """Prints the counts of each engine, and the sum."""
        for engine in sorted({o.engine for o in self.outcomes} | set(self.skipped)):
            print(f"{engine}: {line([o for o in self.outcomes if o.engine == engine], self.skipped[engine])}")
        print(f"conformance: {line(self.outcomes, sum(self.skipped.values()))}", flush=True)

    def results(self, matrix: dict[str, str], bases: dict[str, str]) -> str:
        """The counts by model, dialect and engine, the cells of the matrix, and the versions that gave them."""
        cells: dict[str, dict[str, dict[str, dict[str, int]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
        key = lambda o: (o.model, o.dialect, o.engine)  # noqa: E731
        shown = sorted((o for o in self.outcomes if o.model and o.engine != "job" and not o.part), key=key)
        for (model, dialect, engine), group in itertools.groupby(shown, key=key):
            counts = Counter(o.outcome for o in group)
            cells[model][dialect][engine] = {word: counts[word] for word in ("passed", "failed", "refused")}
        found = {"versions": versions(), "cells": cells, "matrix": matrix, "bases": bases}
        return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def line(outcomes: list[Outcome], skipped: int) -> str:
    """Counts in the plain form."""
    counts = Counter(o.outcome for o in outcomes)
    return f"{counts['passed']} passed, {counts['failed']} failed, {counts['refused']} refused, {skipped} skipped"


def divergences(outcomes: list[Outcome], jobs: list[Job]) -> list[Outcome]:
    """Prints the divergence from BF16 of every scheme, and checks that it is small and does not fall as coverage grows."""
    by_scheme = {(j.model, j.dialect, j.activations, j.scheme): j for j in jobs}
    series: dict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    for o in outcomes:
        if o.detail.startswith("kl "):
            job = by_scheme[o.model, o.dialect, o.activations, o.scheme]
            kind = o.check.split()[2]
            series[o.engine, o.model, o.dialect, o.activations, job.policy, kind][job.percent] = float(o.detail[3:])
    answers = []
    print("KL divergence from BF16 in nats per token, by coverage:")
    for (engine, model, dialect, activations, policy, kind), points in series.items():
        ordered = sorted(points.items())
        text = "  ".join(f"{percent} %: {value:.2e}" for percent, value in ordered)
        print(f"  {engine:17} {model:10} {dialect:18} {activations:7} {policy:15} {kind:4}  {text}")
        values = [value for _, value in ordered]
        grows = all(later >= NOISE * earlier - FLOOR for earlier, later in itertools.pairwise(values))
        small = all(0 <= value < LARGEST_DIVERGENCE for value in values)
        check = f"the {kind} divergence of {policy} is small and grows with coverage"
        state = "passed" if grows and small else "failed"
        answers.append(Outcome(engine, model, dialect, policy, check, state, text, activations))
    return answers
