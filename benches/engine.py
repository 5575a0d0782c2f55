#!/usr/bin/env python3
"""The engine beside PyTorch: forward pass and gradient scores in the shapes of Qwen2.5-0.5B, F32, on the same cores.

    benches/engine.py --binary BENCH [--layers 24] [--samples 4] [--tokens 256] [--threads 2] [--rounds 3]

Run by a Python that has torch, transformers and nvidia-modelopt. BENCH is the benchmark `engine`: what
`cargo bench --bench engine --no-run` names. The checkpoint is synthetic and kept in --folder (default target/bench).

Forward is logits and loss, one sample after the other and all in one batch, by Transformers with the attention that is its default.
Scoring is ModelOpt's `auto_quantize` by gradients, calibration and scoring passes, without the search before and after; `lm_head` is
left out there (as `examples/autoquant_baseline.py` does) and scored by the engine. What is compared runs in turns, and the fastest
round of each counts; processor seconds are given too, as they say more on a machine that others load.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import torch
from safetensors.torch import save_file

SHAPE = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def synthetic(folder: Path, layers: int) -> Path:
    """A checkpoint of random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    directory = folder / f"qwen2.5-0.5b-{layers}"
    if not (directory / "model.safetensors").exists():
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(SHAPE | {"num_hidden_layers": layers})
        (directory / "config.json").write_text(text)
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
        # One block's values for all of them: drawing them takes the longest.
        values = torch.randn(1 << 22, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(torch.bfloat16)

        def filled(name: str, shape: torch.Size) -> torch.Tensor:
            if name.endswith("norm.weight"):
                return torch.ones(shape, dtype=torch.bfloat16)
            return values.repeat(shape.numel() // len(values) + 1)[: shape.numel()].reshape(shape).clone()

        weights = {n: filled(n, p.shape) for n, p in skeleton.named_parameters() if n != "lm_head.weight"}
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


class Torch:
    """Transformers and ModelOpt on the same samples."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        words = SHAPE["vocab_size"]
        self.directory, self.options = directory, options
        self.ids = torch.randint(0, words, (options.samples, options.tokens))
        self.model = self.load("sdpa")

    def load(self, attention: str) -> Any:
        from transformers import AutoModelForCausalLM

        found = AutoModelForCausalLM.from_pretrained(
            self.directory, dtype=torch.float32, attn_implementation=attention
        )
        return found.eval()

    @torch.no_grad()
    def forward(self, batch: int) -> None:
        for ids in self.ids.split(batch):
            self.model(input_ids=ids, labels=ids, use_cache=False)

    def score(self) -> tuple[float, float]:
        import modelopt.torch.quantization as mtq
        from modelopt.torch.quantization import algorithms

        model = self.load("eager")
        spent = [0.0, 0.0]

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                result: list[Any] = []
                for at, seconds in enumerate(timed(lambda: result.append(function(*given, **named)))):
                    spent[at] += seconds
                return result[0]

            return call

        searcher = algorithms.AutoQuantizeGradientSearcher
        plain = searcher.estimate_sensitivity_scores
        searcher.estimate_sensitivity_scores = counted(plain)
        calibrating = counted(lambda module, batch: module(**batch))
        forward = {"calls": 0}

        def step(module: Any, batch: Any) -> Any:
            # The first calls are those of calibration; the later ones are inside what is counted already.
            forward["calls"] += 1
            return (calibrating if forward["calls"] <= len(data) else lambda m, b: m(**b))(module, batch)

        data = [{"input_ids": ids[None], "labels": ids[None], "use_cache": False} for ids in self.ids]
        mtq.auto_quantize(
            model,
            constraints={"effective_bits": 15.0},
            quantization_formats=[mtq.FP8_DEFAULT_CFG],
            data_loader=data,
            forward_step=step,
            loss_func=lambda output, _: output.loss,
            disabled_layers=["*lm_head*"],
            num_calib_steps=len(data),
            num_score_steps=len(data),
            method="gradient",
        )
        searcher.estimate_sensitivity_scores = plain
        return spent[0], spent[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("target/bench"))
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--what", nargs="+", choices=("forward", "score"), default=("forward", "score"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    directory = synthetic(options.folder, options.layers)
    beside = Torch(directory, options)

    def ours(what: str) -> tuple[float, float]:
        shape = [options.samples, options.tokens, options.threads]
        command = [options.binary, directory, what, *shape]
        wall, processor = subprocess.check_output(list(map(str, command)), text=True).split()
        return float(wall), float(processor)

    ways: dict[str, Callable[[], tuple[float, float]]] = {}
    if "forward" in options.what:
        ways["forward, engine"] = lambda: ours("forward")
        ways["forward, Transformers, one by one"] = lambda: timed(lambda: beside.forward(1))
        ways["forward, Transformers, one batch"] = lambda: timed(lambda: beside.forward(options.samples))
    if "score" in options.what:
        ways["score, engine"] = lambda: ours("score")
        ways["score, ModelOpt"] = beside.score
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(options.rounds):
        for name, way in ways.items():
            best[name] = tuple(map(min, best[name], way()))
    for name, (wall, processor) in best.items():
        base = best[f"{name.split(',')[0]}, engine"]
        ratios = f"{wall / base[0]:.2f} x, {processor / base[1]:.2f} x"
        print(f"{name:36} {wall:8.2f} s, {processor:8.2f} s of processors: {ratios} the engine's")


if __name__ == "__main__":
    main()
