"""Checks of scheme directories with Transformers, in whichever line is installed. Usage: `transformers_checks.py JOBS.json`.

The answers that Transformers must give come from the base checkpoint with its FP8 layers replaced by code × scale: as they
are for `dequantize=True`, and with inputs rounded to FP8 for the load that users get by default.
"""

from __future__ import annotations

import inspect
import itertools
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import torch
import transformers
from compressed_tensors.quantization import disable_quantization
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer
from transformers.utils.quantization_config import CompressedTensorsConfig, FineGrainedFP8Config

from checkpoint import FP8, Directory, Inputs, expected_fp8, spread
from outcome import check, require

ENGINE = "transformers-4.57" if transformers.__version__.startswith("4.57.") else "transformers"
KINDS = ("text", "vlm")
LARGEST = torch.finfo(FP8).max
NEW_TOKENS = 12


def load(directory: Path, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model in `directory` in BF16, and what loading it reports."""
    vision = hasattr(AutoConfig.from_pretrained(directory), "vision_config")
    auto = AutoModelForImageTextToText if vision else AutoModelForCausalLM
    model, report = auto.from_pretrained(directory, dtype=torch.bfloat16, output_loading_info=True, **options)
    return model.eval(), report


def load_dequantised(directory: Path) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model in `directory` without quantisation. The 4.57 line knows no `dequantize`: there the weights are decompressed
    and the rounding of inputs is switched off afterwards."""
    if "dequantize" in inspect.signature(CompressedTensorsConfig.__init__).parameters:
        return load(directory, quantization_config=CompressedTensorsConfig(dequantize=True))
    model, report = load(directory, quantization_config=CompressedTensorsConfig(run_compressed=False))
    return model.apply(disable_quantization), report


class Reference:
    """The base checkpoint, whose linear layers stand in for those of a scheme one at a time."""

    def __init__(self, base: Path, inputs: Path) -> None:
        self.model, report = load(base)
        require(clean(report), f"the base checkpoint does not load cleanly: {report}")
        self.inputs = Inputs(inputs)
        self.accepts = set(inspect.signature(self.model.forward).parameters)
        self.base_logits = {kind: self.logits(self.model, kind) for kind in KINDS}

    def batches(self, kind: str) -> Iterator[dict[str, torch.Tensor]]:
        """The inputs of one kind, without what this line of Transformers does not know."""
        for batch in self.inputs.batches(kind):
            yield {name: tensor for name, tensor in batch.items() if name in self.accepts}

    @torch.no_grad()
    def logits(self, model: PreTrainedModel, kind: str) -> list[torch.Tensor]:
        """Logits of every input of one kind, in F32."""
        return [model(**batch).logits.float() for batch in self.batches(kind)]

    @torch.no_grad()
    def greedy(self, model: PreTrainedModel, kind: str, count: int = 1) -> list[list[int]]:
        """Greedy continuations of the first inputs of one kind, cut after the picture where there is one."""
        answers = []
        for batch in itertools.islice(self.batches(kind), count):
            cut = self.prompt_length(batch["input_ids"])
            short = {n: t[:, :cut] if t.shape == batch["input_ids"].shape else t for n, t in batch.items()}
            tokens = model.generate(**short, max_new_tokens=NEW_TOKENS, do_sample=False)
            answers.append(tokens[0, cut:].tolist())
        return answers

    def prompt_length(self, ids: torch.Tensor) -> int:
        """Half of the sequence, or all up to the end of the picture if that is more."""
        image = getattr(self.model.config, "image_token_id", None)
        places = (ids[0] == image).nonzero() if image is not None else []
        return max(ids.shape[1] // 2, int(places[-1]) + 3 if len(places) else 0)

    @contextmanager
    def standing_in(self, scheme: Directory, dynamic: bool | None) -> Iterator[PreTrainedModel]:
        """The base with the FP8 layers of `scheme`; their inputs are rounded to FP8 unless `dynamic` is None."""
        modules = dict(self.model.named_modules())
        kept, hooks = {}, []
        for layer in scheme.fp8_layers:
            module = modules[scheme.in_memory(layer)]
            kept[module] = module.weight.data
            module.weight.data = scheme.weight(layer).to(torch.bfloat16)
            if dynamic is not None:
                scale = None if dynamic else scheme.input_scale(layer)
                hooks.append(module.register_forward_pre_hook(rounded(scale)))
        try:
            yield self.model
        finally:
            for module, weight in kept.items():
                module.weight.data = weight
            for hook in hooks:
                hook.remove()


def rounded(scale: torch.Tensor | None) -> Any:
    """A hook that rounds inputs to FP8: with a static scale, or with one per token. compressed-tensors takes the first two
    dimensions for batch and token, and gives an input without batch, as in vision towers, one scale."""

    def hook(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        (values,) = arguments
        used = scale
        if used is None:
            amax = values.abs().amax(tuple(range(2, values.ndim)), keepdim=True) if values.ndim > 2 else values.abs().max()
            used = (amax / LARGEST).to(values.dtype)
            used = torch.where(used == 0, torch.finfo(values.dtype).eps, used)
        codes = (values / used).clamp(-LARGEST, LARGEST).to(FP8)
        return (codes.to(values.dtype) * used,)

    return hook


def clean(report: dict[str, Any]) -> bool:
    """Whether loading reported nothing."""
    return not any(report.values())


def divergence(base: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The mean Kullback-Leibler divergence per token of `other` from `base`, in nats."""
    total, tokens = 0.0, 0
    for logits, changed in zip(base, other):
        p, q = logits.double().log_softmax(-1), changed.double().log_softmax(-1)
        total += (p.exp() * (p - q)).sum().item()
        tokens += logits.shape[0] * logits.shape[1]
    return total / tokens


def farthest(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest difference of two lists of logits; NaN where either has one."""
    return max((a - b).abs().max().item() for a, b in zip(one, other))


def load_blocks(directory: Path) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model in `directory` with block FP8 as on a GPU: only the question for one is not asked."""
    asked = FineGrainedFP8HfQuantizer.validate_environment
    FineGrainedFP8HfQuantizer.validate_environment = lambda *_, **__: None
    try:
        return load(directory)
    finally:
        FineGrainedFP8HfQuantizer.validate_environment = asked


def as_kept(scales: torch.Tensor) -> torch.Tensor:
    """The scales of blocks as this line of Transformers keeps them: 4.57 in the dtype of the model."""
    return scales.to(torch.bfloat16).float() if ENGINE == "transformers-4.57" else scales


def fp8_modules(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """The layers that Transformers takes for block FP8, by their names."""
    return {n: m for n, m in model.named_modules() if type(m).__name__ == "FP8Linear"}


def without_kernels(model: PreTrainedModel, block: list[int]) -> PreTrainedModel:
    """`model` with code × scale as it holds them in the place of layers whose kernels need a GPU."""
    for name, module in fp8_modules(model).items():
        rows, columns = module.weight.shape
        plain = torch.nn.Linear(columns, rows, bias=module.bias is not None, dtype=torch.bfloat16)
        scales = spread(module.weight_scale_inv.data.float(), module.weight.shape, block)
        plain.weight.data = (module.weight.data.float() * scales).to(torch.bfloat16)
        if module.bias is not None:
            plain.bias.data = module.bias.data.to(torch.bfloat16)
        model.set_submodule(name, plain)
    return model


def check_answers(
    job: dict[str, Any], model: PreTrainedModel, held: Directory, dynamic: bool | None, reference: Reference, kinds: list[str]
) -> None:
    """The logits and the text of `model` are those of code × scale of `held`, with inputs rounded unless `dynamic` is None;
    prints the divergence from BF16."""
    rounded_too = "" if dynamic is None else " and inputs"
    for kind in kinds:
        with check(ENGINE, job, f"computes the {kind} logits of FP8 weights{rounded_too}") as outcome:
            logits = reference.logits(model, kind)
            with reference.standing_in(held, dynamic) as stand_in:
                difference = farthest(logits, reference.logits(stand_in, kind))
            require(difference == 0, f"logits differ by up to {difference}")
            outcome.detail = f"kl {divergence(reference.base_logits[kind], logits):.3e}"
    for kind in kinds:
        with check(ENGINE, job, f"generates from {kind}"):
            answers = reference.greedy(model, kind)
            with reference.standing_in(held, dynamic) as stand_in:
                wanted = reference.greedy(stand_in, kind)
            require(all(answers), "generated nothing")
            require(answers == wanted, f"generated {answers} instead of {wanted}")


def require_values(plain: PreTrainedModel, scheme: Directory, reference: Reference, kinds: list[str]) -> None:
    """The logits of the dequantised model are those of code × scale."""
    for kind in kinds:
        with reference.standing_in(scheme, None) as stand_in:
            difference = farthest(reference.logits(plain, kind), reference.logits(stand_in, kind))
        require(difference == 0, f"{kind} logits differ by up to {difference}")


def check_blocks(job: dict[str, Any], scheme: Directory, reference: Reference, kinds: list[str]) -> None:
    """The checks of `fp8-block` after the first: weights as they are held, and logits and text of code × scale. The inputs are
    not rounded, which only the kernels of a GPU do."""
    model = None
    with check(ENGINE, job, "loads with nothing missing or unexpected"):
        model, report = load_blocks(scheme.path)
        require(clean(report), f"reported {summary(report)}")
    if model is None:
        return
    block = scheme.config["quantization_config"]["weight_block_size"]
    kept = Directory(scheme.path)
    kept.tensors |= {n: as_kept(t) for n, t in kept.tensors.items() if n.endswith(".weight_scale_inv")}
    with check(ENGINE, job, "has FP8 where the plan says, and holds codes and scales"):
        held, wanted = fp8_modules(model), expected_fp8(job)
        require(set(held) == wanted, f"differs in {sorted(set(held) ^ wanted)[:4]}")
        for layer in scheme.fp8_layers:
            module = held[scheme.in_memory(layer)]
            codes, scales = scheme.tensors[f"{layer}.weight"], scheme.tensors[f"{layer}.weight_scale_inv"]
            require(torch.equal(module.weight.data.view(torch.uint8), codes.view(torch.uint8)), f"other codes of {layer}")
            require(torch.equal(module.weight_scale_inv.data.float(), as_kept(scales)), f"other scales of {layer}")
    model = without_kernels(model, block)
    check_answers(job, model, kept, None, reference, kinds)
    del model
    if "dequantize" not in inspect.signature(FineGrainedFP8Config.__init__).parameters:
        return
    with check(ENGINE, job, "gives code × scale when dequantised"):
        plain, report = load(scheme.path, quantization_config=FineGrainedFP8Config(dequantize=True))
        require(clean(report), f"reported {summary(report)}")
        require_values(plain, scheme, reference, kinds)


def check_scheme(job: dict[str, Any], reference: Reference) -> None:
    """All checks of one directory."""
    scheme = Directory(Path(job["directory"]))
    dynamic = job["activations"] == "dynamic"
    kinds = [kind for kind in KINDS if reference.base_logits[kind]]

    with check(ENGINE, job, "stores in FP8 what the manifest ranks lowest"):
        stored = {scheme.in_memory(layer) for layer in scheme.fp8_layers}
        wanted = expected_fp8(job)
        require(stored == wanted, f"differs in {sorted(stored ^ wanted)[:4]}")

    if job["dialect"] == "fp8-block":
        check_blocks(job, scheme, reference, kinds)
        return
    model = None
    with check(ENGINE, job, "loads with nothing missing or unexpected"):
        model, report = load(scheme.path)
        require(clean(report), f"reported {summary(report)}")
    if model is None:
        return
    check_answers(job, model, scheme, dynamic, reference, kinds)
    del model

    with check(ENGINE, job, "gives code × scale when dequantised"):
        plain, report = load_dequantised(scheme.path)
        surplus = {n for n in report["unexpected_keys"] if not n.endswith(".input_scale")}
        require(not surplus and not report["missing_keys"], f"reported {summary(report)}")
        require_values(plain, scheme, reference, kinds)


def summary(report: dict[str, Any]) -> str:
    """What loading reported, a few names of each kind."""
    return ", ".join(f"{kind}: {sorted(map(str, names))[:3]} ({len(names)})" for kind, names in report.items() if names)


def main() -> None:
    torch.set_num_threads(1)  # Models this small are slower on more.
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    jobs = json.loads(Path(sys.argv[1]).read_text())
    for (base, inputs), group in itertools.groupby(jobs, key=lambda job: (job["base"], job["inputs"])):
        reference = Reference(Path(base), Path(inputs))
        for job in group:
            check_scheme(job, reference)


if __name__ == "__main__":
    main()
