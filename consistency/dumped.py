"""A dump that a site made of its storage, in place of a listing.

A dump is of some moment between its beginning, which nobody tells, and its end, the last change of its file. So it is
taken for one of `made_within_s` before that: what was changed since is in flux or young and not judged, and a dump that
was judged already is no second run that agrees. A dump that is old, cut short, of other trees or written to while it is
read is not believed at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated

import polars as pl
from msgspec import Meta

from consistency.catalog import Read
from consistency.gather import Gathered
from consistency.intervals import Intervals
from consistency.listers import dump
from consistency.listers.dump import FIELDS, Field
from consistency.listing import Progress, Summary
from consistency.parts import Parts
from consistency.records import STORAGE
from consistency.sight import Looked
from reploc.config import Settings
from reploc.errors import DumpUnfit, InputInvalid


class DumpSettings(Settings, frozen=True):
    """A dump that a site makes of its storage."""

    site: Annotated[str, Meta(description="The site whose storage it is of.")]
    file: Annotated[
        str, Meta(description="The file; a glob pattern as its name means the one that was changed last.", min_length=1)
    ]
    fields: Annotated[tuple[Field, ...], Meta(description="What the lines hold, in order; - is passed over.")] = FIELDS
    prefix: Annotated[str, Meta(description="What stands in front of every path and is no part of it.")] = ""
    made_within_s: Annotated[
        float, Meta(description="The dump was begun at most so long before its file was changed last.", ge=0)
    ] = 86_400.0
    max_age_s: Annotated[float, Meta(description="A dump begun longer ago is not believed.", gt=0)] = 604_800.0

    def __post_init__(self) -> None:
        if "path" not in self.fields:
            raise ValueError("fields holds no path")

    def newest(self) -> Path:
        """The file. Raises DumpUnfit: there is none."""
        path = Path(self.file)
        found = [path, *path.parent.glob(path.name)]
        files = [path for path in found if path.is_file()]
        if not files:
            raise DumpUnfit(f"{self.file}: there is no such dump of {self.site}")
        return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


@dataclass(frozen=True)
class _Stamp:
    """What changes when somebody writes to a file."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> _Stamp:
        found = path.stat()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


class Dump:
    """The newest dump of a site as a run sees it: it is what the file was when this was made."""

    def __init__(
        self, settings: DumpSettings, roots: Sequence[str], now: float, progress: Progress = lambda *_: None
    ) -> None:
        """`now` is seconds since the epoch. Raises DumpUnfit: there is none, or it is too old or from the future."""
        self.path = settings.newest()
        self._stamp = _Stamp.of(self.path)
        self._settings = settings
        self._roots = [root.encode() for root in roots]
        self._progress = progress
        self.ended_at = self._stamp.mtime_ns / 1e9
        self.began_at = self.ended_at - settings.made_within_s
        self._require_of_now(now)

    def _require_of_now(self, now: float) -> None:
        if self.ended_at > now:
            raise DumpUnfit(f"{self.path}: it was changed {self.ended_at - now:.0f} s in the future: a clock is wrong")
        if (age := now - self.began_at) > self._settings.max_age_s:
            most = f"{self._settings.max_age_s:.0f} s are allowed (max_age_s)"
            raise DumpUnfit(f"{self.path}: it was begun {age:.0f} s ago at the earliest; at most {most}")

    async def see(self, _: Read, storage: Parts) -> Looked:
        """Reads the dump. Raises DumpUnfit: a line is wrong, or it is not what it was when the run began."""
        return await asyncio.to_thread(self._read, storage)

    def _read(self, storage: Parts) -> Looked:
        began, summary = time.monotonic(), Summary(doors={str(self.path): 1})
        absent = {root for root in self._roots if root != b"/"}
        try:
            for frame in dump.read(self.path, STORAGE, self._settings.fields, self._settings.prefix.encode()):
                self._require_in_one_spelling(frame["path"])
                files = frame.filter(~pl.col("path").bin.ends_with(b"/"))
                absent = {root for root in absent if not Intervals([root]).below(files["path"].sort()).any()}
                storage.add(files)
                summary.files += len(files)
                self._progress(0, summary.files, 0)
        except InputInvalid as wrong:
            raise DumpUnfit(wrong.detail) from wrong
        if _Stamp.of(self.path) != self._stamp:
            raise DumpUnfit(f"{self.path}: it was written to while it was read")
        summary.absent_roots, summary.seconds = sorted(absent), time.monotonic() - began
        return Looked(summary, Gathered())

    def _require_in_one_spelling(self, paths: pl.Series) -> None:
        held = [paths.bin.contains(each) for each in (b"//", b"/./", b"/../")]
        ends = [paths.bin.ends_with(each) for each in (b"/.", b"/..")]
        if len(odd := paths.filter(reduce(or_, held + ends))):
            raise DumpUnfit(f"{self.path}: the path {odd[0]!r} has another spelling, under which it may be named too")
        strange = paths.filter(~paths.bin.starts_with(b"/").fill_null(False))
        if len(strange):
            raise DumpUnfit(
                f"{self.path}: the path {strange[0]!r} does not begin with '/'",
                hint="what stands in front of every path is told by prefix",
            )

    def moments(self, paths: Sequence[bytes]) -> dict[bytes, float]:
        """All could have been looked at at the beginning."""
        return dict.fromkeys(paths, self.began_at)
