"""Checks what `qlua evaluate` measured against PyTorch. Usage: `quality_reference.py FILE.json`, in the newest line of Transformers.

Where a scheme's figures are within 1e-3 of those in F32, they are right. Where not, there has to be a reason: an input on the border of
two FP8 codes falls to either side by the last bit of a sum, all that follows is rounded otherwise, and the figures move. How far they
move is measured on the same directory: in F64, and in F64 with inputs off by one rounding to F32. qlua may be twice as far from F64 as
PyTorch itself then is, and what was measured is printed.
"""

from __future__ import annotations

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
from quality_model import KINDS, Computation, Figures, each, fingerprint, per_token, per_token_or_picture, split, whole

ENGINE = "quality"
NEAR, SMALLEST = 1e-3, 1e-7
"""How far figures may be where arithmetic decides them: relative, or absolute."""
WIDER = 2
"""How many times as far as PyTorch moves qlua may be where it does not."""
OUTSIDE = 1 / 6
"""The share of single samples that may be farther: the few computations of PyTorch do not find the ends of what is possible."""
SAME = 1e-6
"""How far Transformers' own loader may be from what stands for it, relative."""
SEEDS = (1, 2)


def near(mine: float, theirs: float, moved: float = 0.0) -> bool:
    """Whether `mine` is as near to `theirs` as it has to be; `moved` is how far PyTorch itself moves."""
    return abs(mine - theirs) <= max(NEAR * abs(theirs), SMALLEST, WIDER * moved)


class References:
    """PyTorch's figures, each computed when it is first asked for."""

    def __init__(self, base: Path, inputs: Path) -> None:
        self.base, self.inputs = base, inputs
        self.found: dict[tuple[str, ...], list[Figures]] = {}

    @cached_property
    def single(self) -> Computation:
        """In F32, as qlua computes."""
        return Computation(self.base, self.inputs, torch.float32)

    @cached_property
    def double(self) -> Computation:
        """In F64."""
        return Computation(self.base, self.inputs, torch.float64)

    def f32(self, scheme: Directory, kind: str) -> list[Figures]:
        """What F32 gives."""
        return self.once(scheme, kind, "f32", lambda: self.single.simulated(scheme, kind))

    def f64(self, scheme: Directory, kind: str) -> list[Figures]:
        """What F64 gives."""
        return self.once(scheme, kind, "f64", lambda: self.double.simulated(scheme, kind))

    def disturbed(self, scheme: Directory, kind: str) -> list[list[Figures]]:
        """What F64 gives with inputs off by one rounding to F32, for each seed."""
        of_seed = lambda seed: lambda: self.double.simulated(scheme, kind, seed=seed)  # noqa: E731
        return [self.once(scheme, kind, str(seed), of_seed(seed)) for seed in SEEDS]

    def once(self, scheme: Directory, kind: str, way: str, compute: Any) -> list[Figures]:
        """What `compute` gives, or gave for the same numbers."""
        key = (fingerprint(scheme), kind, way)
        if key not in self.found:
            self.found[key] = compute()
        return self.found[key]


class Undecided:
    """One kind of samples of a scheme whose figures hang on the last bit, and what PyTorch makes of it."""

    def __init__(self, job: dict[str, Any], kind: str, scheme: Directory, references: References) -> None:
        self.job, self.kind = job, kind
        self.f32, self.f64 = references.f32(scheme, kind), references.f64(scheme, kind)
        self.disturbed = references.disturbed(scheme, kind)

    def moved(self, figure: str) -> float:
        """How far PyTorch is from its own F64."""
        ours = whole(self.f64)[figure]
        return max(abs(whole(other)[figure] - ours) for other in (self.f32, *self.disturbed))

    def told(self, figure: str) -> str:
        """All that was measured."""
        others = " ".join(f"{whole(other)[figure]:.4e}" for other in self.disturbed)
        return (
            f"{figure} of {self.kind}: qlua {self.job['measured'][self.kind][figure]:.4e}, PyTorch F32 {whole(self.f32)[figure]:.4e}, "
            f"F64 {whole(self.f64)[figure]:.4e}, F64 off by one rounding {others}"
        )

    def outside(self, mine: list[float]) -> int:
        """How many samples, by themselves, are farther from F64 than they may be."""
        ours, others = each(self.f64), [each(other) for other in (self.f32, *self.disturbed)]
        moved = [max(abs(other[n] - value) for other in others) for n, value in enumerate(ours)]
        return sum(not near(*one) for one in zip(mine, ours, moved, strict=True))


def check_figures(job: dict[str, Any], kind: str, scheme: Directory, references: References) -> tuple[float, Undecided | None]:
    """Every figure of one kind; how far the KL is, relative, where that counts, and what was not decided."""
    ours, mine = whole(references.f32(scheme, kind)), job["measured"][kind]
    undecided = None
    for figure in ours:
        with check(ENGINE, job, f"the {figure} of {kind} is PyTorch's"):
            if near(mine[figure], ours[figure]):
                continue
            undecided = undecided or Undecided(job, kind, scheme, references)
            print(f"  {job['dialect']} {job['activations']} {job['percent']} %: {undecided.told(figure)}", flush=True)
            exact = whole(undecided.f64)[figure]
            require(near(mine[figure], exact, undecided.moved(figure)), undecided.told(figure))
    away = abs(mine["kl"] - ours["kl"])
    return away / ours["kl"] if away > SMALLEST else 0.0, undecided


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


def single_samples(qlua: str, jobs: list[dict[str, Any]], kind: str) -> dict[str, list[float]]:
    """The KL of each sample by itself as qlua finds it, by directory."""
    script = Path(__file__).with_name("quality_samples.lua")
    with tempfile.TemporaryDirectory() as folder:
        split(Path(jobs[0]["inputs"]), Path(folder))
        command = [qlua, "-q", script, jobs[0]["base"], folder, kind, *[job["directory"] for job in jobs]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    require(done.returncode == 0, done.stderr[-400:])
    return json.loads(done.stdout)


def check_samples(qlua: str, layout: tuple[str, str], kind: str, undecided: list[Undecided]) -> None:
    """Where figures are not decided, single samples are where PyTorch finds them, but for a few."""
    job = {"model": "", "dialect": layout[0], "activations": layout[1], "scheme": f"{len(undecided)} schemes"}
    with check(ENGINE, job, f"single samples of {kind} are PyTorch's"):
        if not undecided:
            return
        found = single_samples(qlua, [one.job for one in undecided], kind)
        outside = sum(one.outside(found[one.job["directory"]]) for one in undecided)
        samples = sum(len(one.f64) for one in undecided)
        print(f"  {' '.join(layout)}, {kind}: {outside} of {samples} single samples are farther from F64 than twice PyTorch", flush=True)
        require(outside <= OUTSIDE * samples, f"{outside} of {samples} samples are farther from F64 than twice PyTorch")


def main() -> None:
    torch.set_num_threads(1)  # Models this small are slower on more.
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    asked = json.loads(Path(sys.argv[1]).read_text())
    jobs = asked["jobs"]
    references = References(Path(jobs[0]["base"]), Path(jobs[0]["inputs"]))
    far: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    undecided: dict[tuple[str, str, str], list[Undecided]] = defaultdict(list)
    for job in jobs:
        job["model"] = ""  # These are figures, no counts of the README's table.
        scheme = Directory(Path(job["directory"]))
        for kind in KINDS:
            away, open_question = check_figures(job, kind, scheme, references)
            key = (job["dialect"], job["activations"], kind)
            far[key] += [] if open_question else [away]
            undecided[key] += [open_question] if open_question else []
            if job["loaded"]:
                check_loader(job, kind, scheme, references)
    for (*layout, kind), decided in far.items():
        worst = f"KL off by at most {max(decided):.1e}" if decided else "none"
        print(f"  {' '.join(layout)}, {kind}: {len(decided)} decided schemes, {worst}", flush=True)
        check_samples(asked["qlua"], tuple(layout), kind, undecided[*layout, kind])


if __name__ == "__main__":
    main()
