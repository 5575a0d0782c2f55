"""The job that qlua is for, from its beginning: ModelOpt scores a model, qlua ranks, twenty schemes are written, loaded and asked.

On the trained model where it is there, whose scores somebody else's run has recorded; on a seeded one otherwise.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import schemes
from outcome import Outcome
from schemes import Model
from tally import divergences

if TYPE_CHECKING:
    from run import Run

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
POINTS = "10,20,30,40,50,60,70,80,90,100"
RUNS = {"all_layers_topx": "all-layers", "lm_only_topx": "lm-only"}
SAME = 1e-4
"""How far scores and amax may be from the recorded ones, relative."""
FLIPPED, FLIPPED_SHARE = 1e-3, 1 / 6
"""How far single scores may be, and how many of them: an input on the border of two FP8 codes falls to either side by the last
bit of an F32 sum, which differs between processors. Even in F64 recorded all-layers scores are up to 2.8e-4 away."""


def whole_job(run: Run, models: list[Model]) -> None:
    """Runs the job and counts its checks."""
    model = next((m for m in models if m.name == "trained"), models[0])
    manifests = {policy: baseline(run, model, coverage) for policy, coverage in RUNS.items()}
    if model.name == "trained":
        for policy, file in (("all_layers_topx", "autoquant_all_layers.json"), ("lm_only_topx", "autoquant_lm_only.json")):
            recorded = json.loads((run.golden / "modelopt" / file).read_text())
            run.tally.add(compare(RUNS[policy], json.loads(manifests[policy].read_text()), recorded))
    run.tally.add([imported(run, model, manifest) for manifest in manifests.values()])

    job = replace(
        model, manifest=manifests["all_layers_topx"], language_manifest=manifests["lm_only_topx"],
        points=dict.fromkeys(RUNS, POINTS), scales=("--baseline", str(manifests["all_layers_topx"].parent / "fp8_baseline")),
    )
    written = list(schemes.write(run.qlua, job, run.work / "job", (("universal", "static"),)))
    outcomes = run.checks("transformers", "transformers_checks.py", written, "job")
    for outcome in outcomes:
        outcome.engine = "job"
    run.tally.add(outcomes)
    run.tally.require_all("job", written, outcomes)
    run.tally.add(divergences(outcomes, written))
    if model.name == "trained":
        asked = [next(j for j in written if j.percent == 100 and j.policy == policy) for policy in RUNS]
        run.tally.add([answers(run, scheme.directory) for scheme in asked])


def baseline(run: Run, model: Model, coverage: str) -> Path:
    """Runs AutoQuant by the shipped example; returns the manifest."""
    out = run.work / "baseline" / coverage
    run.must(
        "modelopt", EXAMPLES / "autoquant_baseline.py", "--model", model.base, "--inputs", model.inputs, "--out", out,
        "--coverage", coverage, "--dtype", "float32", "--device", "cpu",
    )
    return next(out.glob("*_quant_manifest.json"))


def compare(coverage: str, ours: dict, recorded: dict) -> list[Outcome]:
    """Scores and amax against a run that was recorded elsewhere."""
    groups, expected = ours["layer_sensitivity"], recorded["layer_sensitivity"]
    pairs = [
        (mine, theirs)
        for key in expected.keys() & groups.keys()
        for mine, theirs in zip(groups[key]["scores"], expected[key]["scores"], strict=True)
    ]
    scores = sorted((relative(mine, theirs) for mine, theirs in pairs if mine or theirs), reverse=True)
    beyond = sum(value > SAME for value in scores)
    close = scores[0] <= FLIPPED and beyond <= FLIPPED_SHARE * len(scores)
    ranked = [entry["name"] for entry in ours["sensitivity_ranking"]]
    same_ranking = ranked == [entry["name"] for entry in recorded["sensitivity_ranking"]]
    amax = max(relative(ours["amax"][name], value) for name, value in recorded["amax"].items())
    same_groups = groups.keys() == expected.keys()
    detail = f"{len(scores)} scores, worst {scores[0]:.1e}, {beyond} beyond {SAME:g}"
    return [
        Outcome("job", "", "", coverage, "AutoQuant finds the recorded groups", state(same_groups)),
        Outcome("job", "", "", coverage, "AutoQuant finds the recorded scores", state(close), detail),
        Outcome("job", "", "", coverage, "AutoQuant ranks as recorded", state(same_ranking)),
        Outcome("job", "", "", coverage, "AutoQuant finds the recorded amax", state(amax <= SAME), f"worst {amax:.1e}"),
    ]


def relative(mine: float, theirs: float) -> float:
    """The relative difference; 0 for equal values, among them zeros."""
    return 0.0 if mine == theirs else abs(mine - theirs) / abs(theirs) if theirs else float("inf")


def imported(run: Run, model: Model, manifest: Path) -> Outcome:
    """`check_manifest` finds nothing unscored, and no input scale missing."""
    command = [run.qlua, "check_manifest", "--model", model.base, manifest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    counts = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in done.stdout.splitlines() if line.count("|") > 2}
    usable = counts.get("usable", "0") not in ("", "0")
    fine = done.returncode == 0 and usable and counts.get("never scored") == counts.get("no input scale") == "0"
    detail = f"{counts.get('usable')} usable groups" if fine else done.stdout + done.stderr
    return Outcome("job", "", "", manifest.name, "check_manifest finds everything usable", state(fine), detail[-600:])


def answers(run: Run, directory: str) -> Outcome:
    """The shipped sanity check, on a picture."""
    image = run.golden / "tiny-qwen2_5-vl" / "images" / "002.png"
    done = run.script("transformers", EXAMPLES / "sanity_check.py", directory, "--image", image)
    passed = done.returncode == 0 and done.stdout.strip() != ""
    detail = done.stdout.strip().splitlines()[-1] if passed else done.stderr[-600:]
    return Outcome("job", "", "", Path(directory).name, "sanity_check.py describes a picture", state(passed), detail)


def state(passed: bool) -> str:
    """The word for how a check ended."""
    return "passed" if passed else "failed"
