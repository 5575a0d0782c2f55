"""Python environments of the conformance checks, made once in a cache folder outside the tree.

`torch` is a virtual environment; every other one is a layer over it, or over another layer, that sees the packages below and
shadows some, so torch is on disk once. A digest of the requirements decides whether an environment is made anew. It is written last: what an interrupted
installation leaves behind is thrown away.

Run as a program it makes all of them, as many at a time as do not need each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

HERE = Path(__file__).resolve().parent
BASE = "torch"
NAMES = (BASE, "transformers", "transformers-4.57", "modelopt", "vllm", "sglang")
OVER = {"sglang": "vllm"}
"""What an environment is a layer over, where that is not `torch`."""


class EnvironmentFailed(RuntimeError):
    """An environment could not be made; the message says which and how pip put it."""


def cache() -> Path:
    """The folder that holds the environments: `$QLUA_CONFORMANCE_CACHE`, or one under the user's cache folder."""
    given = os.environ.get("QLUA_CONFORMANCE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else home / "qlua-conformance"


def requirements(name: str) -> Path:
    """The pinned requirements of the environment `name`."""
    return HERE / "requirements" / f"{name}.txt"


def pinned(name: str) -> dict[str, str]:
    """The versions that the requirements of `name` pin, by package."""
    lines = requirements(name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def ensure(name: str) -> Path:
    """Makes the environment `name` unless it is there, and returns its interpreter.

    Raises:
        EnvironmentFailed: pip or the interpreter failed.
    """
    interpreter = cache() / name / "bin" / "python"
    with locked(name):
        mark, digest = cache() / name / "complete", digest_of(name)
        if mark.is_file() and mark.read_text() == digest:
            return interpreter
        below = [ensure(layer) for layer in layers(name)]
        print(f"making the environment {name} in {cache()}", flush=True)
        shutil.rmtree(cache() / name, ignore_errors=True)
        make(name, below)
        mark.write_text(digest)
    return interpreter


def layers(name: str) -> list[str]:
    """The environments whose packages `name` sees, the nearest first."""
    if name == BASE:
        return []
    nearest = OVER.get(name, BASE)
    return [nearest, *layers(nearest)]


def make(name: str, below: list[Path]) -> None:
    """Installs the requirements of `name` into a new environment; `below` are the interpreters whose packages it sees."""
    folder = cache() / name
    call(name, [sys.executable, "-m", "venv", *(["--without-pip"] if below else []), str(folder)])
    interpreter = folder / "bin" / "python"
    if below:
        packages = site_packages(name, interpreter)
        seen = [site_packages(layer, base) for layer, base in zip(layers(name), below)]
        (packages / "base.pth").write_text("".join(f"{folder}\n" for folder in seen))
    # Most modules are never imported: those that are, Python compiles then.
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-cache-dir", "--no-deps", "--no-compile"]
    call(name, [str(interpreter), *pip, "--requirement", str(requirements(name))])


def site_packages(name: str, interpreter: Path) -> Path:
    """The folder into which `interpreter` installs."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(call(name, [str(interpreter), "-c", code]).strip())


def digest_of(name: str) -> str:
    """What the environment `name` is made from: its requirements, those it builds on, and the Python version."""
    below = layers(name)[::-1] or [BASE]
    parts = [*(requirements(layer).read_bytes() for layer in below), requirements(name).read_bytes(), sys.version.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keeps other drivers from making the same environment meanwhile."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / f"{name}.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def call(name: str, command: list[str]) -> str:
    """Runs `command` and returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFailed(f"the environment {name} could not be made: {done.stderr.strip()[-800:]}")
    return done.stdout


def main() -> None:
    """Makes every environment, and says which could not be made: those who need them decide what that means."""
    with ThreadPoolExecutor() as pool:
        made = {name: pool.submit(ensure, name) for name in NAMES}
    failed = {name: future.exception() for name, future in made.items() if future.exception()}
    for name, failure in failed.items():
        print(f"WARNING: {name}: {failure}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
