"""Puts together what both lines of Transformers and vLLM say of an architecture, as the data file has it.

A table has the names that the newest line writes; every other spelling, and the names in memory, are replacements of prefixes.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any, Iterable

from folding import EITHER, NUMBER, Rules, apply, fold, numbers, shortest_rules, under

LINES = ("4", "5")
Probed = dict[str, Any]
Pairs = list[tuple[str, list[str]]]
"""Names of tensors on disk, each with its names in memory."""


def candidates(lines: dict[str, Probed]) -> dict[str, list[str]]:
    """The spellings on disk that may load: what each line writes, what it has in memory, without the prefix of the base model,
    and as composite models were laid out before their language model became a part of `model`."""
    found: dict[str, list[str]] = {}
    for line, facts in lines.items():
        found[f"disk{line}"] = [disk for disk, _ in facts["examples"]]
        found[f"memory{line}"] = [name for _, memory in facts["examples"] for name in memory]
    for key, names in list(found.items()):
        facts = lines[key[-1]]
        base = facts["base"]
        found[f"bare-{key}"] = [without(name, base) for name in names if base and name.startswith(f"{base}.")]
    newest = lines[max(lines)]
    memory = [name for _, names in newest["examples"] for name in names]
    if any(name.startswith("model.language_model.") for name in memory):
        found["nested"] = [nested(name) for name in memory]
        found["flat"] = [without(name.replace("model.language_model.", "model.model.", 1), "model") for name in memory]
    return found


def without(name: str, prefix: str) -> str:
    """`name` without `prefix` and the dot after it."""
    return name.removeprefix(f"{prefix}.") if prefix else name


def nested(name: str) -> str:
    """A name in memory as LLaVA's first checkpoints have it."""
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    if name.startswith("model.language_model."):
        return "language_model.model." + name.removeprefix("model.language_model.")
    return without(name, "model")


class Table:
    """The names that tensors of an architecture have, in every spelling."""

    def __init__(self, lines: dict[str, Probed], loads: dict[str, dict[str, dict[str, list[str]]]]) -> None:
        self.lines, self.loads = lines, loads
        self.rows: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        self.spellings: dict[str, dict[str, str]] = defaultdict(dict)
        self.newest = max(lines)
        for name, (memory, code) in lines[self.newest]["modules"].items():
            self.rows[name][self.newest] = (memory, code)
        for line in sorted(lines.keys() - {self.newest}):
            for name, (memory, code) in lines[line]["modules"].items():
                primary = name if name in self.rows else self.known(line, name)
                self.rows[primary or name][line] = (memory, code)
        self.stacks: set[str] = set()
        self.add_stacks()
        self.near: list[str] = []
        self.readable = self.find_spellings()
        # What a line writes it loads, though names that are split or merged in odd ways cannot be followed one by one.
        self.loads_own = self.readable.get(f"disk{self.newest}", self.newest)

    def known(self, line: str, name: str) -> str | None:
        """The name in the table of what `line` writes as `name`: what the newest line loads to the same place."""
        loaded, owners = self.loads[self.newest].get(f"disk{line}", {}), self.owners(self.newest)
        keys = {disk.removesuffix(".weight"): memories for disk, memories in loaded.items()}
        rows = [row for k, ms in keys.items() if fits(name, k) for m in ms for row in owned(owners, m.removesuffix(".weight"))]
        return only(name, rows)

    def add_stacks(self) -> None:
        """Stacks in memory that are merged from numbered experts load as they are, too."""
        for line, facts in self.lines.items():
            loaded = {fold(n.removesuffix(".weight")) for n, ms in self.loads[line].get(f"memory{line}", {}).items() if n in ms}
            for memory, code in list(facts["modules"].values()):
                if code.startswith("S") and EITHER not in memory and memory in loaded and memory not in self.rows:
                    self.rows[memory][line] = (memory, code)
                    self.stacks.add(memory)

    def owners(self, line: str) -> dict[str, list[tuple[str, str]]]:
        """The names that `line` has in memory, with the rows that they belong to, by what they are folded to."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for row, facts in self.rows.items():
            for memory in facts[line][0].split(EITHER) if line in facts else ():
                found[fold(re.sub(rf"{NUMBER}\d+", NUMBER, memory))].append((memory, row))
        return found

    def find_spellings(self) -> dict[str, str]:
        """The lines that load each spelling: all that it has names for and they have modules for."""
        readable: dict[str, str] = {}
        for line in self.lines:
            owners = self.owners(line)
            for spelling, loaded in self.loads[line].items():
                found: dict[str, str] = {}
                for disk, memories in loaded.items():
                    key = disk.removesuffix(".weight")
                    row = only(key, [row for m in memories for row in owned(owners, m.removesuffix(".weight"))])
                    name = fold_as(key, row) if row else None
                    if row and (row == name or name not in self.rows):
                        found.setdefault(row, name)
                for row, name in found.items():
                    self.spellings[spelling].setdefault(row, name)
                # Of names that differ in a number alone there are but two, so those that keep theirs may be missing.
                source = spelling[-1] if spelling[-1].isdigit() else self.newest
                known = (r for r, facts in self.rows.items() if line in facts and source in facts)
                had = {r for r in known if r not in self.stacks and not numbers(r)}
                # Experts that are stacked in memory are there, by the names of the stacks.
                stacked = {row for row in had if self.rows[row][line][0] in self.stacks & found.keys()}
                lacking = had - found.keys() - (stacked if "memory" in spelling else set())
                if spelling.startswith("bare"):
                    # The base model has no head.
                    lacking = {row for row in lacking if under(self.rows[row][line][0], self.lines[line]["base"])}
                if not lacking:
                    readable[spelling] = readable.get(spelling, "") + line
                elif len(lacking) * 4 < len(had):
                    self.near.append(f"{spelling} in {line}: all but {sorted(lacking)[:4]}")
        return readable

    def other_spellings(self) -> list[dict[str, Any]]:
        """The spellings besides the table's, as replacements of its prefixes, without those that say nothing new."""
        found: list[dict[str, Any]] = []
        seen = {(row, row): self.loads_own for row in self.rows}
        for spelling in sorted(self.readable, key=lambda s: (not s.startswith("disk"), s.startswith("bare"), s)):
            lines = self.readable[spelling]
            if all(set(lines) <= set(seen.get(pair, "")) for pair in self.spellings[spelling].items()):
                continue
            rules = shortest_rules(self.spellings[spelling])
            if rules and not any(one["rules"] == rules and set(lines) <= set(one["lines"]) for one in found):
                found.append({"lines": lines, "rules": rules})
                seen |= {pair: seen.get(pair, "") + lines for pair in self.spellings[spelling].items()}
        return found

    def memory(self, line: str) -> Rules:
        """The names in memory as replacements of the table's."""
        return shortest_rules({row: facts[line][0] for row, facts in self.rows.items() if line in facts})

    def modules(self) -> dict[str, str]:
        """The table: the last parts of names and what they are, by what comes before."""
        found: dict[str, list[str]] = defaultdict(list)
        for row, facts in sorted(self.rows.items()):
            parent, _, leaf = row.rpartition(".")
            codes = [facts[line][1] if line in facts else "-" for line in self.lines]
            code = codes[0] if len(set(codes)) == 1 else "/".join(codes)
            found[parent].append(leaf if code == "L" else f"{leaf}:{code}")
        return {parent: " ".join(leaves) for parent, leaves in found.items()}

    def experts(self) -> list[dict[str, Any]]:
        """Each mixture: where it is on disk, what an expert is made of, and which stacks in memory its parts make."""
        mixtures: dict[tuple[str, bool], dict[str, Any]] = {}
        for row, facts in sorted(self.rows.items()):
            place = re.match(rf"(.*experts?(?:\.\w+)?)\.{NUMBER}\.(.+)$", row)
            stacked = any(code.startswith("S") for _, code in facts.values())
            if not place and not stacked:
                continue
            at, part = place.groups() if place else row.rpartition(".")[::2]
            one = mixtures.setdefault((at, bool(place)), {"at": at, "numbered": bool(place), "parts": []})
            one["parts"].append(part)
            for line, (memory, code) in facts.items():
                if place and code.startswith("S"):
                    stack = memory.rpartition(".")[2]
                    one.setdefault("stacks", {}).setdefault(line, {}).setdefault(stack, []).append(part)
        return list(mixtures.values())


def fits(pattern: str, name: str) -> bool:
    """Whether `name` is one of those that `pattern` stands for."""
    parts, words = pattern.split("."), name.split(".")
    return len(parts) == len(words) and all(p == w or p.startswith(NUMBER) and w.isdigit() for p, w in zip(parts, words))


def owned(owners: dict[str, list[tuple[str, str]]], name: str) -> list[str]:
    """The rows that the module or parameter `name` in memory belongs to."""
    return [row for memory, row in owners.get(fold(name), ()) if fits(memory, name)]


def only(name: str, rows: list[str]) -> str | None:
    """The one of `rows` that is called `name`, or else ends like it, or else is the only one."""
    rows = list(dict.fromkeys(rows))
    last, count = name.rpartition(".")[2], len(numbers(fold_back(name)))
    alike = [row for row in rows if row.rpartition(".")[2] in (last, NUMBER)]
    ways = rows, [row for row in rows if fits(row, name)], alike, [row for row in alike if len(numbers(fold_back(row))) == count]
    return next((same[0] for same in ways if len(same) == 1), None)


def fold_back(name: str) -> str:
    """`name` with a number in place of each folded one."""
    return name.replace(NUMBER, "0")


def fold_as(name: str, row: str) -> str:
    """`name` folded but for the numbers that `row` keeps, counted from the end."""
    ending = reversed([part for part in row.split(".") if part.isdigit() or part == NUMBER])
    kept = [position for position, part in enumerate(ending) if part != NUMBER]
    count = len(numbers(name))
    return fold(name, frozenset(count - 1 - position for position in kept))


def facts_of(table: Table) -> dict[str, Any]:
    """All that is recorded of an architecture but its names."""
    lines = table.lines
    newest = lines[table.newest]
    facts: dict[str, Any] = {"lines": "".join(lines), "loads": table.loads_own, "modules": table.modules()}
    if others := table.other_spellings():
        facts["spellings"] = others
    if memory := {line: rules for line in lines if (rules := table.memory(line))}:
        facts["memory"] = memory
    ties = {line: lines[line]["ties"] for line in lines if lines[line]["ties"]}
    if ties:
        facts["ties"] = ties[max(ties)]
    facts["stacks"] = sorted({stack for one in lines.values() for stack in one.get("stacks", ())})
    facts["towers"] = newest["towers"]
    if newest["ignored"]:
        facts["ignored"] = newest["ignored"]
    if kept := sorted({word for one in lines.values() for word in one.get("kept", ())}):
        facts["kept"] = kept
    if experts := table.experts():
        facts["experts"] = experts
    return facts


def document(versions: dict[str, str], facts: dict[str, dict[str, Any]], chosen: set[str], vllm: dict[str, Any]) -> str:
    """The data file: a line of versions, one for each set of facts with the architectures that have it, and one for each set
    of vLLM's. Of what `chosen` names, `class/type` is meant by the class alone, and `/class/type` by the type alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key, one in sorted(facts.items()):
        groups[dumped(one)].append(key)
    lines = []
    for text, keys in groups.items():
        # What all are meant by is not said.
        names, types = [k for k in keys if k in chosen], [k for k in keys if f"/{k}" in chosen]
        head = {"of": keys} | ({"names": names} if names != keys else {}) | ({"types": types} if types != keys else {})
        lines.append(dumped(head)[:-1] + "," + text[1:])
    engines: dict[str, list[str]] = defaultdict(list)
    for name, one in sorted(vllm.items()):
        engines[dumped(one)].append(name)
    for text, names in engines.items():
        lines.append(dumped({"vllm": names})[:-1] + ("," + text[1:] if text != "{}" else "}"))
    return "\n".join([dumped({"versions": versions}), *sorted(lines)]) + "\n"


def dumped(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def unexplained(facts: Iterable[tuple[str, Table]]) -> list[str]:
    """Rows whose rules do not give back what was recorded: none, unless this program is wrong."""
    return [
        f"{name}: {row} in {line}"
        for name, table in facts
        for line in table.lines
        for rules in [table.memory(line)]
        for row, one in table.rows.items()
        if line in one and apply(rules, row) != one[line][0]
    ]
