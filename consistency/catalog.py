"""What a site's catalog says of the files at its storage, as records: every PFN that a door of the site names.

A PFN of no door of the site (another protocol's, another host's) is counted and left aside: nobody could look whether
it is there. The same file under two spellings of its URL has one path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import mmh3
import polars as pl

from consistency.parts import Parts
from consistency.records import CATALOG, normal_checksums
from reploc.errors import NameInvalid
from reploc.name_mapping import NameMapping
from reploc.sites import Site
from reploc.wire import LfnReplica

#: Files that are handed on at a time.
BATCH_FILES = 1 << 14


@dataclass
class Read:
    """What was read: mappings, those of no door with the first of them, and which directories hold files."""

    mappings: int = 0
    foreign: int = 0
    first_foreign: str = ""
    #: Digests of the directories that hold files: eight bytes each, so that a false one costs a question, no more.
    directories: set[int] = field(default_factory=set)

    def filled(self, directory: bytes) -> bool:
        """Whether the catalog has a file right in a directory; now and then it says so of one without."""
        return _digest(directory) in self.directories

    def note(self, path: bytes) -> None:
        """Takes note of the directory of a file."""
        self.directories.add(_digest(path.rpartition(b"/")[0] or b"/"))


def _digest(directory: bytes) -> int:
    return int(mmh3.hash64(directory, signed=False)[0])


class Paths:
    """The way from PFNs to paths below the root of a site's storage, through any of its doors."""

    def __init__(self, site: Site) -> None:
        self._doors: Sequence[NameMapping] = [site.mapping(door) for door in site.doors]

    def of(self, pfn: str) -> bytes | None:
        """The path of a PFN, None where it is none of the site's doors'."""
        found = (door.path_of(pfn) for door in self._doors)
        path = next((each for each in found if each is not None), None)
        return None if path is None else path.encode()

    def pfns(self, path: bytes) -> list[str]:
        """The URLs of a path at all doors; none where it is no UTF-8, which no PFN can name."""
        try:
            text = path.decode()
        except UnicodeDecodeError:
            return []
        return [door.address + (quote(text) if door.quoted else text) for door in self._doors]

    def expected(self, lfn: str) -> bytes | None:
        """Where the first door's rules put an LFN, None where they put it nowhere."""
        try:
            return self._doors[0].path(lfn).encode() if self._doors else None
        except NameInvalid:
            return None


async def read(files: AsyncIterator[LfnReplica], paths: Paths, catalog: Parts) -> Read:
    """Hands all files of a catalog to `catalog`, which has the columns of CATALOG, in whose context this runs."""
    found = Read()
    rows: list[tuple[bytes, int | None, str | None, bytes]] = []
    async for file in files:
        lfn = file.lfn.encode()
        for pfn in file.pfns:
            found.mappings += 1
            path = paths.of(pfn)
            if path is None:
                found.foreign += 1
                found.first_foreign = found.first_foreign or pfn
                continue
            found.note(path)
            rows.append((path, file.size, file.checksum, lfn))
        if len(rows) >= BATCH_FILES:
            catalog.add(frame(rows))
            rows.clear()
    catalog.add(frame(rows))
    return found


def frame(rows: Sequence[tuple[bytes, int | None, str | None, bytes]]) -> pl.DataFrame:
    """Rows of (path, size, checksum, lfn) in the columns of CATALOG."""
    made = pl.DataFrame(list(rows), schema=CATALOG, orient="row")
    return made.with_columns(normal_checksums(made["checksum"]))
