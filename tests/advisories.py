#!/usr/bin/env python3
"""Writes tests/advisories.tsv, what the RustSec advisory database says of each crate, from a clone of that database.

    git clone https://github.com/rustsec/advisory-db && tests/advisories.py advisory-db

A line is an advisory that was not withdrawn: its name, the crate, what it is about, and the versions that it does not concern.
Those are alternatives with `;` between them, each made of comparisons with `,` between them; none means that it concerns all.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

OUTPUT = Path(__file__).with_suffix(".tsv")


def full(version: str) -> str:
    """A version of three numbers, where some may be left out."""
    numbers, dash, pre = version.partition("-")
    parts = (numbers.split("+")[0].split(".") + ["0", "0"])[:3]
    return ".".join(parts) + dash + pre


def comparisons(requirement: str) -> str:
    """A requirement as Cargo has it, in comparisons alone."""
    found = []
    for part in requirement.split(","):
        operator, version = re.fullmatch(r"(>=|<=|>|<|=|\^|~|)\s*(\S+)", part.strip()).groups()
        if operator not in ("^", "~", ""):
            found.append(operator + full(version))
            continue
        given = [int(number) for number in version.split("-")[0].split(".")]
        last = min(len(given), 2) - 1 if operator == "~" else next((i for i, n in enumerate(given) if n), len(given) - 1)
        end = given[:last] + [given[last] + 1]
        found += [">=" + full(version), "<" + full(".".join(map(str, end)))]
    return ",".join(found)


def main() -> None:
    place = Path(sys.argv[1])
    commit = subprocess.run(
        ["git", "-C", place, "log", "-1", "--format=%H %cs"], check=True, capture_output=True, text=True
    ).stdout.strip()
    lines = []
    for path in sorted((place / "crates").glob("*/RUSTSEC-*.md")):
        front = tomllib.loads(path.read_text().split("```toml", 1)[1].split("```", 1)[0])
        advisory, versions = front["advisory"], front.get("versions", {})
        if "withdrawn" in advisory:
            continue
        safe = versions.get("patched", []) + versions.get("unaffected", [])
        kind = advisory.get("informational", "vulnerability")
        lines.append("\t".join([advisory["id"], advisory["package"], kind, ";".join(map(comparisons, safe))]))
    head = f"# github.com/rustsec/advisory-db {commit}, of which names and versions; public domain (CC0-1.0).\n"
    OUTPUT.write_text(head + "".join(f"{line}\n" for line in lines))
    print(f"{OUTPUT.name}: {len(lines)} advisories of {commit}")


if __name__ == "__main__":
    main()
