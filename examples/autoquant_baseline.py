#!/usr/bin/env python3
"""Runs NVIDIA ModelOpt's AutoQuant on a checkpoint and writes the sensitivity baseline that qlua starts from.

    autoquant_baseline.py --model Qwen2.5-VL-3B-Instruct --out baseline --coverage lm-only --captions captions.txt
    autoquant_baseline.py --model Qwen2.5-VL-3B-Instruct --out baseline --coverage all-layers --pairs coco.db --images coco
    qlua all_layers_topx --model Qwen2.5-VL-3B-Instruct --manifest baseline/…_quant_manifest.json --out quantized

Needs nvidia-modelopt 0.43 or newer, torch, transformers and requests. Writes the manifest with amax values and the ranking,
an amax file, the per-layer report, the state of the search, and an FP8 checkpoint of full coverage.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from autoquant import artifacts, calibration, search  # noqa: E402

OLDEST = (0, 43)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint, a directory")
    parser.add_argument("--out", type=Path, required=True, help="where the results go")
    parser.add_argument("--coverage", choices=("all-layers", "lm-only"), default="all-layers", help="default: all-layers")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--captions", type=Path, help="captions, one a line: for --coverage lm-only")
    data.add_argument("--pairs", type=Path, help="SQLite file with the table vlm_calib_samples: for --coverage all-layers")
    data.add_argument("--inputs", type=Path, help="prepared tensors, named text.N.* and vlm.N.*, in a safetensors file")
    data.add_argument("--state", type=Path, help="an AutoQuant state to convert instead of running; only one you trust")
    parser.add_argument("--images", type=Path, help="the folder that the pictures' paths start from: for --pairs")
    parser.add_argument("--split", help="only rows of this split: for --pairs")
    parser.add_argument("--samples", type=int, default=4096, help="at most so many captions or pairs (default: 4096)")
    parser.add_argument("--max-length", type=int, default=512, help="tokens of a caption or pair (default: 512)")
    parser.add_argument("--batch-size", type=int, default=1, help="captions in a batch (default: 1)")
    parser.add_argument("--score-steps", type=int, default=128, help="batches that score (default: 128)")
    parser.add_argument("--method", choices=search.METHODS, default="gradient", help="default: gradient")
    parser.add_argument("--effective-bits", type=float, default=11.0, help="what the search solves for (default: 11)")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="default: bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--name", help="the scheme's name (default: fp8_autoquant_<coverage>_fp8)")
    parser.add_argument("--no-baseline", action="store_true", help="do not write the FP8 checkpoint")
    options = parser.parse_args()
    if options.pairs and not options.images:
        parser.error("--pairs needs --images")
    return options


def read_calibration(options: argparse.Namespace) -> calibration.Calibration:
    """The batches that the options name; stops where they would leave the vision tower unscored."""
    pictures = options.coverage == "all-layers" and search.has_vision(options.model)
    if options.captions and pictures:
        raise SystemExit(
            "captions alone never reach the vision tower, so its layers would get the score 0 and rank first: "
            "use --pairs, or --coverage lm-only"
        )
    if options.captions:
        return calibration.captions(
            options.model, options.captions, options.max_length, options.samples, options.batch_size
        )
    if options.pairs:
        return calibration.pairs(
            options.model, options.pairs, options.images, options.split, options.max_length, options.samples
        )
    return calibration.prepared(options.inputs, pictures, options.samples)


def refuse_unusable(document: dict[str, Any]) -> None:
    """Stops when layers were not scored or their inputs not seen: a ranking of them would be wrong."""
    for problem, names in (
        ("were not scored", artifacts.unscored(document)),
        ("have no calibrated input", artifacts.without_amax(document)),
    ):
        if names:
            raise SystemExit(f"{len(names)} layers {problem}, such as {names[0]}: calibrate with data that reaches them")


def run(options: argparse.Namespace) -> None:
    """Searches, and writes everything; or converts a state."""
    name = options.name or f"fp8_autoquant_{options.coverage.replace('-', '_')}_fp8"
    versions = {p: importlib.metadata.version(p) for p in ("nvidia-modelopt", "torch", "transformers")}
    config: dict[str, Any] = {"coverage": options.coverage, "versions": versions}
    model, dataset = None, {}
    if options.state:
        state = torch.load(options.state, map_location="cpu", weights_only=False)
    else:
        data = read_calibration(options)
        dataset = data.dataset
        score_steps = min(options.score_steps, len(data.batches))
        config |= {
            "method": options.method, "effective_bits": options.effective_bits, "dtype": options.dtype,
            "calibration_steps": len(data.batches), "score_steps": score_steps, "device": options.device,
        }
        model = search.load(options.model, getattr(torch, options.dtype), options.device)
        model, state = search.search(
            model, data, options.coverage, options.method, options.effective_bits, score_steps
        )
    types = search.skeleton(options.model)
    document = artifacts.manifest(state, types, name, options.model.resolve().name, dataset, config)
    refuse_unusable(document)
    written = artifacts.write(document, options.out)
    if model is not None:
        written.append(options.out / f"{name}_autoquant_state.pt")
        torch.save(state, written[-1])
        if not options.no_baseline:
            written.append(options.out / "fp8_baseline")
            search.export_baseline(model, options.model, written[-1])
    for path in written:
        print(path)


def main() -> None:
    installed = importlib.metadata.version("nvidia-modelopt")
    if tuple(map(int, installed.split(".")[:2])) < OLDEST:
        raise SystemExit(f"nvidia-modelopt {installed} is too old: 0.43 is the first whose states name their modules")
    run(arguments())


if __name__ == "__main__":
    main()
