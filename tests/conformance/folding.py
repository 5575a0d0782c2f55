"""Names of tensors with their numbers folded to `#`, and the shortest rules that turn one list of such names into another."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache
from typing import Iterable

NUMBER = "#"
EITHER = "|"
"""Between the names in memory that one tensor on disk becomes."""
MANY = 16
Row = tuple[str, tuple[str, ...], str]
"""A name on disk, its names in memory, and what it is."""
Rules = list[list[str]]


def numbers(name: str) -> list[str]:
    """The components of `name` that are numbers."""
    return [part for part in name.split(".") if part.isdigit()]


def fold(name: str, kept: frozenset[int] = frozenset()) -> str:
    """`name` with its numbers folded, but for those at the positions `kept` among the numbers."""
    position, parts = -1, []
    for part in name.split("."):
        position += part.isdigit()
        parts.append(NUMBER if part.isdigit() and position not in kept else part)
    return ".".join(parts)


def fold_rows(rows: Iterable[Row]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Folds `rows` to a name in memory and a class for each name on disk. Where names that differ in a number alone are not of
    one kind, that number is kept: the last that makes the difference. Returns the facts, and the names that no number tells
    apart, of which the most frequent kind is taken."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[fold(row[0])].append(row)
    facts: dict[str, tuple[str, str]] = {}
    mixed = []
    for pattern, group in groups.items():
        count = pattern.split(".").count(NUMBER)
        for kept in [frozenset[int](), *(frozenset([n]) for n in reversed(range(count)))]:
            parts: dict[str, list[Row]] = defaultdict(list)
            for row in group:
                parts[fold(row[0], kept)].append(row)
            found = {name: one_kind(part, kept) for name, part in parts.items()}
            # A number of a long stack is none that tells kinds apart.
            if all(found.values()) and (not kept or len(parts) <= 12):
                facts |= {name: fact for name, fact in found.items() if fact}
                break
        else:
            mixed.append(pattern)
            kinds = Counter((fold(row[1][0]), row[2]) for row in group)
            facts[pattern] = kinds.most_common(1)[0][0]
    return facts, mixed


def one_kind(rows: list[Row], kept: frozenset[int]) -> tuple[str, str] | None:
    """The name in memory and the class that all `rows` share, or nothing where they differ."""
    if len({row[2] for row in rows}) > 1 or len({tuple(fold(name) for name in row[1]) for row in rows}) > 1:
        return None
    names = []
    for n in range(len(rows[0][1])):
        name = in_terms_of_disk([(row[0], row[1][n]) for row in rows], kept)
        if name is None:
            return None
        names.append(name)
    if len(names) > MANY:
        # A tensor that is cut into many: the first stands for all.
        names = names[:1]
    return EITHER.join(names), rows[0][2]


def in_terms_of_disk(pairs: list[tuple[str, str]], kept: frozenset[int]) -> str | None:
    """The folded name in memory of names on disk: `#` where its n-th number is the n-th folded one on disk, `#n` where it is
    another, and the number itself where that is always the same."""
    disk = [[n for i, n in enumerate(numbers(name)) if i not in kept] for name, _ in pairs]
    memory = [numbers(name) for _, name in pairs]
    written, sources = [], []
    for j in range(len(memory[0])):
        column = [row[j] for row in memory]
        equal = [i for i in range(len(disk[0])) if [row[i] for row in disk] == column and i not in sources]
        following = [i for i in equal if i >= len(sources)] or equal
        if following:
            written.append(following[0])
            sources.append(following[0])
        elif len(set(column)) == 1:
            written.append(column[0])
        else:
            return None
    in_order = sources == list(range(len(sources)))
    words = iter(n if isinstance(n, str) else NUMBER if in_order else f"{NUMBER}{n + 1}" for n in written)
    return ".".join(next(words) if part.isdigit() else part for part in pairs[0][1].split("."))


def apply(rules: Rules, name: str) -> str:
    """`name` with the longest prefix replaced for which there is a rule."""
    best = max((r for r in rules if under(name, r[0])), key=lambda r: len(r[0]), default=["", ""])
    return joined(best[1], name[len(best[0]):].lstrip("."))


def under(name: str, prefix: str) -> bool:
    """Whether `name` is `prefix` or inside it."""
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def joined(prefix: str, rest: str) -> str:
    """Both with a dot between them, where both are."""
    return f"{prefix}.{rest}" if prefix and rest else prefix or rest


def shortest_rules(pairs: dict[str, str]) -> Rules:
    """The fewest replacements of prefixes that turn every key of `pairs` into its value, the longest prefix first served."""
    keys = sorted(pairs)

    @lru_cache(maxsize=None)
    def solve(prefix: str, inherited: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        inside = [key for key in keys if under(key, prefix)]
        if all(apply([list(inherited)], key) == pairs[key] for key in inside):
            return ()
        candidates = Counter(c for key in inside if (c := replacement(prefix, key, pairs[key])) is not None)
        options = [inherited] + [(prefix, c) for c, _ in candidates.most_common(2) if (prefix, c) != inherited]
        depth = len(prefix.split(".")) if prefix else 0
        children = sorted({".".join(key.split(".")[: depth + 1]) for key in inside} - {prefix})
        best: tuple[tuple[str, str], ...] | None = None
        for rule in options:
            if prefix in pairs and apply([list(rule)], prefix) != pairs[prefix]:
                continue
            found = (() if rule == inherited else (rule,)) + tuple(r for child in children for r in solve(child, rule))
            if best is None or len(found) < len(best):
                best = found
        return best if best is not None else ((prefix, pairs[prefix]),)

    return [list(rule) for rule in sorted(solve("", ("", "")))]


def replacement(prefix: str, key: str, value: str) -> str | None:
    """What has to stand for `prefix` for `key` to become `value`, or nothing where their ends differ."""
    rest = key[len(prefix):].lstrip(".")
    if not rest:
        return value
    if value == rest:
        return ""
    return value[: -len(rest) - 1] if value.endswith(f".{rest}") else None
