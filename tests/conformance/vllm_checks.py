"""Checks of scheme directories with vLLM's own code on CPU. Usage: `vllm_checks.py JOBS.json`.

What runs is vLLM's resolution of the configuration, its modules and its weight loader; the only thing replaced is the choice
of a kernel, which a CPU has none of. Each directory is loaded in a process of its own, forked after the imports.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {
    "VLLM_TARGET_DEVICE": "cpu", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
}

import torch  # noqa: E402
from vllm.config import DeviceConfig, LoadConfig, ModelConfig, VllmConfig, set_current_vllm_config  # noqa: E402
from vllm.distributed import init_distributed_environment, initialize_model_parallel  # noqa: E402
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod  # noqa: E402
from vllm.model_executor.layers.quantization import fp8, get_quantization_config, modelopt  # noqa: E402
from vllm.model_executor.layers.quantization.compressed_tensors.schemes import (  # noqa: E402
    compressed_tensors_w8a8_fp8,
)
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding  # noqa: E402
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader  # noqa: E402
from vllm.model_executor.model_loader.utils import initialize_model  # noqa: E402

from checkpoint import FP8, Directory, spread  # noqa: E402
from engine_checks import SCALES, Built, check_formats, check_input_scale, is_set, members  # noqa: E402
from forking import check_each  # noqa: E402
from outcome import check, require  # noqa: E402


class AnyKernel:
    """Stands for the kernel that a GPU would have; loading weights never calls it."""

    supports_pre_processed_weights = False

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def input_quant_key(self) -> None:
        """No kernel, no key."""


def replace_kernels() -> None:
    """Lets layers be made where no kernel is found."""
    get_quantization_config("fp8")  # Imports every method; before the forks, not in each.
    for module in (fp8, modelopt, compressed_tensors_w8a8_fp8):
        module.init_fp8_linear_kernel = AnyKernel
        module.expose_input_quant_key = lambda *_, **__: None


class Loaded(Built):
    """A directory as vLLM builds it: modules made and, after `load`, filled."""

    linear = LinearBase
    cache_scales = tuple(f".attn.{part}_{kind}" for part in ("q", "k", "v", "prob") for kind in ("scale", "zero_point"))

    def __init__(self, directory: Path) -> None:
        self.config = ModelConfig(
            model=str(directory), tokenizer=str(directory), skip_tokenizer_init=True, dtype="bfloat16", max_model_len=128
        )

    def build(self) -> None:
        """Makes the modules and fills them with values that show when they are not overwritten."""
        config = VllmConfig(model_config=self.config, load_config=LoadConfig(), device_config=DeviceConfig(device="cpu"))
        self.context = set_current_vllm_config(config)
        self.context.__enter__()  # For the life of this process, which loads one directory.
        rendezvous = f"file://{tempfile.mkdtemp()}/rendezvous"
        init_distributed_environment(1, 0, rendezvous, local_rank=0, backend="gloo")
        initialize_model_parallel(1, 1)
        torch.set_default_dtype(torch.bfloat16)
        self.model = initialize_model(vllm_config=config)
        torch.set_default_dtype(torch.float32)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter.dtype == FP8:
                    parameter.data.view(torch.uint8).fill_(0x7F)
                elif parameter.is_floating_point() and not name.endswith(SCALES):
                    parameter.data.fill_(torch.nan)

    def load(self) -> set[str]:
        """Loads the weights and returns the parameters that vLLM says it loaded."""
        with torch.no_grad():
            return self.model.load_weights(DefaultModelLoader(LoadConfig()).get_all_weights(self.config, self.model))


def quantised(layer: LinearBase) -> bool:
    """Whether vLLM takes the layer for FP8."""
    return not isinstance(layer.quant_method, UnquantizedLinearMethod)


def vllm_name(in_memory: str) -> str:
    """The name that vLLM gives a layer of a model with a vision tower; those of plain language models stay."""
    for prefix, replacement in (("model.language_model.", "language_model.model."), ("model.visual.", "visual.")):
        if in_memory.startswith(prefix):
            return replacement + in_memory.removeprefix(prefix)
    return in_memory


def check_values(loaded: Loaded, scheme: Directory, known: dict[str, str]) -> None:
    """Every FP8 layer holds code × scale of each of its parts, row by row, and the input scales on disk."""
    compared = 0
    for name, layer in loaded.linears.items():
        if not quantised(layer):
            continue
        row, parts = 0, members(name, known)
        blocks = getattr(layer, "weight_scale_inv", None)
        if blocks is not None:
            every = spread(blocks.data.float(), layer.weight.shape, layer.weight_block_size)
        else:
            scales = layer.weight_scale.data.float().flatten()
        for at, part in enumerate(parts):
            weight = scheme.weight(part)
            rows = slice(row, row + weight.shape[0])
            if blocks is not None:
                scale = every[rows]
            else:
                scale = scales[rows].reshape(-1, 1) if scales.numel() == layer.weight.shape[0] else scales[at]
            held = layer.weight.data[rows].float() * scale
            require(torch.equal(held, weight), f"{part} differs by up to {(held - weight).abs().max()}")
            check_input_scale(layer, at, scheme, part)
            row += weight.shape[0]
            compared += 1
    require(compared == len(scheme.fp8_layers), f"compared {compared} of {len(scheme.fp8_layers)} layers")


def check_scheme(job: dict[str, Any]) -> None:
    """All checks of one directory in one view of it."""
    engine = f"vllm-{job['view']}"
    scheme = Directory(Path(job["directory"]))
    loaded = None
    with check(engine, job, "resolves the quantisation method") as outcome:
        loaded = Loaded(scheme.path)
        outcome.detail = str(loaded.config.quantization)
        require(loaded.config.quantization == job["view"], f"resolved {loaded.config.quantization}")
    if loaded is None:
        return
    filled: set[str] = set()
    with check(engine, job, "builds the model and loads every weight"):
        loaded.build()
        filled = loaded.load()
        missing = [name for name in loaded.parameters if name not in filled and not tied(loaded, name)]
        require(not missing, f"{len(missing)} parameters not loaded: {missing[:4]}")
    if not filled:
        return
    with check(engine, job, "leaves no value unset"):
        for name, parameter in loaded.parameters.items():
            require(is_set(name, parameter.data), f"{name} is unset: {parameter.data.flatten()[:3].tolist()}")
    known = {vllm_name(scheme.in_memory(n.removesuffix(".weight"))): n.removesuffix(".weight") for n in scheme.tensors}
    with check(engine, job, "has FP8 and BF16 where the plan says"):
        check_formats(job, {name: quantised(layer) for name, layer in loaded.linears.items()}, scheme, known)
    with check(engine, job, "holds code × scale"):
        check_values(loaded, scheme, known)


def tied(loaded: Loaded, name: str) -> bool:
    """Whether the parameter is another name of the embedding."""
    parameter = loaded.parameters[name]
    tables = [m for m in loaded.model.modules() if isinstance(m, VocabParallelEmbedding)]
    return loaded.config.hf_config.get_text_config().tie_word_embeddings and any(parameter is m.weight for m in tables)


def main() -> None:
    torch.set_num_threads(1)
    replace_kernels()
    check_each(Path(sys.argv[1]), check_scheme)


if __name__ == "__main__":
    main()
