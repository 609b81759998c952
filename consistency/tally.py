"""What a comparison came to, in files and bytes of each kind: counts that add up.

Every path that was compared is counted once, under its kind. `expected` is what the catalog holds and nobody changed
meanwhile, `scanned` what storage showed; shares are of these two.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import polars as pl

from consistency.compare import KINDS, Kind


class Count(msgspec.Struct, frozen=True):
    """Files and their bytes; files of unknown size count no bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.files + other.files, self.bytes + other.bytes)


class Tally(msgspec.Struct, frozen=True):
    """Files and bytes of each kind, of what the catalog holds, and of what storage showed."""

    kinds: dict[Kind, Count] = msgspec.field(default_factory=lambda: dict.fromkeys(KINDS, Count()))
    expected: Count = Count()
    scanned: Count = Count()
    #: What the catalog holds below directories that could not be listed.
    unchecked: Count = Count()
    #: What both have, whatever else is said of it.
    common: Count = Count()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            {kind: self.kinds[kind] + other.kinds[kind] for kind in KINDS},
            self.expected + other.expected,
            self.scanned + other.scanned,
            self.unchecked + other.unchecked,
            self.common + other.common,
        )

    @property
    def unchecked_fraction(self) -> float:
        """The share of the catalog's files that could not be checked."""
        return self.unchecked.files / self.expected.files if self.expected.files else 0.0


def tally(rows: pl.DataFrame) -> Tally:
    """The tally of some compared rows, in the columns of `consistency/compare.py`."""
    size = pl.coalesce("size", "found_size").fill_null(0)
    steady = pl.col("in_catalog") & ~pl.col("kind").is_in(["in-flux", "excluded"])
    kinds = rows.group_by("kind").agg(pl.len(), size.sum().alias("bytes"))
    counts: Mapping[str, Count] = {kind: Count(files, total) for kind, files, total in kinds.iter_rows()}
    return Tally(
        {kind: counts.get(kind, Count()) for kind in KINDS},
        _count(rows.filter(steady), "size"),
        _count(rows.filter(pl.col("on_storage")), "found_size"),
        _count(rows.filter(steady & (pl.col("kind") == "unknown")), "size"),
        _count(rows.filter(pl.col("in_catalog") & pl.col("on_storage")), "found_size"),
    )


def _count(rows: pl.DataFrame, size: str) -> Count:
    return Count(len(rows), int(rows[size].sum()))
