"""Policies for tests: the paper's example, and ones drawn by chance from the whole grammar."""

from __future__ import annotations

from random import Random

from placement.policy.dates import moment
from placement.policy.syntax import (
    ACTIONS,
    Both,
    Comparison,
    Condition,
    Either,
    Flag,
    Line,
    OfBlocks,
    OrderKey,
    Policy,
    SiteLine,
    Validity,
)
from placement.policy.values import OPERATORS
from placement.policy.variables import VARIABLES, Kind, Level, Variable

EXAMPLE = """
Partition Physics
On site.name in [*]
When site.occupancy > 0.9
Until site.occupancy < 0.85
Delete dataset.status == INVALID

Protect dataset.on_tape != FULL
Dismiss dataset.usage_rank > 200
Protect
Order decreasing dataset.usage_rank \\
  increasing replica.size
"""

_TEXTS = ["/A/B/C", "/*/RAW", "x y", "and", "a#b", 'say "x"', "back\\slash", "[a]*", "a)", "#", "A or B", "ü", "a,"]
_TIMES = ["90 days ago", "3 months ago", "2018-03-01", "January 1", "2018-03-01 12:30"]
_NUMBERS = [0.0, 0.5, 1.0, 3.0, -2.0, 1e12, 123456789.0]


def drawn_policy(rng: Random) -> Policy:
    """Any policy that the grammar allows."""
    sites = [tuple(SiteLine(_condition(rng, [Level.SITE], 2)) for _ in range(rng.randint(1, 2))) for _ in range(3)]
    actions = list(ACTIONS.values())
    lines = tuple(
        Line(rng.choice(actions), _condition(rng, list(Level), 3), rng.choice([None, None, _validity(rng)]))
        for _ in range(rng.randrange(6))
    )
    keys = [each for each in VARIABLES.values() if each.kind.is_number and each.level is not Level.BLOCK]
    order = tuple(OrderKey(rng.choice(keys), rng.random() < 0.5) for _ in range(rng.randrange(3)))
    return Policy("P", *sites, lines, Line(rng.choice(actions)), order, rng.random() < 0.5)


def _validity(rng: Random) -> Validity:
    return Validity(rng.choice(["until", "from"]), moment(rng.choice(_TIMES)))


def _condition(rng: Random, levels: list[Level], depth: int) -> Condition:
    kind = rng.randrange(6) if depth else 0
    if kind == 5 and Level.BLOCK in levels:
        return OfBlocks(rng.random() < 0.5, _condition(rng, levels, depth - 1))
    if kind in (3, 4):
        parts = tuple(_condition(rng, levels, depth - 1) for _ in range(rng.randint(2, 3)))
        # What is joined by the same word is one condition of more parts.
        made = Both if kind == 3 else Either
        flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, made) else (part,)))
        return made(flat)
    return _predicate(rng, rng.choice([each for each in VARIABLES.values() if each.level in levels]))


def _predicate(rng: Random, variable: Variable) -> Condition:
    if variable.kind is Kind.BOOLEAN:
        return Flag(variable, rng.random() < 0.5)
    operator = rng.choice(OPERATORS[variable.kind])
    count = rng.randint(1, 3) if operator in ("in", "notin") else 1
    return Comparison(variable, operator, tuple(_value(rng, variable, operator) for _ in range(count)))


def _value(rng: Random, variable: Variable, operator: str):
    if variable.words:
        return rng.choice(variable.words)
    if variable.kind is Kind.TIME:
        return moment(rng.choice(_TIMES))
    if variable.kind is Kind.TEXT:
        return "/A.*[0-9]" if operator in ("=~", "!=~") else rng.choice(_TEXTS)
    return rng.choice(_NUMBERS)
