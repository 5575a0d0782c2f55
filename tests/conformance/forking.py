"""Runs checks in children that are forked after the imports, which take most of an engine's time."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Callable


def check_each(jobs: Path, check: Callable[[dict[str, Any]], None]) -> None:
    """Runs `check` over the jobs of a file, each in a process of its own, as an engine loads one directory."""
    for job in json.loads(jobs.read_text()):
        status = forked(lambda: check(job))
        if status != 0:
            raise SystemExit(f"the check of {job['directory']} ended with status {status}")



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
