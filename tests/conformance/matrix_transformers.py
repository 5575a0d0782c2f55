"""Checks of the matrix with Transformers, in whichever line is installed. Usage: `matrix_transformers.py JOBS.json`.

It knows no names. What an engine must hold comes from the same checkpoint with code × scale in the place of its FP8 layers,
loaded as a plain one: a layer is FP8 in memory where that model differs from the base, and it is the layer on disk that has
the same values. So experts may be numbered on disk and stacked in memory, and towers and heads may be called anything.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import torch
import transformers
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.utils.quantization_config import FineGrainedFP8Config

from checkpoint import FP8, Directory, Inputs, spread
from forking import forked
from outcome import check, require
from transformers_checks import (
    ENGINE, as_kept, clean, farthest, load, load_blocks, load_dequantised, rounded, summary,
)

NEW_TOKENS = 6
BASE = "the untouched base loads"
QUANTISED = (".weight_scale", ".weight_scale_inv", ".input_scale")


def written_plain(scheme: Directory, folder: Path) -> Path:
    """The directory of `scheme` as a BF16 checkpoint: code × scale, and nothing that says otherwise."""
    for file in scheme.path.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and not file.name.endswith(("hf_quant_config.json", "index.json")):
            shutil.copy(file, folder)
    config = {key: value for key, value in scheme.config.items() if key != "quantization_config"}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {n: t for n, t in scheme.tensors.items() if not n.endswith(QUANTISED)}
    tensors |= {f"{layer}.weight": scheme.weight(layer).to(torch.bfloat16) for layer in scheme.fp8_layers}
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


class Reference:
    """A scheme's checkpoint without quantisation, and what of it is FP8 in the scheme."""

    def __init__(self, scheme: Directory, base: PreTrainedModel) -> None:
        self.scheme = scheme
        with tempfile.TemporaryDirectory() as folder:
            self.model, report = load(written_plain(scheme, Path(folder)))
        require(clean(report), f"as a plain checkpoint: {summary(report)}")
        before = dict(base.named_parameters())
        self.changed = {n for n, p in self.model.named_parameters() if not same(p, before[n])}
        by_values = {key(scheme.weight(layer).to(torch.bfloat16)): layer for layer in scheme.fp8_layers}
        self.layers = {
            name: layer
            for name, module in self.model.named_modules()
            if isinstance(module, torch.nn.Linear) and (layer := by_values.get(key(module.weight)))
        }
        """The layers on disk that linear layers in memory are, where both are FP8."""

    @contextmanager
    def rounding(self, scheme: Directory, dynamic: bool) -> Iterator[PreTrainedModel]:
        """The model with the inputs of its FP8 layers rounded, as compressed-tensors does."""
        modules = dict(self.model.named_modules())
        scales = {name: None if dynamic else scheme.input_scale(layer) for name, layer in self.layers.items()}
        hooks = [modules[name].register_forward_pre_hook(rounded(scale)) for name, scale in scales.items()]
        try:
            yield self.model
        finally:
            for hook in hooks:
                hook.remove()


def key(tensor: torch.Tensor) -> bytes:
    """What tensors of the same values have in common."""
    return tensor.detach().reshape(-1).clone().view(torch.uint8).numpy().tobytes()


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same bit for bit."""
    return one.shape == other.shape and one.dtype == other.dtype and key(one) == key(other)


@torch.no_grad()
def logits(model: PreTrainedModel, inputs: Inputs) -> list[torch.Tensor]:
    """Logits of every text, in F32."""
    return [model(**batch).logits.float() for batch in inputs.batches("text")]


@torch.no_grad()
def greedy(model: PreTrainedModel, inputs: Inputs) -> list[int]:
    """A greedy continuation of the first text."""
    ids = next(inputs.batches("text"))["input_ids"][:, :12]
    options = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)[0, 12:].tolist()


def held(model: PreTrainedModel, block: list[int] | None) -> dict[str, torch.Tensor]:
    """The weights that a model holds, by parameter: code × scale where it holds codes."""
    found = {}
    for name, parameter in model.named_parameters():
        values = parameter.data
        if values.dtype == FP8:
            owner, _, leaf = name.rpartition(".")
            module = model.get_submodule(owner)
            scale = getattr(module, f"{leaf}_scale_inv", None)
            scale = getattr(module, f"{leaf}_scale", None) if scale is None else scale
            scale = scale.data.float()
            if block:
                stacked = values.shape if values.dim() == 3 else (1, *values.shape)
                grids = scale.reshape(stacked[0], -(-stacked[1] // block[0]), -(-stacked[2] // block[1]))
                scale = torch.stack([spread(grid, stacked[1:], block) for grid in grids]).reshape(values.shape)
            elif scale.numel() > 1:
                scale = scale.reshape(-1, 1)
            values = (values.float() * scale).to(torch.bfloat16)
        found[name] = values
    return found


def require_same(model: PreTrainedModel, reference: PreTrainedModel, block: list[int] | None = None) -> None:
    """Every weight of `model` is that of the plain checkpoint, bit for bit."""
    mine = held(model, block)
    for name, parameter in reference.named_parameters():
        require(name in mine, f"{name} is not there")
        if not same(mine[name], parameter.data):
            distance = (mine[name].float() - parameter.data.float()).abs().max() if mine[name].shape == parameter.shape else "shape"
            require(False, f"{name} differs by {distance}")


def fp8_in(model: PreTrainedModel) -> set[str]:
    """The parameters that are FP8 by their own dtype, or by what compressed-tensors or the module says of them."""
    found = {n for n, p in model.named_parameters() if p.dtype == FP8}
    for name, module in model.named_modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is not None and scheme.weights is not None:
            found.add(f"{name}.weight")
    return found


def require_marked(model: PreTrainedModel, reference: Reference) -> None:
    """FP8 is what is FP8 on disk, and nothing else. Stacks of experts may be dequantised while they are loaded."""
    stacks = {name for name, parameter in reference.model.named_parameters() if parameter.dim() == 3}
    found = fp8_in(model)
    wrong = (found - reference.changed) | (reference.changed - found - stacks)
    require(not wrong, f"differs in {sorted(wrong)[:4]}")


def require_loaded(report: dict[str, Any], reference: Reference) -> None:
    """Loading reported nothing but input scales of experts that it stacks: it computes with BF16 stacks, which need none."""
    stacked = len(reference.layers) < len(reference.scheme.fp8_layers)
    known = re.compile(r"\.experts\.\d+\.\w+\.input_scale$" if stacked else "$^")
    rest = {kind: {n for n in names if not known.search(str(n))} for kind, names in report.items() if not isinstance(names, str)}
    require(clean(rest), f"reported {summary(rest)}")


def check_compressed(job: dict[str, Any], scheme: Directory, reference: Reference, inputs: Inputs | None) -> None:
    """What compressed-tensors makes of it by default, and when it dequantises."""
    dynamic = job["activations"] == "dynamic"
    model = None
    with check(ENGINE, job, "loads with nothing missing or unexpected"):
        model, report = load(scheme.path)
        require_loaded(report, reference)
    if model is not None:
        with check(ENGINE, job, "takes for FP8 what is FP8"):
            require_marked(model, reference)
    if model is not None and inputs:
        with check(ENGINE, job, "computes the text logits of FP8 weights and inputs"):
            mine = logits(model, inputs)
            with reference.rounding(scheme, dynamic) as stand_in:
                distance = farthest(mine, logits(stand_in, inputs))
            require(distance == 0, f"logits differ by up to {distance}")
        with check(ENGINE, job, "generates text"):
            answer = greedy(model, inputs)
            with reference.rounding(scheme, dynamic) as stand_in:
                wanted = greedy(stand_in, inputs)
            require(answer == wanted, f"generated {answer} instead of {wanted}")
    if model is not None:
        with check(ENGINE, job, "holds code × scale"):
            require_same(model, reference.model)
    with check(ENGINE, job, "gives code × scale when dequantised"):
        plain, report = load_dequantised(scheme.path)
        surplus = {n for n in report["unexpected_keys"] if not n.endswith(".input_scale")}
        require(not surplus and not report["missing_keys"], f"reported {summary(report)}")
        if inputs:
            logits(plain, inputs)  # The 4.57 line decompresses at the first pass.
        require_same(plain, reference.model)


def check_blocks(job: dict[str, Any], scheme: Directory, reference: Reference) -> None:
    """What block FP8 holds; its kernels need a GPU, so nothing is computed."""
    block = scheme.config["quantization_config"]["weight_block_size"]
    with check(ENGINE, job, "loads with nothing missing or unexpected"):
        model, report = load_blocks(scheme.path)
        require(clean(report), f"reported {summary(report)}")
        with check(ENGINE, job, "takes for FP8 what is FP8"):
            require_marked(model, reference)
        with check(ENGINE, job, "holds code × scale"):
            kept = Directory(scheme.path)
            if ENGINE == "transformers-4.57":
                kept.tensors |= {n: as_kept(t) for n, t in kept.tensors.items() if n.endswith(".weight_scale_inv")}
                with tempfile.TemporaryDirectory() as folder:
                    require_same(model, load(written_plain(kept, Path(folder)))[0], block)
            else:
                require_same(model, reference.model, block)
    if ENGINE == "transformers":
        with check(ENGINE, job, "gives code × scale when dequantised"):
            plain, report = load(scheme.path, quantization_config=FineGrainedFP8Config(dequantize=True))
            require(clean(report), f"reported {summary(report)}")
            require_same(plain, reference.model)


def check_architecture(jobs: list[dict[str, Any]]) -> None:
    """All jobs of one base checkpoint."""
    inputs = Inputs(Path(jobs[0]["inputs"]))
    loaded = None
    with check(ENGINE, jobs[0] | {"dialect": "", "scheme": "", "activations": ""}, BASE):
        base, report = load(Path(jobs[0]["base"]))
        require(clean(report), f"reported {summary(report)}")
        loaded = base
    if loaded is None:
        return
    computes = True
    try:
        wanted = logits(base, inputs)
        greedy(base, inputs)
    except Exception as error:  # noqa: BLE001 - Llama 4 of 5.24 takes no text without a picture; its weights can be compared
        print(f"{jobs[0]['model']} does not compute: {error}", file=sys.stderr)
        computes = False
    require(not computes or all(bool(one.isfinite().all()) for one in wanted), "logits of the base are not finite")
    for job in jobs:
        if not job["directory"]:
            continue
        scheme, reference = Directory(Path(job["directory"])), None
        with check(ENGINE, job, "has every weight where the base has it"):
            reference = Reference(scheme, base)
        if reference is None:
            continue
        if job["dialect"] == "fp8-block":
            check_blocks(job, scheme, reference)
        else:
            check_compressed(job, scheme, reference, inputs if computes else None)


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    jobs = [job for job in json.loads(Path(sys.argv[1]).read_text()) if job["dialect"] != "modelopt"]
    for name, group in itertools.groupby(jobs, key=lambda job: job["model"]):
        mine = list(group)
        status = forked(lambda: check_architecture(mine))
        if status != 0:
            with check(ENGINE, mine[0] | {"scheme": ""}, "the checks ran to their end"):
                require(False, f"ended with status {status}")


if __name__ == "__main__":
    main()
