"""Rows of a table, put and deleted many at once in the order of their keys, which touches each page once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from lrc.store import Transaction
from reploc.errors import StoreDamaged

#: One row of a table: key and value.
Row: TypeAlias = tuple[bytes, bytes]


def put(txn: Transaction, table: object, rows: list[Row]) -> None:
    """Put rows; where a key has one value, it takes the place of the one before."""
    if rows:
        rows.sort()
        with txn.cursor(table) as cursor:  # type: ignore[arg-type]
            cursor.putmulti(rows)


def delete(txn: Transaction, table: object, rows: Iterable[Row]) -> None:
    """Delete rows that must be there; an empty value stands for all of a key. StoreDamaged where one is not."""
    for key, value in sorted(rows):
        if not txn.delete(key, value, db=table):  # type: ignore[arg-type]
            raise StoreDamaged(f"an index row that a record implies is not there: {key[:80]!r}")
