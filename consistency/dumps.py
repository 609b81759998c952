"""Comparing dumps alone, where a site or a catalog can only give files: no listing, no log of changes, no history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast, get_args

import polars as pl

from consistency.compare import FINDINGS, NO_CHANGES, Rules, compared
from consistency.listers.dump import FIELDS, Field, read
from consistency.parts import Parts, compact, parts_for
from consistency.records import CATALOG, STORAGE
from consistency.tally import Tally, tally
from reploc.errors import InputInvalid

__all__ = ["FIELDS", "Found", "compare", "fields"]

#: Bytes of a line of a usual dump, as it is and compressed: enough to know how many parts suit it.
LINE_BYTES, PACKED_LINE_BYTES = 90, 25
#: No file is too young: a dump says nothing of when it was made.
NEVER = 1 << 62


@dataclass(frozen=True)
class Found:
    """What a comparison came to; `findings` by ascending path, in the columns of `consistency/compare.py`."""

    tally: Tally
    findings: pl.DataFrame

    def paths(self, kind: str) -> Iterator[bytes]:
        """The paths of one kind, ascending."""
        yield from self.findings.filter(pl.col("kind") == kind)["path"]


def fields(told: str) -> tuple[Field, ...]:
    """The fields of a line, commas between them. Raises InputInvalid: one is unknown, or there is no path."""
    names = tuple(told.split(","))
    if strange := [name for name in names if name not in get_args(Field)]:
        raise InputInvalid(f"field {strange[0]!r}; expected {', '.join(get_args(Field))}")
    if "path" not in names:
        raise InputInvalid(f"the fields {told!r} hold no path")
    return cast(tuple[Field, ...], names)


def compare(
    before: Path, storage: Path, after: Path | None, order: Sequence[Field] = FIELDS, work: Path | None = None
) -> Found:
    """Compares a catalog's dump with a storage's; what differs between two dumps of the catalog is in flux.

    Raises InputInvalid: a dump cannot be read as such.
    """
    count = parts_for(max(map(_lines, (before, storage))))
    with TemporaryDirectory(prefix="reploc-compare-", dir=work) as folder:
        lists = [
            _dealt(path, Path(folder) / name, schema, order, count)
            for path, name, schema in ((before, "before", CATALOG), (storage, "storage", STORAGE))
        ]
        later = _dealt(after, Path(folder) / "after", CATALOG, order, count) if after else None
        total, findings = Tally(), []
        for number in range(count):
            second = later.part(number) if later else None
            rows = compared(lists[0].part(number), lists[1].part(number), second, NO_CHANGES, Rules(NEVER))
            total += tally(rows)
            findings.append(compact(rows.filter(pl.col("kind").is_in(list(FINDINGS)))))
        return Found(total, pl.concat(findings).sort("path"))


def _lines(path: Path) -> int:
    """How many lines a dump has, roughly."""
    return path.stat().st_size // (LINE_BYTES if path.suffix in (".tsv", ".csv", ".txt") else PACKED_LINE_BYTES)


def _dealt(path: Path, folder: Path, schema: pl.Schema, order: Sequence[Field], count: int) -> Parts:
    with Parts(folder, schema, count) as dealt:
        for frame in read(path, schema, order):
            dealt.add(frame)
    return dealt
