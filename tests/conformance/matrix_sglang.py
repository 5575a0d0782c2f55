"""Checks of the matrix with SGLang's own code on CPU. Usage: `matrix_sglang.py JOBS.json`; see `matrix_marks.py` for what is
compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

import sglang_checks  # noqa: I001 - it puts stand-ins before SGLang is imported
import torch
from sglang.srt.model_loader import loader as loading
from sglang.srt.model_loader.utils import get_model_architecture

from matrix_engine import run
from matrix_marks import Weights


class Loaded(sglang_checks.Loaded):
    """A directory as SGLang builds it."""

    @property
    def method(self) -> str | None:
        """What SGLang takes it for."""
        return self.config.quantization

    @property
    def class_name(self) -> str:
        """SGLang has a class of its own for Mixtral in some formats."""
        return get_model_architecture(self.config)[0].__name__

    def take_for(self, class_name: str) -> None:
        """Has SGLang build the model as another of its classes."""
        self.config.hf_config.architectures = [class_name]

    def load_changed(self, change: Callable[[Weights], Weights]) -> Any:
        """Loads the weights after a function has changed them."""
        loader = loading.DefaultModelLoader(self.options)
        with torch.no_grad(), loading.set_default_torch_dtype(self.config.dtype):
            weights = change(loader._get_all_weights(self.config, self.model))
            loading.DefaultModelLoader.load_weights_only(self.model, weights, torch.device("cpu"))


def main() -> None:
    torch.set_num_threads(1)
    sglang_checks.replace_platform()
    run(Path(sys.argv[1]), "sglang", Loaded, sglang_checks.METHODS)


if __name__ == "__main__":
    main()
