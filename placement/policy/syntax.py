"""A policy as frozen values, and its text again: what is printed parses to the same policy.

`docs/policy.md` has the language, which is that of the Dynamo paper, section 4.1. Equality leaves out where a line
stood and how it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from placement.policy.dates import Moment
from placement.policy.lexer import STOP_WORDS
from placement.policy.source import Place
from placement.policy.variables import Level, Variable

Value: TypeAlias = float | str | Moment

#: A text that needs no quotes behind an operator, and one that needs none in a list.
_BARE = re.compile(r'[^\s"#()\\][^\s"#()\\]*( [^\s"#()\\]+)*')
_BARE_ELEMENT = re.compile(r'[^\s"#\[\]\\,]+')


class Decision(Enum):
    """What a line does with what it matches."""

    IGNORE = "Ignore"
    PROTECT = "Protect"
    DELETE = "Delete"
    DISMISS = "Dismiss"


@dataclass(frozen=True)
class Action:
    """A decision about a dataset replica, or about single blocks of it."""

    decision: Decision
    by_block: bool = False

    def __str__(self) -> str:
        return self.decision.value + ("Block" if self.by_block else "")


ACTIONS = {
    str(action): action
    for action in [
        *(Action(decision) for decision in Decision),
        *(Action(decision, by_block=True) for decision in Decision if decision is not Decision.IGNORE),
    ]
}


@dataclass(frozen=True)
class Flag:
    """A boolean variable, or its contrary."""

    variable: Variable
    wanted: bool = True

    def __str__(self) -> str:
        return str(self.variable) if self.wanted else f"not {self.variable}"


@dataclass(frozen=True)
class Comparison:
    """A comparison with one value, or with each of a list (`in`, `notin`)."""

    variable: Variable
    operator: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        if self.operator in ("in", "notin"):
            return f"{self.variable} {self.operator} [{' '.join(map(_element, self.values))}]"
        return f"{self.variable} {self.operator} {_printed(self.values[0])}"


@dataclass(frozen=True)
class Both:
    """All parts hold."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(f"({part})" if isinstance(part, Both | Either) else str(part) for part in self.parts)


@dataclass(frozen=True)
class Either:
    """At least one part holds."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(f"({part})" if isinstance(part, Either) else str(part) for part in self.parts)


@dataclass(frozen=True)
class OfBlocks:
    """The condition holds for the same block together: for any block of the dataset replica, or for all."""

    every: bool
    part: Condition

    def __str__(self) -> str:
        return f"{'all' if self.every else 'any'}({self.part})"


Condition: TypeAlias = Flag | Comparison | Both | Either | OfBlocks


@dataclass(frozen=True)
class Validity:
    """The line holds only until, or only from, a moment."""

    word: str
    moment: Moment

    def __str__(self) -> str:
        return f"{self.word} {self.moment.text}"

    def holds(self, now_s: float) -> bool:
        """Whether a line holds in a run whose clock shows `now_s`."""
        return (now_s < self.moment.at(now_s)) == (self.word == "until")


@dataclass(frozen=True)
class Line:
    """An action and what it applies to; without a condition it is the default. `text` is as it was written."""

    action: Action
    condition: Condition | None = None
    validity: Validity | None = None
    place: Place | None = field(default=None, compare=False)
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.action, self.condition, self.validity) if part is not None)


@dataclass(frozen=True)
class SiteLine:
    """A condition on sites."""

    condition: Condition
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True)
class OrderKey:
    """One key by which candidates are ordered."""

    variable: Variable
    decreasing: bool

    def __str__(self) -> str:
        return f"{'decreasing' if self.decreasing else 'increasing'} {self.variable}"


@dataclass(frozen=True)
class Policy:
    """What a run does: for which partition, at which sites, from when until when, and with what.

    `lines` are tried in their order, then `default` decides.
    """

    partition: str
    on: tuple[SiteLine, ...]
    when: tuple[SiteLine, ...]
    until: tuple[SiteLine, ...]
    lines: tuple[Line, ...]
    default: Line
    order: tuple[OrderKey, ...] = ()
    iterative: bool = True

    def __str__(self) -> str:
        sites = (("On", self.on), ("When", self.when), ("Until", self.until))
        return "\n".join(
            [
                f"Partition {self.partition}",
                *(f"{word} {line.condition}" for word, lines in sites for line in lines),
                *map(str, (*self.lines, self.default)),
                f"Order {' '.join(map(str, self.order)) or 'none'}",
                f"Algo {'Iterative' if self.iterative else 'Static'}",
                "",
            ]
        )

    def variables(self) -> set[Variable]:
        """Every variable that the policy names."""
        conditions = [line.condition for line in (*self.on, *self.when, *self.until)]
        conditions += [line.condition for line in self.lines if line.condition is not None]
        named = {each for condition in conditions for each in variables_of(condition)}
        return named | {key.variable for key in self.order}


def leaves(condition: Condition) -> Iterator[Flag | Comparison]:
    """Every predicate of a condition, from left to right."""
    if isinstance(condition, Flag | Comparison):
        yield condition
    elif isinstance(condition, OfBlocks):
        yield from leaves(condition.part)
    else:
        for part in condition.parts:
            yield from leaves(part)


def variables_of(condition: Condition) -> set[Variable]:
    """The variables that a condition names."""
    return {leaf.variable for leaf in leaves(condition)}


def by_single_blocks(condition: Condition) -> bool:
    """Whether the condition can hold for some blocks of a dataset replica and not for others."""
    if isinstance(condition, Flag | Comparison):
        return condition.variable.level is Level.BLOCK
    return isinstance(condition, Both | Either) and any(by_single_blocks(part) for part in condition.parts)


def _printed(value: Value) -> str:
    if isinstance(value, Moment):
        return value.text
    if isinstance(value, str):
        plain = _BARE.fullmatch(value) and not set(value.split(" ")) & set(STOP_WORDS)
        return value if plain else _quoted(value)
    return repr(int(value)) if value == int(value) else repr(value)


def _element(value: Value) -> str:
    text = _printed(value) if not isinstance(value, str) else value
    return text if _BARE_ELEMENT.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
