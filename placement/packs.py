"""The blocks of a dataset as two byte strings, so that a database row holds all of them.

    numbers   for each block, in the order of their ordinals, 17 bytes, little-endian:
              size i64 · files u32 · last_update u32 · flags u8
    names     the blocks' names behind the `#`, each ended by a line feed, which no name holds

Flags: 1 the block is open; 2 it has no name of its own (the dataset is its only block); 4 somebody defined it, and its
totals are what was said, not the largest that was seen.

A row per block would be clearer to who reads the table by hand, but five million of them take an SQL driver in Python
half a minute; packed they are read as arrays, and what is asked for by name is one dataset's row anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

NUMBERS = np.dtype([("size", "<i8"), ("files", "<u4"), ("last_update", "<u4"), ("flags", "u1")])
OPEN, UNNAMED, DECLARED = 1, 2, 4
#: The columns of blocks as they come out of rows; `row` says of which.
UNPACKED = ("row", "ordinal", "name", "size", "files", "last_update", "is_open", "declared")


def packed(blocks: pl.DataFrame, rows: pl.Series) -> tuple[list[bytes], list[bytes]]:
    """The numbers and names of each of the rows, of columns as `unpack` gives them, in the order of (row, ordinal)."""
    numbers = np.zeros(blocks.height, dtype=NUMBERS)
    for name in ("size", "files", "last_update"):
        numbers[name] = blocks[name].to_numpy()
    flags = ((OPEN, blocks["is_open"]), (UNNAMED, blocks["name"].is_null()), (DECLARED, blocks["declared"]))
    for flag, where in flags:
        numbers["flags"] |= np.where(where.to_numpy(), np.uint8(flag), np.uint8(0))
    places = rows.cast(pl.Int64).to_numpy()
    first = np.searchsorted(blocks["row"].to_numpy(), places) * NUMBERS.itemsize
    behind = np.searchsorted(blocks["row"].to_numpy(), places, side="right") * NUMBERS.itemsize
    whole = numbers.tobytes()
    lines = blocks.select("row", pl.col("name").fill_null("") + "\n").group_by("row").agg(pl.col("name").str.join(""))
    named = pl.DataFrame({"row": places}).join(lines, on="row", how="left", maintain_order="left")["name"].fill_null("")
    return (
        [whole[begin:end] for begin, end in zip(first.tolist(), behind.tolist(), strict=True)],
        [each.encode() for each in named],
    )


def unpack(numbers: Sequence[bytes], names: Sequence[bytes]) -> pl.DataFrame:
    """The blocks of many rows as columns: UNPACKED, in the order of rows and ordinals."""
    counts = np.fromiter(map(len, numbers), dtype=np.int64, count=len(numbers)) // NUMBERS.itemsize
    held = np.frombuffer(b"".join(numbers), dtype=NUMBERS)
    row = np.repeat(np.arange(len(counts)), counts)
    flags = held["flags"]
    lines = _lines(b"".join(names), len(held))
    return pl.DataFrame(
        {
            "row": row,
            "ordinal": (np.arange(len(held)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.uint32),
            "name": lines.set((pl.Series(flags & UNNAMED) != 0), None) if (flags & UNNAMED).any() else lines,
            "size": held["size"].astype(np.int64),
            "files": held["files"].astype(np.uint32),
            "last_update": held["last_update"].astype(np.uint32),
            "is_open": (flags & OPEN) != 0,
            "declared": (flags & DECLARED) != 0,
        },
        schema_overrides={"name": pl.String},
    )


def _lines(text: bytes, count: int) -> pl.Series:
    """The lines of a text as they stand, however many and whatever they hold."""
    if not count:
        return pl.Series("name", [], dtype=pl.String)
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    assert len(ends) == count, f"{len(ends)} names for {count} blocks"
    return pl.Series("name", [text.decode()[:-1]]).str.split("\n").explode().alias("name")
