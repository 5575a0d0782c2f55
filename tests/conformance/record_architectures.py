#!/usr/bin/env python3
"""Records what the modules of every architecture are, as Transformers builds and saves them and vLLM names them, in
src/model/architectures.jsonl. With `--check` says when that file is stale: at once when other versions are pinned, else by
recording anew. `--work DIR` keeps what each line said.

Facts alone are recorded: names, classes and shapes, none of the code that they are read off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import environments
from architecture_facts import Table, candidates, document, facts_of, unexplained

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "src" / "model" / "architectures.jsonl"
LINES = {"4": "transformers-4.57", "5": "transformers"}
"""The lines of Transformers, by the first digit of their version, with the environments that have them."""


def versions() -> dict[str, str]:
    """The versions that are pinned."""
    found = {environment: environments.pinned(environment)["transformers"] for environment in LINES.values()}
    return found | {"vllm": environments.pinned("vllm")["vllm"]}


def run(environment: str, work: Path, out: str, *words: str) -> Any:
    """What a script says in `environment`, kept in `work` for the next time."""
    file = work / out
    if not file.is_file():
        made = file.with_suffix(".part")
        command = [str(environments.ensure(environment)), *(str(HERE / w) if w.endswith(".py") else w for w in words), str(made)]
        subprocess.run(command, check=True, cwd=work)
        made.rename(file)
    return json.loads(file.read_text())


def built(facts: dict[str, Any]) -> bool:
    """Whether a line could build the architecture."""
    return facts["built"] > 0


def record(work: Path) -> tuple[str, list[str]]:
    """The data file's text, and what should be known of how it was made."""
    said = {
        line: run(environment, work, f"record-{line}.json", "architecture_probe.py", "record")
        for line, environment in LINES.items()
    }
    keys = sorted({key for line in said.values() for key in line})
    lines = {key: {line: said[line][key] for line in LINES if key in said[line] and built(said[line][key])} for key in keys}
    lines = {key: of for key, of in lines.items() if of}
    names = work / "names.json"
    names.write_text(json.dumps({key: candidates(of) for key, of in lines.items()}))
    loads = {
        line: run(environment, work, f"check-{line}.json", "architecture_probe.py", "check", str(names))
        for line, environment in LINES.items()
    }
    vllm = run("vllm", work, "vllm.json", "architecture_engine.py")
    facts, tables = {}, []
    for key, of in lines.items():
        table = Table(of, {line: loads[line][key] for line in of})
        facts[key] = facts_of(table)
        tables.append((key, table))
    notes = [f"{line}: {sum(line in of for of in lines.values())} of {len(said[line])} built" for line in LINES]
    notes += [f"vLLM: {len(vllm['made'])} classes, not imported: {vllm['failed']}"]
    notes += [f"{line} {key}: not built: {said[line][key]['problems']}" for key in keys for line in LINES
              if key in said[line] and not built(said[line][key])]
    notes += [f"{line} {key}: of several kinds: {one['mixed']}" for key, of in lines.items() for line, one in of.items() if one["mixed"]]
    notes += [f"{key}: nearly a spelling: {near}" for key, table in tables for near in table.near]
    notes += unexplained(tables)
    return document(versions(), facts, chosen(lines), vllm["made"]), notes


def chosen(lines: dict[str, Any]) -> set[str]:
    """Which model type is meant by a class alone: its own, or else the first; and which class by a type alone (with a slash
    before): that of the composite model, whose configuration has the plain name where there is one for the text alone too."""
    found: dict[str, str] = {}
    newest = {key: of[max(of)] for key, of in lines.items()}
    for key in sorted(lines, key=lambda k: (not newest[k]["own"], k)):
        found.setdefault(key.split("/")[0], key)
    for key in sorted(lines, key=lambda k: (newest[k]["mapping"] != "image-text-to-text", not newest[k]["own"], k)):
        found.setdefault("/" + key.split("/")[1], f"/{key}")
    return set(found.values())


def stale(work: Path) -> list[str]:
    """What of the data file is no longer so."""
    text = DATA.read_text(encoding="utf-8")
    recorded = json.loads(text.partition("\n")[0])["versions"]
    if recorded != versions():
        return [f"{DATA.name} was recorded with {recorded}, pinned are {versions()}; run tests/conformance/record_architectures.py"]
    fresh = record(work)[0]
    then, now = set(text.splitlines()), set(fresh.splitlines())
    gone = [f"recorded, no longer so: {line[:160]}" for line in sorted(then - now)]
    return gone + [f"not recorded: {line[:160]}" for line in sorted(now - then)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="say whether the committed file is stale, and change nothing")
    arguments.add_argument("--work", type=Path, help="a folder for what each line said, which is not asked again")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = (given.work or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        if given.check:
            problems = stale(work)
            print("\n".join(problems) or f"{DATA.name} is up to date")
            sys.exit(1 if problems else 0)
        text, notes = record(work)
        DATA.write_text(text, encoding="utf-8")
        print("\n".join(notes))
        print(f"{DATA.name}: {len(text):,} bytes, {text.count(chr(10)) - 1} lines")


if __name__ == "__main__":
    main()
