"""The files of a run: the manifest in the newest published schema, the amax values, and the per-layer report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable

import torch

SUFFIX = ".quant_recipe"


def manifest(
    state: dict[str, Any], model: torch.nn.Module, name: str, model_id: str, dataset: dict[str, Any], run: dict[str, Any]
) -> dict[str, Any]:
    """The sensitivity manifest of an AutoQuant state; `model` gives the types of the modules."""
    groups = {key: group(stats) for key, stats in state["candidate_stats"].items()}
    ranking = sorted(groups, key=lambda key: groups[key]["importance"])
    for rank, key in enumerate(ranking, 1):
        groups[key]["rank"] = rank
    best, recipes = state["best"], state["best"]["recipe"]
    linears = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    members = [m for g in groups.values() for m in g["module_names"] if m in linears]
    eligible = {m for g in groups.values() if candidate(g) for m in g["module_names"]}
    formats = sorted({f.partition("(")[0] for g in groups.values() for f in g["formats"] if not f.startswith("NONE")})
    return {
        "scheme": {
            "name": name, "auto_quantize_bits": run.get("effective_bits"), "auto_quantize_method": state["method"],
            "auto_quantize_score_size": run.get("score_steps"), "coverage_mode": "full", "coverage_fraction": 1.0,
            "quant_formats": formats,
        },
        "model": {"id": model_id},
        "dataset": dataset,
        "quantization": {"formats": formats, "disabled_layers": list(state.get("disabled_layers") or [])},
        "run_config": run,
        "num_quantized_layers": sum(m in eligible for m in members),
        "layers": {m: {"quantized": m in eligible, "module_type": "QuantLinear"} for m in members},
        "autoquant_state": {
            "keys": list(state), "constraints": best["constraints"], "score": best["score"],
            "is_satisfied": best["is_satisfied"],
        },
        "layer_sensitivity": groups,
        "sensitivity_ranking": [{"name": key, "importance": groups[key]["importance"]} for key in ranking],
        "best": {key: str(recipe) for key, recipe in recipes.items()},
        "amax": amax(state),
    }


def group(stats: dict[str, Any]) -> dict[str, Any]:
    """One recipe group: formats with their scores and costs, and the modules that share the decision."""
    return {
        "formats": [str(recipe) for recipe in stats["formats"]],
        "scores": [float(score) for score in stats["scores"]],
        "costs": [float(cost) for cost in stats["costs"]],
        "importance": max(float(score) for score in stats["scores"]),
        "module_names": list(stats["module_names"]),
    }


def candidate(entry: dict[str, Any]) -> bool:
    """Whether a group has a format other than NONE."""
    return any(not name.startswith("NONE") for name in entry["formats"])


def amax(state: dict[str, Any]) -> dict[str, float]:
    """What calibration saw, by quantizer, of every layer that could be quantised: the search keeps the quantizers of the
    layers that it did not choose in its states only."""
    found: dict[str, float] = {}
    for saved in state["quantizer_states"].values():
        for name, values in saved["state_dict"].items():
            if name.endswith(("input_quantizer", "weight_quantizer")) and "_amax" in values:
                found[name] = values["_amax"].float().max().item()
    return found


def unscored(document: dict[str, Any]) -> list[str]:
    """Candidates whose score is exactly 0: no batch reached them."""
    return [k.removesuffix(SUFFIX) for k, g in document["layer_sensitivity"].items() if candidate(g) and g["importance"] == 0]


def without_amax(document: dict[str, Any]) -> list[str]:
    """Eligible layers whose inputs were not calibrated. Experts that are stacked have a quantizer for each of their inputs, such as
    `gate_up_proj_input_quantizer`."""
    members = (m for g in document["layer_sensitivity"].values() if candidate(g) for m in g["module_names"])
    seen = {name.rpartition(".")[0] for name in document["amax"] if name.endswith("input_quantizer")}
    return [m for m in members if m not in seen]


def report_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The per-layer report, most sensitive first: each group under its first format that quantises."""
    rows = []
    for key, entry in document["layer_sensitivity"].items():
        at = next((i for i, name in enumerate(entry["formats"]) if not name.startswith("NONE")), 0)
        bits = float(entry["formats"][at].rpartition("effective-bits: ")[2].rstrip(")"))
        rows.append({
            "layer": key.removesuffix(SUFFIX), "num_bits": bits, "sensitivity": entry["scores"][at],
            "size_cost": entry["costs"][at],
        })
    return sorted(rows, key=lambda row: -row["sensitivity"])


def markdown(document: dict[str, Any]) -> str:
    """The per-layer report as Markdown."""
    state = document["autoquant_state"]
    title = f"AutoQuant Layer Sensitivity ({document['scheme']['name']})"
    facts = {
        "Scheme": document["scheme"]["name"], "Model": document["model"]["id"],
        "Effective bits (from search)": f"{state['constraints']['effective_bits']:.4f}",
        "Total AutoQuant score": f"{state['score']:.6e}", "Constraint satisfied": state["is_satisfied"],
    }
    lines = [f"# {title}", "", *(f"- {label}: `{value}`" for label, value in facts.items()), ""]
    lines += ["|Layer|Num Bits|Sensitivity|Size Cost|", "| :--- | :--- | :--- | :--- |"]
    for row in report_rows(document):
        lines.append(f"|{row['layer']}|{row['num_bits']:.1f}|{row['sensitivity']:.3e}|{row['size_cost']:.3e}|")
    return "\n".join(lines) + "\n"


def write(document: dict[str, Any], out: Path) -> list[Path]:
    """Writes manifest, amax file and reports into `out`; returns what was written."""
    out.mkdir(parents=True, exist_ok=True)
    name = document["scheme"]["name"]
    report = {k: document[k] for k in ("scheme", "model", "autoquant_state")} | {"layer_sensitivity": report_rows(document)}
    inputs = {k: v for k, v in document["amax"].items() if k.endswith("input_quantizer")}
    return list(_written({
        out / f"{name}_quant_manifest.json": json.dumps(document, indent=2),
        out / f"{name}_amax.json": json.dumps(inputs, indent=2),
        out / "per-layer-sensitivity.json": json.dumps(report, indent=2),
        out / "per-layer-sensitivity.md": markdown(document),
    }))


def _written(files: dict[Path, str]) -> Iterable[Path]:
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        yield path
