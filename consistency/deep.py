"""The deep check: files read again and their checksums compared with the catalog's, within a rate, on and on.

One call goes on behind the file where the last one stopped, and begins anew at the end. Reading is the storage's work
where it computes checksums itself, else this machine's. A file whose checksum is another is looked up in the catalog
once more before it is told, since it may have been replaced meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from consistency.catalog import Paths
from consistency.doors import Opened
from consistency.history import History
from consistency.settings import DeepSettings
from reploc.client.lrc import LrcClient
from reploc.storage.faults import Absent, StorageFault
from reploc.wire import LfnReplica

#: Told after each file: files read, bytes read.
DeepProgress = Callable[[int, int], None]


class DeepReport(msgspec.Struct, frozen=True):
    """What a deep check read and found; `behind` is the LFN behind which the next one goes on, empty at the end."""

    site: str
    files: int
    bytes: int
    seconds: float
    damaged: list[str]
    missing: list[str]
    unread: list[str]
    without_checksum: int
    behind: str


class Deep:
    """One deep check of a site; `run` it once."""

    def __init__(
        self, site: str, settings: DeepSettings, history: History, client: LrcClient, paths: Paths, door: Opened
    ) -> None:
        self._site = site
        self._settings = settings
        self._history = history
        self._client = client
        self._paths = paths
        self._door = door
        self._damaged: list[str] = []
        self._missing: list[str] = []
        self._unread: list[str] = []
        self._without = self._files = self._bytes = 0

    async def run(self, progress: DeepProgress) -> DeepReport:
        """Reads files until there are enough. Raises what the catalog raises, Unavailable or StoreError."""
        began, behind = time.monotonic(), self._history.deep_place(self._site)
        ended = True
        async for file in self._from(behind):
            await self._look(file)
            behind = file.lfn
            progress(self._files, self._bytes)
            await asyncio.sleep(max(self._bytes / self._settings.bytes_per_s - (time.monotonic() - began), 0.0))
            if self._files >= self._settings.files:
                ended = False
                break
        behind = "" if ended else behind
        self._history.keep_deep_place(self._site, behind)
        return DeepReport(
            self._site,
            self._files,
            self._bytes,
            round(time.monotonic() - began, 3),
            self._damaged,
            self._missing,
            self._unread,
            self._without,
            behind,
        )

    async def _from(self, behind: str) -> AsyncIterator[LfnReplica]:
        after: str | None = behind or None
        while True:
            page = await self._client.dump_page(after=after)
            for file in page.files:
                yield file
            if page.next is None:
                return
            after = page.next

    async def _look(self, file: LfnReplica) -> None:
        paths = {path for pfn in file.pfns if (path := self._paths.of(pfn)) is not None}
        if not paths:
            return
        if file.checksum is None:
            self._without += 1
            return
        for path in paths:
            self._files += 1
            self._bytes += file.size or 0
            try:
                found = await self._checksum(path, file.checksum)
            except Absent:
                self._missing.append(file.lfn)
            except StorageFault as wrong:
                self._unread.append(f"{file.lfn}: {wrong.said}")
            else:
                if found != file.checksum and await self._is_still(file):
                    self._damaged.append(file.lfn)

    async def _checksum(self, path: bytes, expected: str) -> str:
        return await self._door.mover.checksum(self._door.url(path), expected.partition(":")[0])

    async def _is_still(self, file: LfnReplica) -> bool:
        now = await self._client.find(file.lfn)
        return now is not None and now.checksum == file.checksum
