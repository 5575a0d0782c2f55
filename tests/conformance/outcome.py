"""Outcomes of checks, as one JSON line each: how the scripts that run inside an environment answer the driver."""

from __future__ import annotations

import json
import traceback
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Iterator

PREFIX = "outcome "


@dataclass
class Outcome:
    """One check of one scheme by one engine."""

    engine: str
    model: str
    dialect: str
    scheme: str
    check: str
    outcome: str = "passed"
    """`passed`, `failed`, or `refused`: qlua says before the pass that the engine cannot read it, and that is so."""
    detail: str = ""
    activations: str = ""
    part: str = ""
    """`matrix` for what is counted by cells, `quality` for figures: neither is in the table of the main models."""

    def emit(self) -> None:
        """Prints the outcome for the driver."""
        print(PREFIX + json.dumps(asdict(self)), flush=True)


def read(line: str) -> Outcome | None:
    """The outcome in a line of output, where it has one."""
    return Outcome(**json.loads(line.removeprefix(PREFIX))) if line.startswith(PREFIX) else None


class Failed(AssertionError):
    """A check found something wrong."""


def require(condition: bool, detail: str) -> None:
    """Fails the check unless `condition` holds."""
    if not condition:
        raise Failed(detail)


@contextmanager
def check(engine: str, job: dict[str, str], name: str) -> Iterator[Outcome]:
    """Runs the block as the check `name` of a job and prints how it ended. Errors of the engine fail the check too."""
    outcome = Outcome(engine, job["model"], job["dialect"], job["scheme"], name, activations=job["activations"])
    try:
        yield outcome
    except Failed as failure:
        outcome.outcome, outcome.detail = "failed", str(failure)[:600]
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is an answer
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.outcome = "failed"
        outcome.detail = f"{type(error).__name__}: {error} ({where.name}:{where.lineno})"[:600]
    outcome.emit()
