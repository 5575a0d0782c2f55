"""Checks of scheme directories with SGLang's own code on CPU. Usage: `sglang_checks.py JOBS.json`.

What runs is SGLang's resolution of the configuration, its modules and its weight loader. Compiled kernels are replaced by
stand-ins, and the questions to the platform that a CPU would answer otherwise than a GPU: loading weights needs neither. Each
directory is loaded in a process of its own, forked after the imports.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ |= {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1",
    "SGLANG_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": "",
}
os.environ.pop("SGLANG_USE_CPU_ENGINE", None)  # The CPU engine's loader pads and repacks: not what a GPU sees.

COMPILED = {"sgl_kernel", "deep_gemm", "flash_mla", "vllm"}
"""Packages of kernels; vLLM's is there in this environment and SGLang would take some of its own from it."""


class Anything:
    """Stands for any function, class or value of a compiled package."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) and not named else self

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __mro_entries__(self, _: tuple[type, ...]) -> tuple[type]:
        return (object,)

    def __or__(self, _: Any) -> Anything:
        return self

    __ror__ = __or__

    def __getitem__(self, _: Any) -> Anything:
        return self


class StandIn(types.ModuleType):
    """A module that has everything."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for every compiled package."""

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] in COMPILED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> StandIn:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


sys.meta_path.insert(0, StandIns())

import torch  # noqa: E402

torch.cuda.get_device_capability = lambda *_, **__: (9, 0)

import sglang.srt.arg_groups.mamba_hook as mamba_hook  # noqa: E402
import sglang.srt.layers.rotary_embedding.factory as rotary  # noqa: E402
from sglang.srt import runtime_context  # noqa: E402
from sglang.srt.configs.load_config import LoadConfig  # noqa: E402
from sglang.srt.configs.model_config import ModelConfig  # noqa: E402
from sglang.srt.distributed import parallel_state  # noqa: E402
from sglang.srt.distributed.bootstrap import init_layer_runtime  # noqa: E402
from sglang.srt.layers.dp_attention import initialize_dp_attention  # noqa: E402
from sglang.srt.layers.linear import LinearBase  # noqa: E402
from sglang.srt.layers.moe.utils import initialize_moe_config  # noqa: E402
from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod  # noqa: E402
from sglang.srt.model_loader import loader as loading  # noqa: E402
from sglang.srt.model_loader.weight_utils import default_weight_loader  # noqa: E402
from sglang.srt.models import transformers as fallback  # noqa: E402
from sglang.srt.models import registry  # noqa: E402, F401 - imports every architecture, before the forks
from sglang.srt.server_args import ServerArgs  # noqa: E402

from checkpoint import FP8, Directory, spread  # noqa: E402
from engine_checks import FUSED, SCALES, UNLOADED, Built, check_formats, check_input_scale, is_set, members  # noqa: E402
from forking import check_each  # noqa: E402
from outcome import check, require  # noqa: E402

METHODS = {"compressed-tensors": "compressed-tensors", "modelopt": "modelopt_fp8", "fp8": "fp8"}
"""SGLang's words for what it reads."""
OF_EXPERTS = (".w13_input_scale", ".w2_input_scale")
"""Scales whose first value SGLang compares what it loads with: it takes 1 for unset."""
SLOTS = {"q": 0, "k": 1, "v": 2}


def replace_platform() -> None:
    """Answers as a GPU would."""
    mamba_hook._platform_supports_mamba_cache_extra_buffer = lambda: True
    fallback.get_device = lambda *_: "cpu"
    rotary.get_rope_cpu = lambda size, dim, positions, base, neox=True, scaling=None, *_, **__: rotary.get_rope(
        size, dim, positions, base, neox, scaling
    )


def published(directory: Path) -> ServerArgs:
    """The arguments of a server, known to all of SGLang; which kernel computes attention is nothing to weights, but some
    architectures refuse some."""
    for backend in ("triton", "flashinfer", None):
        try:
            arguments = ServerArgs(
                model_path=str(directory), device="cpu", skip_tokenizer_init=True, dtype="bfloat16", disable_cuda_graph=True,
                attention_backend=backend,
            )
            ranks = runtime_context.SpawnRanks(world_rank=0, gpu_id=0)
            runtime_context.publish(arguments, role="scheduler", ranks=ranks)
            return arguments
        except AssertionError as error:
            if backend is None or "attention backend" not in str(error):
                raise
    raise AssertionError("no backend is left")


class Loaded(Built):
    """A directory as SGLang builds it: modules made and, after `load`, filled."""

    linear = LinearBase
    cache_scales = (".k_scale", ".v_scale")

    def __init__(self, directory: Path) -> None:
        self.arguments = published(directory)
        logging.getLogger().setLevel(logging.ERROR)
        self.config = ModelConfig.from_server_args(self.arguments)

    def build(self) -> None:
        """Makes the modules and fills them with values that show when they are not overwritten."""
        rendezvous = f"file://{tempfile.mkdtemp()}/rendezvous"
        parallel_state.init_distributed_environment(
            backend="gloo", world_size=1, rank=0, local_rank=0, distributed_init_method=rendezvous
        )
        parallel_state.initialize_model_parallel()
        initialize_dp_attention(server_args=self.arguments)
        initialize_moe_config()
        init_layer_runtime(model_config=self.config)
        self.options = LoadConfig()
        quantisation = loading._get_quantization_config(self.config, self.options)
        with loading.set_default_torch_dtype(self.config.dtype), torch.device("cpu"):
            self.model = loading._initialize_model(self.config, self.options, quantisation)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter.dtype == FP8:
                    parameter.data.view(torch.uint8).fill_(0x7F)
                elif parameter.is_floating_point() and not name.endswith(OF_EXPERTS):
                    parameter.data.fill_(UNLOADED if name.endswith(SCALES) else torch.nan)

    def load(self) -> set[str]:
        """Loads the weights and returns the parameters that SGLang's loaders were called for."""
        filled: set[str] = set()

        def noted(name: str, load: Any) -> Any:
            def loader(*arguments: Any, **named: Any) -> Any:
                filled.add(name)
                return load(*arguments, **named)

            return loader

        for name, parameter in self.parameters.items():
            attribute = "_weight_loader" if hasattr(parameter, "_weight_loader") else "weight_loader"
            setattr(parameter, attribute, noted(name, getattr(parameter, attribute, default_weight_loader)))
        loader = loading.DefaultModelLoader(self.options)
        with torch.no_grad(), loading.set_default_torch_dtype(self.config.dtype):
            weights = loader._get_all_weights(self.config, self.model)
            loading.DefaultModelLoader.load_weights_only(self.model, weights, torch.device("cpu"))
        return filled


def quantised(layer: LinearBase) -> bool:
    """Whether SGLang takes the layer for FP8."""
    return not isinstance(layer.quant_method, UnquantizedLinearMethod)


def sglang_name(in_memory: str) -> str:
    """The name that SGLang gives the module of a layer."""
    name = in_memory.replace("model.language_model.", "model.").removeprefix("model.visual.")
    name = f"visual.{name}" if in_memory.startswith("model.visual.") else name
    return name.replace(".attn.qkv", ".attn.qkv_proj")


def check_values(loaded: Loaded, scheme: Directory, known: dict[str, str]) -> None:
    """Every layer holds code × scale of each of its parts, row by row, or its BF16 weights, and the input scales on disk."""
    compared = 0
    for name, layer in loaded.linears.items():
        parts = members(name, known)
        rows = [scheme.weight(part).shape[0] for part in parts]
        # SGLang pads the parts of fused layers whose width suits no kernel; each begins at its share.
        share = layer.weight.shape[0] // len(parts) if FUSED.get(name.rpartition(".")[2]) == FUSED["gate_up_proj"] else None
        for at, part in enumerate(parts):
            weight = scheme.weight(part)
            first = at * share if share else sum(rows[:at])
            held = layer.weight.data[first:first + rows[at], : weight.shape[1]].float()
            if quantised(layer) and hasattr(layer, "weight_scale_inv"):
                every = spread(layer.weight_scale_inv.data.float(), layer.weight.shape, layer.quant_method.weight_block_size)
                held = held * every[first:first + rows[at], : weight.shape[1]]
                compared += 1
            elif quantised(layer):
                scales = layer.weight_scale.data.float().flatten()
                one_each = scales.numel() == layer.weight.shape[0]
                # A fused tensor on disk has one scale, of which SGLang takes the largest slot.
                held = held * (scales[first:first + rows[at]].reshape(-1, 1) if one_each else scales[at])
                compared += 1
            require(torch.equal(held, weight), f"{part} differs by up to {(held - weight).abs().max()}")
            check_input_scale(layer, at, scheme, part)
    require(compared == len(scheme.fp8_layers), f"compared {compared} of {len(scheme.fp8_layers)} layers")


def check_scheme(job: dict[str, Any]) -> None:
    """All checks of one directory in one view of it."""
    engine = f"sglang-{job['view']}"
    scheme = Directory(Path(job["directory"]))
    loaded = None
    with check(engine, job, "resolves the quantisation method") as outcome:
        loaded = Loaded(scheme.path)
        outcome.detail = str(loaded.config.quantization)
        require(loaded.config.quantization == METHODS[job["view"]], f"resolved {loaded.config.quantization}")
    if loaded is None:
        return
    filled: set[str] = set()
    with check(engine, job, "builds the model and loads every weight"):
        loaded.build()
        filled = loaded.load()
        missing = [name for name in loaded.parameters if name not in filled]
        require(not missing, f"{len(missing)} parameters not loaded: {missing[:4]}")
    if not filled:
        return
    with check(engine, job, "leaves no value unset"):
        for name, parameter in loaded.parameters.items():
            values = used(name, parameter.data)
            require(is_set(name, values), f"{name} is unset: {values.flatten()[:3].tolist()}")
    known = {sglang_name(scheme.in_memory(n.removesuffix(".weight"))): n.removesuffix(".weight") for n in scheme.tensors}
    with check(engine, job, "has FP8 and BF16 where the plan says"):
        check_formats(job, {name: quantised(layer) for name, layer in loaded.linears.items()}, scheme, known)
    with check(engine, job, "holds code × scale"):
        check_values(loaded, scheme, known)


def used(name: str, values: torch.Tensor) -> torch.Tensor:
    """What of a parameter counts. A fused layer that is one tensor on disk has its scale in the first of three slots, of which
    SGLang takes the largest; rows that it pads have the scale 0 and are 0."""
    if not name.endswith(SCALES):
        return values
    flat = values.flatten()
    return flat[:1] if ".attn.qkv_proj." in name and flat.numel() == len(SLOTS) else flat[flat != 0]


def main() -> None:
    torch.set_num_threads(1)
    replace_platform()
    check_each(Path(sys.argv[1]), check_scheme)


if __name__ == "__main__":
    main()
