"""One AutoQuant run of NVIDIA ModelOpt, and its FP8 baseline."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import modelopt.torch.quantization as mtq
import torch
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.opt.utils import named_hparams
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from .calibration import Batch, Calibration

FORMAT = "FP8_DEFAULT_CFG"
VISION = ("*visual*", "*vision_tower*", "*vision_model*", "*multi_modal_projector*")
NEVER = ("*lm_head*", "*patch_embed*")
"""Heads and convolutions: scored they could be, stored in FP8 they cannot."""
METHODS = ("gradient", "kl_div")


def has_vision(directory: Path) -> bool:
    """Whether a checkpoint has a vision tower."""
    return hasattr(AutoConfig.from_pretrained(directory), "vision_config")


def load(directory: Path, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """The checkpoint in `directory`, with the attention that AutoQuant scores with: eager, whose every step has gradients."""
    auto = AutoModelForImageTextToText if has_vision(directory) else AutoModelForCausalLM
    return auto.from_pretrained(directory, dtype=dtype, attn_implementation="eager").to(device).eval()


def skeleton(directory: Path) -> PreTrainedModel:
    """The modules of a checkpoint without their weights."""
    auto = AutoModelForImageTextToText if has_vision(directory) else AutoModelForCausalLM
    with torch.device("meta"):
        return auto.from_config(AutoConfig.from_pretrained(directory))


def disabled(coverage: str) -> list[str]:
    """What a run of this coverage leaves out."""
    return [*NEVER, *(VISION if coverage == "lm-only" else ())]


def search(
    model: PreTrainedModel, data: Calibration, coverage: str, method: str, effective_bits: float, score_steps: int
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Calibrates on every batch, scores on the first `score_steps`, and solves for `effective_bits`.

    Returns the quantised model and ModelOpt's state of the search.
    """

    def on_device(batch: Batch) -> Batch:
        floating = {n: t.to(model.device, model.dtype if t.is_floating_point() else None) for n, t in batch.items()}
        return floating if method == "gradient" else {n: t for n, t in floating.items() if n != "labels"}

    def forward(module: torch.nn.Module, batch: Batch) -> Any:
        output = module(**on_device(batch))
        return output if method == "gradient" else output.logits

    return mtq.auto_quantize(
        model,
        constraints={"effective_bits": effective_bits},
        quantization_formats=[getattr(mtq, FORMAT)],
        data_loader=data.batches,
        forward_step=forward,
        loss_func=(lambda output, _: output.loss) if method == "gradient" else None,
        disabled_layers=disabled(coverage),
        num_calib_steps=len(data.batches),
        num_score_steps=min(score_steps, len(data.batches)),
        method=method,
    )


def export_baseline(model: PreTrainedModel, source: Path, target: Path) -> None:
    """Writes every eligible layer in FP8, chosen by the search or not, with ModelOpt's own export; tokenizer, processor and
    templates come from `source`."""
    for _, hparam in named_hparams(model, configurable=True):
        quantising = [choice for choice in hparam.choices if choice.num_bits < 16]
        if quantising:
            hparam.active = quantising[0]
    stored = AutoConfig.from_pretrained(source).dtype or torch.bfloat16
    for parameter in model.parameters():  # Not `model.to`, which would round the amax values too.
        parameter.data = parameter.data.to(stored)
    export_hf_checkpoint(model, dtype=stored, export_dir=target)
    for file in sorted(source.iterdir()):
        weights = file.suffix in (".safetensors", ".bin") or file.name.endswith(".index.json")
        if file.is_file() and not weights and not (target / file.name).exists():
            shutil.copyfile(file, target / file.name)
