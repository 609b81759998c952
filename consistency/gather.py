"""What a finished listing says: the files of a storage as records, and of its directories when, whether and what.

The journal of the listing (`consistency/checkpoint.py`) is read from end to end, once for the records and once for the
few directories that somebody asks about, so that memory does not grow with the storage. Only directories without files
of their own are remembered, to know which are empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from consistency import checkpoint
from consistency.checkpoint import Seen
from consistency.intervals import Intervals
from consistency.parts import Parts
from consistency.records import STORAGE, normal_checksums

#: Files that are handed on at a time.
BATCH_FILES = 1 << 15


@dataclass(frozen=True)
class EmptyDirectory:
    """A directory below which there is no file: its path, and when it was changed last (seconds since the epoch)."""

    path: bytes
    mtime: int | None


@dataclass
class Gathered:
    """What is known of the directories: those not seen whole with the reason, and those below which nothing is."""

    unseen: dict[bytes, str] = field(default_factory=dict)
    empty: list[EmptyDirectory] = field(default_factory=list)

    @property
    def unknown(self) -> Intervals:
        """What lies below directories that were not seen whole."""
        return Intervals(self.unseen)


def gather(journal: Path, storage: Parts) -> Gathered:
    """Hands all files of a journal to `storage`, which has the columns of STORAGE, in whose context this runs."""
    found, fileless = Gathered(), _Fileless()
    rows: list[tuple[bytes, int | None, str | None, int | None]] = []
    for seen in checkpoint.read(journal):
        stem = seen.path.rstrip(b"/") + b"/"
        rows.extend((stem + name, size, checksum, mtime) for name, size, mtime, checksum in seen.files)
        if len(rows) >= BATCH_FILES:
            storage.add(_frame(rows))
            rows.clear()
        if seen.state in ("failed", "partial"):
            found.unseen[seen.path] = seen.why
        fileless.note(seen, stem)
    storage.add(_frame(rows))
    found.empty = fileless.empty()
    return found


def _frame(rows: list[tuple[bytes, int | None, str | None, int | None]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=STORAGE, orient="row")
    return (
        frame.with_columns(normal_checksums(frame["checksum"]))
        if frame["checksum"].null_count() < len(frame)
        else frame
    )


def listed_at(journal: Path, paths: Iterable[bytes]) -> dict[bytes, float]:
    """When each path could last have been seen: the moment at which its directory was asked about, or where that was
    not there the nearest one above that was. Paths below nothing that was asked about are left out."""
    asked = {path: list(_above(path)) for path in paths}
    wanted = {directory for above in asked.values() for directory in above}
    moments = {seen.path: seen.listed_at for seen in checkpoint.read(journal) if seen.path in wanted}
    found = {path: next((moments[each] for each in above if each in moments), None) for path, above in asked.items()}
    return {path: moment for path, moment in found.items() if moment is not None}


def _above(path: bytes) -> Iterator[bytes]:
    """The directories above a path, the nearest first."""
    while len(path) > 1:
        path = path.rpartition(b"/")[0] or b"/"
        yield path


class _Fileless:
    """Directories that hold no file themselves: what is in them, and when they were changed."""

    def __init__(self) -> None:
        self._below: dict[bytes, list[bytes]] = {}
        self._mtimes: dict[bytes, int | None] = {}

    def note(self, seen: Seen, stem: bytes) -> None:
        """Takes note of a directory that was answered."""
        if seen.state == "listed" and not seen.files and not seen.others:
            self._below[seen.path] = [stem + name for name, _ in seen.directories]
        else:
            self._mtimes.pop(seen.path, None)
        self._mtimes.update((stem + name, mtime) for name, mtime in seen.directories)

    def empty(self) -> list[EmptyDirectory]:
        """Directories below which there is nothing but directories, the deepest first, then by name. No root is one:
        nobody has listed what it is in."""
        empty: set[bytes] = set()
        for path in sorted(self._below, key=lambda path: (-path.count(b"/"), path)):
            if path in self._mtimes and all(each in empty for each in self._below[path]):
                empty.add(path)
        deepest = sorted(empty, key=lambda path: (-path.count(b"/"), path))
        return [EmptyDirectory(path, self._mtimes[path]) for path in deepest]
