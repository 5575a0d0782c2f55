#!/usr/bin/env python3
"""Runs the long tests of what qlua promises when things go wrong, and writes what they print into docs/reliability.md.

    tests/reliability.py              runs all of them in release, one after the other (about half an hour on two cores)
    tests/reliability.py LOG…         takes the output of runs made elsewhere, several of one test too: numbers are added up

A log is the output of a test binary with `--include-ignored --nocapture`, or of a fuzz target (see fuzz/README.md), whose
name is that of the file: `fuzz-NAME.log`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "reliability.md"
LONG = {
    "corruptions": [],
    "signals": ["many_runs"],
    "locks": ["many_pairs"],
    "faults": ["every_call"],
    "changing_inputs": ["hundreds"],
    "sandbox": [],
    "special_files": [],
    "bad_input": [],
}
"""The tests that say figures, with the names of those that are wanted of each file."""
LABELS = [
    "corruptions", "kills", "races", "faults", "changed sources", "special files", "hostile inputs",
    "sandbox escapes", "policy escapes", "resource attacks", "resource attacks of policies",
]
SAID = re.compile(rf"(?:^|\s)({'|'.join(sorted(LABELS, key=len, reverse=True))}): (.+)$")
NUMBER = re.compile(r"\d+(?:,\d{3})*")


def number(text: str) -> int:
    return int(text.replace(",", ""))


def added(one: str, other: str) -> str:
    """Two sentences that differ in their numbers alone, with the sums of these."""
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        raise SystemExit(f"error: these say different things and cannot be added up:\n  {one}\n  {other}")
    numbers = iter(number(a) + number(b) for a, b in zip(NUMBER.findall(one), NUMBER.findall(other)))
    return NUMBER.sub(lambda _: f"{next(numbers):,}", one)


def read(logs: list[Path]) -> tuple[dict[str, str], list[str], dict[str, list[int]]]:
    """What each label says, the lines of the table of corruptions, and runs and seconds of each fuzz target."""
    said: dict[str, str] = {}
    kinds: list[str] = []
    fuzzed: dict[str, list[int]] = {}
    for log in logs:
        text = log.read_text(errors="replace")
        if "INFO: Running with entropic power schedule" in text:
            if re.search(r"ERROR: libFuzzer|panicked at|SUMMARY: ", text):
                raise SystemExit(f"error: {log} says that an input breaks the target")
            done = re.search(r"Done (\d+) runs in (\d+) second", text) or sys.exit(f"error: {log} is not finished")
            runs = fuzzed.setdefault(log.stem.removeprefix("fuzz-").split(".")[0], [0, 0])
            runs[0] += int(done[1])
            runs[1] += int(done[2])
            continue
        if re.search(r"^test result: FAILED", text, re.M) or "test result: ok" not in text:
            raise SystemExit(f"error: {log} is not that of a test that passed")
        last: dict[str, str] = {}
        for line in text.splitlines():
            if found := SAID.search(line):
                last[found[1]] = found[2].strip()
            elif found := re.fullmatch(r"\s*(\d+) of +(\d+)  (.+)", line):
                kinds.append(f"| {found[3]} | {found[2]} | {found[1]} |")
        for label, sentence in last.items():
            said[label] = added(said[label], sentence) if label in said else sentence
    return said, kinds, fuzzed


def run_all() -> list[Path]:
    """The logs of all long tests, run here."""
    place = ROOT / "target" / "reliability"
    place.mkdir(parents=True, exist_ok=True)
    logs = []
    for test, names in LONG.items():
        log = place / f"{test}.log"
        print(f"{test} …", flush=True)
        command = ["cargo", "test", "--release", "--locked", "--test", test, "--", *names, "--nocapture"]
        command += ["--ignored"] if names else []
        with log.open("w") as file:
            subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False)
        logs.append(log)
    return logs


def replaced(document: str, mark: str, lines: list[str]) -> str:
    """The document with `lines` between the comments of `mark`."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    before, _, rest = document.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"error: {DOCUMENT} has no `{mark}`")
    return before + begin + "".join(f"{line}\n" for line in lines) + end + after


def main() -> None:
    logs = [Path(word) for word in sys.argv[1:]] or run_all()
    said, kinds, fuzzed = read(logs)
    document = DOCUMENT.read_text()
    rows = [f"| {label} | {said[label]} |" for label in LABELS if label in said]
    document = replaced(document, "figures", ["| what | the test's own line |", "|---|---|", *rows])
    if kinds:
        document = replaced(document, "corruptions", ["| kind | done | found |", "|---|---|---|", *kinds])
    if fuzzed:
        rows = [f"| `{name}` | {runs:,} | {seconds} s |" for name, (runs, seconds) in sorted(fuzzed.items())]
        document = replaced(document, "fuzzing", ["| target | runs | processor time |", "|---|---|---|", *rows])
    DOCUMENT.write_text(document)
    print(f"{DOCUMENT.relative_to(ROOT)}: {len(said)} figures, {len(kinds)} kinds of corruption, {len(fuzzed)} fuzz targets")
    for label in LABELS:
        if label not in said:
            print(f"note: nothing was said of {label}", file=sys.stderr)


if __name__ == "__main__":
    main()
