"""The scan of a directory tree into a catalog: every regular file is measured and registered, a batch at a time.

A batch of files is walked, measured by several threads, looked up, and what the catalog does not hold just so is put.
Several batches are under way at once and no more, so that memory does not grow with the tree, and nothing that is
registered already costs a write: a scan that was stopped is simply run again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from lrc.tools.access import Access
from lrc.tools.measure import Algorithm, Measured, measured
from lrc.tools.naming import Naming, shown
from lrc.tools.pipeline import each_as_it_comes
from lrc.tools.tree import FoundFile, Kind, Seen, Trouble, Walk
from reploc.client.batches import ITEMS
from reploc.wire import MappingItem, Replica, Replicas

#: Troubles that a summary tells in words; all are counted.
TROUBLES_TOLD_MAX = 100

Checksum: TypeAlias = Literal["none"] | Algorithm
#: Told how many files and bytes more are done; from any thread.
Progress: TypeAlias = Callable[[int, int], None]


class Summary(Struct, frozen=True):
    """What a scan did.

    `files` counts the regular files that it found under a name, `bytes` the bytes of those that were measured. Each
    file is `registered` (new, or with an attribute that is new), `already_there`, `refused`, `changed` while it was
    looked at, or `unreadable`. What has no name that a catalog takes is `unnamed`; directories that could not be listed
    are `unreadable` too. `troubles` tells at most 100.
    """

    site: str
    position: int
    files: int
    bytes: int
    registered: int
    already_there: int
    refused: int
    unnamed: int
    unreadable: int
    changed: int
    directories: int
    links: int
    specials: int
    excluded: int
    seconds: float
    files_per_s: float
    bytes_per_s: float
    troubles: list[str]

    @property
    def complete(self) -> bool:
        """Whether everything that was found is registered."""
        return not (self.refused or self.unnamed or self.unreadable or self.changed)


class _Item(NamedTuple):
    """A file that was measured, as it is to be registered."""

    path: bytes
    mapping: MappingItem


class _Stopped(Exception):
    """The scan has ended early, and nobody wants the rest of a file."""


@dataclass
class _Tally:
    files: int = 0
    bytes: int = 0
    registered: int = 0
    already_there: int = 0
    position: int = 0
    counts: dict[Kind, int] = field(default_factory=lambda: {"refused": 0, "unnamed": 0, "unreadable": 0, "changed": 0})
    told: list[str] = field(default_factory=list)

    def trouble(self, trouble: Trouble) -> None:
        self.counts[trouble.kind] += 1
        if len(self.told) < TROUBLES_TOLD_MAX:
            self.told.append(f"{shown(trouble.path) if trouble.path else 'the root'}: {trouble.words}")


@dataclass(frozen=True)
class Options:
    """How files are measured, and whether another size, checksum or collection than is registered takes its place."""

    checksum: Checksum = "adler32"
    workers: int = 4
    update: bool = False


class Scan:
    """One scan of the tree at `root`, an absolute path, into a catalog; `run` it once."""

    def __init__(self, root: bytes, naming: Naming, access: Access, options: Options, progress: Progress) -> None:
        self._walk = Walk(root, naming)
        self._access = access
        self._options = options
        self._progress = progress
        self._tally = _Tally()
        self._stopped = threading.Event()

    async def run(self) -> Summary:
        """Register the tree. Raises what keeps the catalog from being written; what is registered then stays so."""
        started = time.monotonic()
        origin = await self._access.origin()
        self._tally.position = origin.position
        with ThreadPoolExecutor(self._options.workers, thread_name_prefix="scan") as pool:
            try:
                await each_as_it_comes(self._batches(), lambda batch: self._register(pool, batch))
            finally:
                self._stopped.set()
        return self._summary(origin.site, time.monotonic() - started)

    async def _batches(self) -> AsyncIterator[Sequence[Seen]]:
        """The walk, a batch at a time, each in a thread: a directory may take long to answer."""
        walk = iter(self._walk)
        while batch := await asyncio.to_thread(lambda: list(islice(walk, ITEMS))):
            yield batch

    async def _register(self, pool: ThreadPoolExecutor, batch: Sequence[Seen]) -> None:
        files = []
        for seen in batch:
            if isinstance(seen, Trouble):
                self._tally.trouble(seen)
            else:
                files.append(seen)
        self._tally.files += len(files)
        items = await self._measured(pool, files)
        self._tally.bytes += sum(item.mapping.size or 0 for item in items)
        if items:
            await self._put(items)
        self._progress(len(files), 0)

    # ---- measuring ---------------------------------------------------------------------------------------------------

    async def _measured(self, pool: ThreadPoolExecutor, files: Sequence[FoundFile]) -> list[_Item]:
        algorithm = self._options.checksum
        if algorithm == "none":
            self._progress(0, sum(file.size for file in files))
            return [_item(file, file.size, None) for file in files]
        loop = asyncio.get_running_loop()
        outcomes: dict[int, Measured | Trouble] = {}
        # Threads take files from one iterator, not a job each: handing over a job costs more than reading a small file.
        waiting = iter(enumerate(files))

        def take() -> None:
            for number, file in waiting:
                outcomes[number] = measured(self._walk.root, file.path, algorithm, self._read)

        await asyncio.gather(*(loop.run_in_executor(pool, take) for _ in range(self._options.workers)))
        items = []
        for number, file in enumerate(files):
            outcome = outcomes[number]
            if isinstance(outcome, Measured):
                items.append(_item(file, outcome.size, outcome.checksum))
            else:
                self._tally.trouble(outcome)
        return items

    def _read(self, count: int) -> None:
        if self._stopped.is_set():
            raise _Stopped
        self._progress(0, count)

    # ---- registering -------------------------------------------------------------------------------------------------

    async def _put(self, items: Sequence[_Item]) -> None:
        """Put what the catalog does not hold just so."""
        known = await self._access.replicas([item.mapping.lfn for item in items])
        news = [item for item in items if not _is_there(item.mapping, known)]
        self._tally.already_there += len(items) - len(news)
        if not news:
            return
        written = await self._access.write([item.mapping for item in news], update=self._options.update)
        self._tally.registered += written.done
        self._tally.position = max(self._tally.position, written.position)
        for error in written.errors:
            self._tally.trouble(Trouble("refused", news[error.index].path, f"{error.code}: {error.message}"))

    def _summary(self, site: str, seconds: float) -> Summary:
        tally, passed = self._tally, self._walk.passed
        return Summary(
            site=site,
            position=tally.position,
            files=tally.files,
            bytes=tally.bytes,
            registered=tally.registered,
            already_there=tally.already_there,
            **tally.counts,
            directories=passed.directories,
            links=passed.links,
            specials=passed.specials,
            excluded=passed.excluded,
            seconds=seconds,
            files_per_s=tally.files / max(seconds, 1e-9),
            bytes_per_s=tally.bytes / max(seconds, 1e-9),
            troubles=tally.told,
        )


def _item(file: FoundFile, size: int, checksum: str | None) -> _Item:
    lfn, pfn, collection = file.names
    return _Item(file.path, MappingItem(lfn, pfn, size, checksum, collection))


def _is_there(mapping: MappingItem, known: Replicas) -> bool:
    """Whether the catalog holds the mapping and says the same of its LFN."""
    found: Replica | None = known.replicas.get(mapping.lfn)
    return (
        found is not None
        and mapping.pfn in found.pfns
        and mapping.size == found.size
        and mapping.checksum in (None, found.checksum)
        and mapping.collection in (None, found.collection)
    )
