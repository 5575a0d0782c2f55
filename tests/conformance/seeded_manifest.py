"""The manifest of a seeded model, as ModelOpt's AutoQuant publishes it, from its groups and what calibration saw."""

from __future__ import annotations

from typing import Any


def document(
    name: str, linears: list[str], sensitivity: dict[str, dict[str, Any]], amax: dict[str, float]
) -> dict[str, Any]:
    """The manifest of `name` with the groups `sensitivity`, which get their ranks; `linears` are its linear layers in model order."""
    ranking = sorted(sensitivity, key=lambda key: sensitivity[key]["importance"])
    for rank, key in enumerate(ranking, 1):
        sensitivity[key]["rank"] = rank
    return {
        "scheme": {
            "name": f"{name}_seeded", "auto_quantize_bits": 8.0, "auto_quantize_method": "gradient",
            "auto_quantize_score_size": 4, "coverage_mode": "full", "coverage_fraction": 1.0,
            "quant_formats": ["FP8_DEFAULT_CFG"],
        },
        "num_quantized_layers": len(linears),
        "layers": {linear: {"quantized": True, "module_type": "QuantLinear"} for linear in linears},
        "model": {"id": name},
        "autoquant_state": {"constraints": {"effective_bits": 8.0}, "score": 0.0, "is_satisfied": True},
        "layer_sensitivity": sensitivity,
        "sensitivity_ranking": [{"name": key, "importance": sensitivity[key]["importance"]} for key in ranking],
        "amax": amax,
    }
