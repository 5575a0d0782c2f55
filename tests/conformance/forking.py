"""Runs a check in a child that is forked after the imports, which take most of an engine's time."""

from __future__ import annotations

import os
import sys
from typing import Callable


def forked(run: Callable[[], None]) -> int:
    """Runs `run` in a child and returns its exit status."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run()
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
