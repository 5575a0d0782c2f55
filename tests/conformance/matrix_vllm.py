"""Checks of the matrix with vLLM's own code on CPU. Usage: `matrix_vllm.py JOBS.json`; see `matrix_marks.py` for what is
compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

import vllm_checks  # noqa: I001 - it says what vLLM is to be before vLLM is imported
import torch
from vllm.model_executor.layers.fused_moe.oracle import fp8 as oracle
from vllm.model_executor.layers.quantization import fp8, modelopt
from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors_moe import (
    compressed_tensors_moe_w8a8_fp8 as experts,
)
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.models import registry

from matrix_engine import run
from matrix_marks import Weights

METHODS = {"compressed-tensors": "compressed-tensors", "modelopt": "modelopt", "fp8": "fp8"}


class Loaded(vllm_checks.Loaded):
    """A directory as vLLM builds it."""

    @property
    def method(self) -> str | None:
        """What vLLM takes it for."""
        return self.config.quantization

    def load_changed(self, change: Callable[[Weights], Weights]) -> Any:
        """Loads the weights after a function has changed them."""
        with torch.no_grad():
            loader = DefaultModelLoader(vllm_checks.LoadConfig())
            return self.model.load_weights(change(loader.get_all_weights(self.config, self.model)))


def replace_expert_kernels() -> None:
    """Lets mixtures be made where no kernel is found."""
    for module in (fp8, modelopt, experts):
        module.select_fp8_moe_backend = lambda *_, **__: (oracle.Fp8MoeBackend.TRITON, None)


def prepare(architecture: str) -> None:
    """Imports the classes of an architecture before the forks; vLLM asks them what they can in a process of its own, which
    imports everything again, to keep away from a GPU."""
    registry._run_in_subprocess = lambda ask: ask()
    if architecture in registry.ModelRegistry.models:
        registry.ModelRegistry.models[architecture].load_model_cls()


def main() -> None:
    torch.set_num_threads(1)
    vllm_checks.replace_kernels()
    replace_expert_kernels()
    run(Path(sys.argv[1]), "vllm", Loaded, METHODS, prepare)


if __name__ == "__main__":
    main()
