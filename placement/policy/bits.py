"""Predicates as columns of bits: what holds for each site, dataset, replica or block replica, many at once.

A column holds the values of a variable at its own level: numbers, or codes into a list of words. A predicate on a
column is computed once for each word, or for each row, and read by index wherever it is needed, so that a name in a
policy costs one comparison per dataset, not one per replica, block and line.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from placement.policy import texts
from placement.policy.dates import Moment
from placement.policy.syntax import Both, Comparison, Condition, Either, Flag, OfBlocks
from placement.policy.variables import Level, Variable

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Bits: TypeAlias = NDArray[np.bool_]

_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "in": operator.eq, "notin": operator.ne,
    "<": operator.lt, "older_than": operator.lt, "<=": operator.le,
    ">": operator.gt, "newer_than": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Coded:
    """Words: `words[codes[i]]` is the value of row i; without codes row i has word i."""

    words: pl.Series
    codes: Array | None = None

    def taken(self, rows: Array) -> Coded:
        """The values of some rows."""
        return Coded(self.words, rows if self.codes is None else self.codes[rows])


Column: TypeAlias = Coded | Array


def holds(leaf: Flag | Comparison, column: Column, now_s: float) -> Bits:
    """Whether a predicate holds for each value of a column.

    No predicate holds for a number that is not there (NaN), neither a comparison nor its contrary.
    """
    if isinstance(leaf, Flag):
        assert not isinstance(column, Coded)
        return column if leaf.wanted else ~column
    if isinstance(column, Coded):
        of_words = texts.satisfying(leaf, column.words)
        return of_words if column.codes is None else of_words[column.codes]
    compared = _COMPARED[leaf.operator]
    wanted = [value.at(now_s) if isinstance(value, Moment) else value for value in leaf.values]
    found: Bits = np.asarray(compared(column, wanted[0]), dtype=np.bool_)
    for value in wanted[1:]:
        found = found & compared(column, value) if leaf.operator == "notin" else found | compared(column, value)
    contrary = leaf.operator in ("!=", "notin") and np.issubdtype(column.dtype, np.floating)
    return found & ~np.isnan(column) if contrary else found


class Columns(Protocol):
    """What conditions are asked of: columns of variables, and the way from a block replica up."""

    def column(self, variable: Variable) -> Column:
        """All values of a variable, at its own level."""

    def above(self, rows: Array | None, level: Level) -> Array | None:
        """The dataset, site or dataset replica of block replicas (None: of all); None for themselves, when all."""


def of_block_replicas(condition: Condition, columns: Columns, now_s: float = 0.0) -> Bits:
    """Whether a condition holds for each block replica by itself, shape (block replicas,).

    For conditions without `any(…)` and `all(…)`, such as those of partitions.
    """

    def of_leaf(leaf: Flag | Comparison) -> Bits:
        found = holds(leaf, columns.column(leaf.variable), now_s)
        rows = columns.above(None, leaf.variable.level)
        return found if rows is None else found[rows]

    return _joined(condition, of_leaf)


def of_datasets(condition: Condition, columns: Columns, now_s: float) -> Bits:
    """Whether a condition whose variables are all about datasets holds for each dataset, shape (datasets,)."""
    return _joined(condition, lambda leaf: holds(leaf, columns.column(leaf.variable), now_s))


def _joined(condition: Condition, of_leaf: Callable[[Flag | Comparison], Bits]) -> Bits:
    if isinstance(condition, Both | Either):
        parts = [_joined(part, of_leaf) for part in condition.parts]
        joined = np.logical_and if isinstance(condition, Both) else np.logical_or
        return np.asarray(joined.reduce(parts))
    assert not isinstance(condition, OfBlocks)
    return of_leaf(condition)
