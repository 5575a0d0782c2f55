"""Checks what `qlua evaluate` measured against PyTorch. Usage: `quality_reference.py FILE.json`, in the newest line of Transformers.

Figures within 1e-3 of PyTorch's in F32 are right. Where they are not, there has to be a reason: an input on the border of two FP8 codes
falls to either side by the last bits of a sum, all that follows is rounded otherwise, and the figures move. How far they move is
measured on the same directory: qlua may be twice as far from F64 as PyTorch's own F32 is. F32 is a single throw of these dice; where it
fell beside F64, it is thrown again, until qlua is near enough or 20 times: in F64, with the inputs of FP8 layers off by as much as F32 is
off in the base, at random. What was measured is printed.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers

from checkpoint import Directory
from outcome import check, require
from quality_model import KINDS, Computation, Figures, each, errors, fingerprint, per_token, per_token_or_picture, split, whole

ENGINE = "quality"
NEAR, SMALLEST = 1e-3, 1e-7
"""How far figures may be where arithmetic decides them: relative, or absolute."""
WIDER = 2
"""How many times as far as PyTorch moves qlua may be where it does not."""
OUTSIDE = 1 / 6
"""The share of single samples that may be farther: a few throws do not find the ends of what is possible."""
SAME = 1e-6
"""How far Transformers' own loader may be from what stands for it, relative."""
THROWS, SAMPLE_THROWS = 20, 5
"""How often PyTorch is run with other last bits: at most for figures of all samples, and at least for single ones. What flips seldom
and moves a figure far is found by many throws alone."""


def near(mine: float, theirs: float, moved: float = 0.0) -> bool:
    """Whether `mine` is as near to `theirs` as it has to be; `moved` is how far PyTorch itself moves."""
    return abs(mine - theirs) <= max(NEAR * abs(theirs), SMALLEST, WIDER * moved)


class References:
    """PyTorch's figures, each computed when it is first asked for."""

    def __init__(self, base: Path, inputs: Path) -> None:
        self.base, self.inputs = base, inputs
        self.found: dict[tuple[str, ...], list[Figures]] = {}
        self.fingerprints: dict[tuple[Path, str], str] = {}

    @cached_property
    def single(self) -> Computation:
        """In F32, as qlua computes."""
        return Computation(self.base, self.inputs, torch.float32)

    @cached_property
    def double(self) -> Computation:
        """In F64."""
        return Computation(self.base, self.inputs, torch.float64)

    @cached_property
    def off(self) -> dict[str, float]:
        """How far F32 is off in the inputs of each layer."""
        found = errors(self.single, self.double)
        print(f"  inputs of layers are off in F32 by {min(found.values()):.1e} to {max(found.values()):.1e}", flush=True)
        return found

    def f32(self, scheme: Directory, kind: str) -> list[Figures]:
        """What F32 gives."""
        return self.once(scheme, kind, "f32", lambda: self.single.simulated(scheme, kind))

    def f64(self, scheme: Directory, kind: str) -> list[Figures]:
        """What F64 gives."""
        return self.once(scheme, kind, "f64", lambda: self.double.simulated(scheme, kind))

    def disturbed(self, scheme: Directory, kind: str, seed: int) -> list[Figures]:
        """What F64 gives with inputs off as in F32."""
        return self.once(scheme, kind, str(seed), lambda: self.double.simulated(scheme, kind, seed=seed, off=self.off))

    def once(self, scheme: Directory, kind: str, way: str, compute: Any) -> list[Figures]:
        """What `compute` gives, or gave for the same numbers."""
        of = (scheme.path, kind)
        if of not in self.fingerprints:
            self.fingerprints[of] = fingerprint(scheme, kind)
        key = (self.fingerprints[of], kind, way)
        if key not in self.found:
            self.found[key] = compute()
        return self.found[key]


class Undecided:
    """One kind of samples of a scheme whose figures hang on the last bits, and what PyTorch makes of it."""

    def __init__(self, job: dict[str, Any], kind: str, scheme: Directory, references: References) -> None:
        self.job, self.kind, self.scheme, self.references = job, kind, scheme, references
        self.f64 = references.f64(scheme, kind)
        self.others = [references.f32(scheme, kind)]
        """What it may give instead of F64."""

    def throw(self, times: int) -> None:
        """Computes what else it may give, until that was done so often."""
        for seed in range(len(self.others) - 1, times):
            self.others.append(self.references.disturbed(self.scheme, self.kind, seed))

    def is_near(self, figure: str) -> bool:
        """Whether qlua is no farther from F64 than twice what PyTorch itself is."""
        exact = whole(self.f64)[figure]
        moved = max(abs(whole(other)[figure] - exact) for other in self.others)
        return near(self.job["measured"][self.kind][figure], exact, moved)

    def told(self, figure: str) -> str:
        """All that was measured."""
        mine, exact = self.job["measured"][self.kind][figure], whole(self.f64)[figure]
        f32, *again = (whole(other)[figure] for other in self.others)
        told = f"{figure} of {self.kind}: qlua {mine:.5g}, PyTorch F32 {f32:.5g}, F64 {exact:.5g}"
        return told + (f", thrown {len(again)} times {min(again):.5g} to {max(again):.5g}" if again else "")

    def outside(self, mine: list[float]) -> int:
        """How many samples, by themselves, are farther from F64 than that."""
        exact, others = each(self.f64), [each(other) for other in self.others]
        moved = [max(abs(other[n] - value) for other in others) for n, value in enumerate(exact)]
        return sum(not near(*one) for one in zip(mine, exact, moved, strict=True))


def check_figures(job: dict[str, Any], kind: str, scheme: Directory, references: References) -> Undecided | None:
    """Every figure of one kind; returns what arithmetic does not decide."""
    ours, mine = whole(references.f32(scheme, kind)), job["measured"][kind]
    undecided = None
    for figure in ours:
        with check(ENGINE, job, f"the {figure} of {kind} is PyTorch's"):
            if near(mine[figure], ours[figure]):
                continue
            undecided = undecided or Undecided(job, kind, scheme, references)
            for times in range(THROWS):
                if not undecided.is_near(figure):
                    undecided.throw(times + 1)
            print(f"  {job['dialect']} {job['activations']} {job['percent']} %: {undecided.told(figure)}", flush=True)
            require(undecided.is_near(figure), undecided.told(figure))
    return undecided


def check_loader(job: dict[str, Any], kind: str, scheme: Directory, references: References) -> None:
    """What Transformers loads computes what stands for it. Its dynamic inputs without a batch share one scale, which is not what
    the configuration says, nor what vLLM does: so per token is what qlua is compared with."""
    dynamic = job["activations"] == "dynamic"
    with check(ENGINE, job, f"the kl of {kind} stands for Transformers' own loader"):
        loaded = whole(references.single.loaded(scheme.path, kind))["kl"]
        stand_in = references.single.simulated(scheme, kind, per_token_or_picture if dynamic else per_token)
        simulated = whole(stand_in)["kl"]
        per_token_kl = whole(references.f32(scheme, kind))["kl"]
        told = f"Transformers {loaded:.6e}, what stands for it {simulated:.6e}"
        told += f", one scale a token {per_token_kl:.6e}" if dynamic else ""
        print(f"  {job['dialect']} {job['activations']} {job['percent']} %, kl of {kind}: {told}", flush=True)
        require(abs(loaded - simulated) <= SAME * simulated, told)


def single_samples(qlua: str, job: dict[str, Any], kind: str) -> list[float]:
    """The KL of each sample by itself as qlua finds it."""
    script = Path(__file__).with_name("quality_samples.lua")
    with tempfile.TemporaryDirectory() as folder:
        split(Path(job["inputs"]), Path(folder))
        command = [qlua, "-q", script, job["base"], job["directory"], folder, kind]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    require(done.returncode == 0, done.stderr[-400:])
    return json.loads(done.stdout)


def check_samples(qlua: str, job: dict[str, Any], kind: str, undecided: Undecided | None) -> None:
    """In the scheme that is the least decided, single samples are where PyTorch finds them, but for a few."""
    with check(ENGINE, job, f"single samples of {kind} are PyTorch's"):
        if undecided is None:
            return
        undecided.throw(SAMPLE_THROWS)
        found = single_samples(qlua, undecided.job, kind)
        told = f"{undecided.outside(found)} of {len(found)} samples by themselves are farther from F64 than twice PyTorch"
        print(f"  {job['dialect']} {job['activations']} {undecided.job['percent']} %, {kind}: {told}", flush=True)
        require(undecided.outside(found) <= OUTSIDE * len(found), told)


def worst(decided: list[tuple[float, float]]) -> str:
    """How far KLs are from PyTorch's, of pairs of both."""
    off = [abs(mine - ours) for mine, ours in decided]
    relative = [value / ours for value, (_, ours) in zip(off, decided) if ours]
    return f"{max(off):.1e} nats, {max(relative, default=0.0):.1e} relative"


def main() -> None:
    torch.set_num_threads(1)  # Models this small are slower on more.
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    asked = json.loads(Path(sys.argv[1]).read_text())
    first = asked["jobs"][0]
    references = References(Path(first["base"]), Path(first["inputs"]))
    layout = lambda job: (job["dialect"], job["activations"])  # noqa: E731
    for (dialect, activations), group in itertools.groupby(asked["jobs"], key=layout):
        jobs = sorted(group, key=lambda job: job["percent"])
        decided, open_questions = defaultdict(list), {}
        for job in jobs:
            scheme = Directory(Path(job["directory"]))
            for kind in KINDS:
                undecided = check_figures(job, kind, scheme, references)
                if undecided:
                    open_questions[kind] = undecided
                else:
                    decided[kind].append((job["measured"][kind]["kl"], whole(references.f32(scheme, kind))["kl"]))
                if job["loaded"]:
                    check_loader(job, kind, scheme, references)
        for kind in KINDS:
            told = worst(decided[kind]) if decided[kind] else "–"
            print(f"  {dialect} {activations}, {kind}: {len(decided[kind])} of {len(jobs)} schemes decided, off by {told}", flush=True)
            check_samples(asked["qlua"], jobs[-1], kind, open_questions.get(kind))


if __name__ == "__main__":
    main()
