"""What decisions saw, as texts: a value for each of many, or for the blocks of each part the least and the greatest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from placement.detox.cycle import Cycle, Departures
from placement.detox.runs import Keys
from placement.policy.bits import Coded, Column
from placement.policy.syntax import Line, variables_of
from placement.policy.variables import Kind, Level, Variable

#: Significant digits of numbers.
_DIGITS = 6


def shown_values(variable: Variable, column: Column) -> pl.Series:
    """The values of a variable as texts."""
    if isinstance(column, Coded):
        return column.words if column.codes is None else column.words.gather(column.codes)
    series = pl.Series(np.asarray(column))
    if variable.kind is Kind.TIME:
        return pl.from_epoch(series.cast(pl.Int64), time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    if series.dtype.is_float():
        series = series.round_sig_figs(_DIGITS)
    return series.cast(pl.String)


class BlockValues:
    """What lines saw of blocks: of each row that is recorded, the values that its line asks for.

    `rows` are those rows, `lines` the numbers of their lines. A value that changes in the course of a cycle is that of
    the end, or, of a row that goes, that of its going.
    """

    def __init__(self, cycle: Cycle, rows: Keys, lines: Keys) -> None:
        self._cycle, self._rows, self._lines = cycle, rows, lines
        #: The variables, each with the numbers of the lines that ask for it.
        self._asked: dict[Variable, list[int]] = {}
        for number, line in enumerate(cycle.policy.lines):
            for variable in of_blocks(line):
                self._asked.setdefault(variable, []).append(number)

    def columns(self) -> list[pl.Series]:
        """A column for each variable, null where the row's line does not ask for it."""
        return [self._column(variable, numbers).alias(variable.name) for variable, numbers in self._asked.items()]

    def aggregates(self) -> list[pl.Expr]:
        """The least and greatest value of each column in a group of rows; of booleans, how many hold."""
        found = []
        for variable in self._asked:
            column = pl.col(variable.name)
            found.append(column.min().alias(f"{variable.name} least"))
            found.append(column.max().alias(f"{variable.name} greatest"))
            if variable.kind is Kind.BOOLEAN:
                found.append(column.sum().alias(f"{variable.name} holding"))
        return found

    @staticmethod
    def shown(variable: Variable, parts: pl.DataFrame) -> pl.Series:
        """The texts for some groups: one value where all are equal, `least..greatest`, or `n/m true`."""
        ends = [parts[f"{variable.name} {which}"] for which in ("least", "greatest")]
        words = [each if each.dtype == pl.String else shown_values(variable, each.to_numpy()) for each in ends]
        frame = pl.DataFrame({"least": words[0], "greatest": words[1], "blocks": parts["blocks"]})
        between = pl.concat_str("least", pl.lit(".."), "greatest")
        if variable.kind is Kind.BOOLEAN:
            frame = frame.with_columns(parts[f"{variable.name} holding"].alias("holding"))
            between = pl.concat_str("holding", pl.lit("/"), "blocks", pl.lit(" true"))
        one = pl.col("least") == pl.col("greatest")
        return frame.select(pl.when(one).then("least").otherwise(between)).to_series()

    def _column(self, variable: Variable, numbers: Sequence[int]) -> pl.Series:
        chosen = np.flatnonzero(np.isin(self._lines, numbers))
        rows = self._rows[chosen]
        values = self._cycle.conditions.row_values(variable, rows)
        found = _comparable(variable, values)
        for departures in (self._cycle.gone, self._cycle.reowned):
            found = _as_they_went(variable, departures, rows, found)
        whole = pl.Series([None], dtype=found.dtype).new_from_index(0, len(self._rows))
        return whole.scatter(chosen, found) if len(chosen) else whole


def of_blocks(line: Line) -> list[Variable]:
    """The variables about single blocks that a line asks for, in the order of their names."""
    asked = variables_of(line.condition) if line.condition is not None else frozenset()
    return sorted((each for each in asked if each.level is Level.BLOCK), key=str)


def _as_they_went(variable: Variable, departures: Departures, rows: Keys, found: pl.Series) -> pl.Series:
    """With the values of rows that went as they were then; those that cannot change were not noted."""
    noted = [
        (part, seen.blocks[variable])
        for part, seen in zip(departures.rows, departures.seen, strict=True)
        if variable in seen.blocks
    ]
    if not noted:
        return found
    went = np.concatenate([part for part, _ in noted])
    values = pl.concat(
        [shown_values(variable, each) if isinstance(each, Coded) else pl.Series(each) for _, each in noted]
    )
    order = np.argsort(went, kind="stable")
    at = np.minimum(np.searchsorted(went[order], rows), len(went) - 1)
    here = np.flatnonzero(went[order][at] == rows)
    return found.scatter(here, values.gather(order[at[here]]).cast(found.dtype)) if len(here) else found


def _comparable(variable: Variable, column: Column) -> pl.Series:
    """Values that have a least one: words as texts, numbers as they are."""
    return shown_values(variable, column) if isinstance(column, Coded) else pl.Series(column)
