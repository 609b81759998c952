"""Tables that operators keep beside the service: CSV, NDJSON or Parquet, read whole and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from reploc.errors import InputInvalid

_READERS: dict[str, Callable[[str], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".parquet": pl.read_parquet,
    ".ndjson": pl.read_ndjson,
    ".jsonl": pl.read_ndjson,
}


def read(path: str, columns: Mapping[str, pl.DataType], others: pl.DataType | None = None) -> pl.DataFrame:
    """The rows of a file by its ending (.csv, .parquet, .ndjson, .jsonl), columns cast to their types.

    `others`: the type of columns that are not named; None leaves them out. Raises InputInvalid: it cannot be read, a
    column is missing, or holds what does not fit.
    """
    reader = _READERS.get(Path(path).suffix)
    if reader is None:
        raise InputInvalid(f"{path}: expected a file that ends in .csv, .parquet, .ndjson or .jsonl")
    try:
        frame = reader(path)
    except (OSError, pl.exceptions.PolarsError) as wrong:
        raise InputInvalid(f"{path}: {str(wrong).splitlines()[0]}") from wrong
    if missing := sorted(set(columns) - set(frame.columns)):
        raise InputInvalid(f"{path}: column {missing[0]!r} is missing; expected {', '.join(columns)}")
    kinds = {name: columns.get(name, others) for name in frame.columns}
    chosen = {name: kind for name, kind in kinds.items() if kind is not None}
    try:
        held: pl.DataFrame = frame.select(pl.col(name).cast(kind) for name, kind in chosen.items())
    except pl.exceptions.PolarsError as wrong:
        raise InputInvalid(f"{path}: {str(wrong).splitlines()[0]}") from wrong
    for name in columns:
        if held[name].null_count():
            raise InputInvalid(f"{path}: column {name!r} lacks {held[name].null_count():,} values")
    return held
