"""What a policy's lines do to each other: lines that can never match because an earlier one takes all that they could.

Only what is certain is said: a line is dead when its condition implies that of an earlier line which decides for the
dataset replica as a whole. Implication is found between conditions built of comparisons with numbers, words, texts and
globs; where it cannot be seen nothing is said.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from placement.policy.dates import Moment
from placement.policy.source import Problem
from placement.policy.syntax import (
    Both,
    Comparison,
    Condition,
    Either,
    Flag,
    Line,
    Policy,
    Value,
    by_single_blocks,
)
from placement.policy.values import is_glob

#: Comparisons that hold for all less, or all greater, than a bound.
_BELOW = {"<", "<=", "older_than"}
_ABOVE = {">", ">=", "newer_than"}
_NAME = "dataset.name"


def dead_lines(policy: Policy) -> list[Problem]:
    """A warning for each line that can never match, in their order."""
    earlier = _Earlier()
    found = []
    for line in policy.lines:
        killer = earlier.that_takes_all_of(line)
        if killer is not None and line.place is not None and killer.place is not None:
            said = f"this line can never match: line {killer.place.line} takes all that it could"
            found.append(Problem(line.place, said, warning=True))
        elif _decides_for_all(line):
            earlier.add(line)
    return found


def _decides_for_all(line: Line) -> bool:
    """Whether what matches the line is gone for those behind it."""
    if line.condition is None or line.validity is not None:
        return False
    return not (line.action.by_block and by_single_blocks(line.condition))


class _Earlier:
    """The lines so far; those of single names lie under them, so that thousands cost no more than they must."""

    def __init__(self) -> None:
        self._wide: list[Line] = []
        self._by_name: dict[str, list[Line]] = {}

    def add(self, line: Line) -> None:
        names = _single_names(line.condition)
        for name in names:
            self._by_name.setdefault(name, []).append(line)
        if not names:
            self._wide.append(line)

    def that_takes_all_of(self, line: Line) -> Line | None:
        assert line.condition is not None
        narrow = (each for name in _single_names(line.condition)[:1] for each in self._by_name.get(name, ()))
        for each in (*narrow, *self._wide):
            assert each.condition is not None
            if implies(line.condition, each.condition):
                return each
        return None


def _single_names(condition: Condition | None) -> list[str]:
    """The names of datasets outside of which the condition never holds; empty where it may hold anywhere."""
    parts: Iterable[Condition | None] = condition.parts if isinstance(condition, Both) else [condition]
    for part in parts:
        if isinstance(part, Comparison) and part.variable.name == _NAME and part.operator in ("==", "in"):
            names = [value for value in part.values if isinstance(value, str)]
            if not any(map(is_glob, names)):
                return names
    return []


def implies(later: Condition, earlier: Condition) -> bool:
    """Whether whatever satisfies `later` certainly satisfies `earlier` too."""
    if later == earlier:
        return True
    if isinstance(earlier, Both):
        return all(implies(later, part) for part in earlier.parts)
    if isinstance(later, Either):
        return all(implies(part, earlier) for part in later.parts)
    if isinstance(earlier, Either) and any(implies(later, part) for part in earlier.parts):
        return True
    if isinstance(later, Both):
        return any(implies(part, earlier) for part in later.parts)
    return _leaf_implies(later, earlier)


def _leaf_implies(later: Condition, earlier: Condition) -> bool:
    if isinstance(earlier, Flag) and earlier.variable.name == "always":
        return earlier.wanted
    if isinstance(later, Flag) and later.variable.name == "never":
        return later.wanted
    if not (isinstance(later, Comparison) and isinstance(earlier, Comparison)) or later.variable != earlier.variable:
        return False
    if earlier.operator in ("==", "in") and later.operator in ("==", "in"):
        return all(any(_covers(whole, part) for whole in earlier.values) for part in later.values)
    if earlier.operator in ("!=", "notin") and later.operator in ("!=", "notin"):
        return all(any(_covers(part, whole) for part in later.values) for whole in earlier.values)
    return _bound_implies(later, earlier)


def _covers(whole: Value, part: Value) -> bool:
    """Whether everything that `part` stands for is among what `whole` stands for."""
    if whole == part:
        return True
    if isinstance(whole, str) and isinstance(part, str) and is_glob(whole):
        return whole.strip("*") == "" or (not is_glob(part) and fnmatch.fnmatchcase(part, whole))
    return False


def _bound_implies(later: Comparison, earlier: Comparison) -> bool:
    for side, sign in ((_BELOW, 1), (_ABOVE, -1)):
        if later.operator in side and earlier.operator in side:
            ours, theirs = _ordinal(later.values[0]), _ordinal(earlier.values[0])
            if ours is None or theirs is None or ours[0] != theirs[0]:
                return False
            strict = later.operator not in ("<=", ">=") or earlier.operator in ("<=", ">=")
            return ours[1] * sign < theirs[1] * sign or (ours[1] == theirs[1] and strict)
    return False


def _ordinal(value: Value) -> tuple[str, float] | None:
    """A number that orders values of one form; None for a text."""
    if isinstance(value, Moment):
        if value.day is None:
            return ("months", -value.months) if value.months else ("seconds", -value.seconds)
        year, month, day = value.day
        return "year" if year else "every year", (year * 400 + month * 32 + day) * 86_400.0 + value.seconds
    return None if isinstance(value, str) else ("number", value)
