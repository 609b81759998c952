"""Definitions of partitions: `Name: condition` over block replicas, or `Name: [Sub1, Sub2]`, one a line.

Partitions may overlap. One that is made of others holds what any of them holds; a part is a condition, never made of
parts itself (Dynamo paper, section 2.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from placement.policy import source
from placement.policy.lexer import LogicalLine, Token, logical_lines
from placement.policy.parser import parse_condition
from placement.policy.source import Problem, nearest
from placement.policy.syntax import Both, Condition, Either, OfBlocks, leaves
from placement.policy.variables import INVENTORY, Level
from reploc.errors import PolicyInvalid

#: What a partition's condition may ask: what a block replica is by itself, not what it is beside others.
LEVELS = frozenset({Level.BLOCK, Level.DATASET, Level.SITE})
_DEFINITION = re.compile(r"([^:]+?)[ \t]*:[ \t]*(.*)")


@dataclass(frozen=True)
class Definition:
    """One partition: a condition with its text, or the names of its parts."""

    name: str
    condition: Condition | None
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.condition if self.condition is not None else '[' + ', '.join(self.parts) + ']'}"


def parse_partitions(text: str, file: str = "partitions") -> tuple[Definition, ...]:
    """The partitions that a text defines. Raises PolicyInvalid with every problem of it."""
    problems: list[Problem] = []
    found: dict[str, Definition] = {}
    lines: dict[str, LogicalLine] = {}
    for line in logical_lines(text, file):
        definition = _definition(line, problems)
        if definition is None:
            continue
        if definition.name in found:
            problems.append(line.problem(Token("", 0, len(definition.name)), f"{definition.name!r} is defined twice"))
        found[definition.name], lines[definition.name] = definition, line
    for name, definition in found.items():
        for part in definition.parts:
            if part not in found:
                said = f"unknown partition {part!r}{nearest(part, found)}"
                problems.append(lines[name].problem(Token("", 0, len(lines[name].text)), said))
            elif found[part].condition is None:
                said = f"{part!r} is made of parts itself"
                problems.append(lines[name].problem(Token("", 0, len(lines[name].text)), said, "a condition there"))
    source.refuse(problems)
    return tuple(found.values())


def partition_condition(text: str, name: str) -> Condition:
    """The condition of one partition. Raises PolicyInvalid: it is none, or asks what a partition may not."""
    condition = parse_condition(text, f"partition {name}", LEVELS)
    source.refuse(_unfit(condition, next(iter(logical_lines(text, f"partition {name}")))))
    return condition


def _definition(line: LogicalLine, problems: list[Problem]) -> Definition | None:
    whole = Token(line.text, 0, len(line.text))
    found = _DEFINITION.fullmatch(line.text)
    if found is None:
        problems.append(line.problem(whole, "this defines no partition", "`Name: condition` or `Name: [Sub1, Sub2]`"))
        return None
    name, said = found.groups()
    if said.startswith("["):
        parts = tuple(part for part in map(str.strip, said.strip("[]").split(",")) if part)
        if not said.endswith("]") or not parts:
            problems.append(line.problem(whole, f"the parts of {name!r} are no list", "`[Sub1, Sub2]`"))
            return None
        return Definition(name, None, parts)
    try:
        return Definition(name, partition_condition(said, name))
    except PolicyInvalid as wrong:
        problems.append(line.problem(Token(said, found.start(2), len(line.text)), wrong.detail))
        return None


def _of_blocks_together(condition: Condition) -> bool:
    if isinstance(condition, Both | Either):
        return any(_of_blocks_together(part) for part in condition.parts)
    return isinstance(condition, OfBlocks)


def _unfit(condition: Condition, line: LogicalLine) -> list[Problem]:
    whole = Token(line.text, 0, len(line.text))
    asked = [leaf.variable for leaf in leaves(condition)]
    wrong = [variable for variable in asked if variable.volatile or variable.producer != INVENTORY]
    if _of_blocks_together(condition):
        return [line.problem(whole, "`any` and `all` look at other blocks", "what a block replica is by itself")]
    said = "changes with other replicas, or comes from a producer"
    return [line.problem(whole, f"{each} {said}", "what a block replica is by itself") for each in wrong]
