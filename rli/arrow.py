"""Totals of collections as an Arrow IPC stream, the one place where an index node meets Polars."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import polars as pl

from reploc.holdings import COLUMNS
from reploc.totals import Numbers


def stream(names: Sequence[bytes], numbers: Numbers) -> bytes:
    """Rows of names and their totals, shape (3, n), as the bytes of a stream of `COLUMNS`; text as large UTF-8."""
    columns = [pl.Series(COLUMNS[0], [name.decode() for name in names], dtype=pl.String)]
    columns += [pl.Series(column, values) for column, values in zip(COLUMNS[1:], numbers, strict=True)]
    out = BytesIO()
    pl.DataFrame(columns).write_ipc_stream(out, compat_level=pl.CompatLevel.oldest())
    return out.getvalue()
