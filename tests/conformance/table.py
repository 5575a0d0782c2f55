#!/usr/bin/env python3
"""Writes the tables of engines from results.json: the matrix of architectures into docs/engines.md, the counts of the four main
models into the README beside this file. With `--check [FRESH]` it says when they are stale: against that file, against the versions
that are pinned, and against the results of a run just made, which may be of a sample."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matrix
import tally

HERE = Path(__file__).resolve().parent
ENGINES_PAGE = HERE.parents[1] / "docs" / "engines.md"
DETAILS = HERE / "README.md"
START, END = "<!-- conformance -->\n", "<!-- /conformance -->\n"
FAMILIES = {
    "Qwen2.5-VL": ("qwen2_5_vl", "qwen2_5_vl_blocks", "trained"), "Qwen3-VL": ("qwen3_vl", "qwen3_vl_blocks"),
    "Qwen2": ("qwen2", "qwen2_blocks"), "Llama": ("llama", "llama_blocks"),
}
DIALECTS = ("universal", "compressed-tensors", "modelopt", "fp8-block")
ENGINES = (
    ("transformers",), ("transformers-4.57",), ("vllm-compressed-tensors", "vllm-fp8"), ("vllm-modelopt",),
    ("sglang-compressed-tensors", "sglang-modelopt", "sglang-fp8"),
)
"""The columns; SGLang reads one format of each directory."""


WORDS = {letter: word for word, letter in matrix.LETTERS.items()}
COLUMNS = {
    "transformers": ("Transformers", "transformers/transformers"), "transformers-4.57": ("Transformers", "transformers-4.57/transformers"),
    "vllm": ("vLLM", "vllm/vllm"), "sglang": ("SGLang", "sglang/sglang"),
}
"""The columns of the matrix, with the versions that head them."""


def overview(results: dict) -> str:
    """The matrix as Markdown: a row for each architecture, a column for each engine."""
    titles = [f"{title} {results['versions'][key]}" for title, key in COLUMNS.values()]
    rows = [["architecture", *titles]]
    for name, line in sorted(results["matrix"].items()):
        cells = dict(part.split(" ") for part in line.split(", "))
        rows.append([f"`{name}`", *(words(cells[engine]) if engine in cells else "not run" for engine in COLUMNS)])
    return aligned(rows)


def words(letters: str) -> str:
    """A cell in words: `all`, or what is not right of what the engine reads."""
    by_word: dict[str, list[str]] = {}
    for dialect, letter in zip(matrix.DIALECTS, letters, strict=True):
        by_word.setdefault(WORDS[letter], []).append(f"`{dialect}`")
    by_word.pop("not read", None)
    if "base" in by_word:
        return "–"
    if len(by_word) == 1:
        return {"right": "all", "refused": "all refused", "wrong": "**all wrong**"}[next(iter(by_word))]
    parts = [f"**{', '.join(by_word['wrong'])} wrong**"] if "wrong" in by_word else []
    parts += [f"{', '.join(by_word['refused'])} refused"] if "refused" in by_word else []
    return "; ".join(parts)


def table(results: dict) -> str:
    """The counts as Markdown: checks that passed, of those that ran."""
    v = results["versions"]
    header = [
        "dialect", "model", f"Transformers {v['transformers/transformers']}",
        f"Transformers {v['transformers-4.57/transformers']}", f"vLLM {v['vllm/vllm']}, config.json",
        f"vLLM {v['vllm/vllm']}, hf_quant_config.json", f"SGLang {v['sglang/sglang']}",
    ]
    rows = [header]
    for dialect in DIALECTS:
        for family, models in FAMILIES.items():
            cells = [cell(results, dialect, models, engines) for engines in ENGINES]
            rows.append([dialect, family, *cells])
    return aligned(rows)


def aligned(rows: list[list[str]]) -> str:
    """Rows as a Markdown table, the first of them its header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"


def cell(results: dict, dialect: str, models: tuple[str, ...], engines: tuple[str, ...]) -> str:
    """`50 of 50` for an engine that reads the dialect, with the schemes that qlua refuses for it; a dash for a view that a
    directory does not have."""
    found = [results["cells"].get(model, {}).get(dialect, {}).get(engine) for model in models for engine in engines]
    counts = [one for one in found if one]
    passed, failed, refused = (sum(one[word] for one in counts) for word in ("passed", "failed", "refused"))
    parts = [f"{passed} of {passed + failed}"] if passed + failed else []
    parts += [f"{refused} refused"] if refused else []
    return ", ".join(parts) or ("not read" if "transformers" in engines[0] else "–")


def stale(results: dict, fresh: dict | None) -> list[str]:
    """What of the table is no longer so."""
    problems = []
    for path, text in ((ENGINES_PAGE, overview(results)), (DETAILS, table(results))):
        if text not in path.read_text(encoding="utf-8"):
            problems.append(f"{path} does not have the table of results.json; run tests/conformance/table.py")
    if results["versions"] != tally.versions():
        problems.append("results.json was made with other versions than are pinned; run tests/conformance/run.py --record")
    for model, dialects in (fresh or {"cells": {}})["cells"].items():
        for dialect, engines in dialects.items():
            for engine, counts in engines.items():
                recorded = results["cells"].get(model, {}).get(dialect, {}).get(engine)
                if recorded != counts:
                    problems.append(f"{engine} on {dialect} of {model}: recorded {recorded}, just now {counts}")
    for name, line in (fresh or {}).get("matrix", {}).items():
        if results["matrix"].get(name) != line:
            problems.append(f"{name}: recorded {results['matrix'].get(name)}, just now {line}")
    return problems


def main() -> None:
    results = json.loads((HERE / "results.json").read_text())
    if sys.argv[1:2] == ["--check"]:
        fresh = json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else None
        problems = stale(results, fresh)
        print("\n".join(problems) or "the table of engines is up to date")
        sys.exit(1 if problems else 0)
    for path, made in ((ENGINES_PAGE, overview(results)), (DETAILS, table(results))):
        before, _, rest = path.read_text(encoding="utf-8").partition(START)
        _, _, after = rest.partition(END)
        path.write_text(before + START + made + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
