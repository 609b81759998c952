"""The lister of every storage that a mover speaks to: XRootD, WebDAV, gfal, fsspec, one directory a call.

XRootD's server tells 254 bytes of a name that has 255, whatever it is asked through. So a name of 254 bytes is looked
at: where nothing is there, it is the beginning of another one, and what the directory holds is not all known.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from consistency.listers.lister import Answer, Failed, Listed
from reploc.storage.faults import Absent, StorageFault
from reploc.storage.mover import Mover

#: Bytes of a name that may be all that was told of a longer one.
CUT_BYTES = 254


class MoverLister:
    """A door at `address`; `url` makes URLs of paths, `mover` speaks to the storage and is its giver's to close."""

    batch = 1

    def __init__(self, address: str, url: Callable[[bytes], str], mover: Mover) -> None:
        self.door = address
        self._url = url
        self._mover = mover

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        """What each directory holds."""
        return await asyncio.gather(*map(self._one, directories))

    async def close(self) -> None:
        """Nothing of its own is open."""

    async def _one(self, directory: bytes) -> Answer:
        listed = Listed()
        try:
            for entry in await self._mover.listing(self._url(directory)):
                name, stat = os.fsencode(entry.name), entry.stat
                if len(name) == CUT_BYTES and not await self._is_there(directory.rstrip(b"/") + b"/" + name):
                    listed.complete = False
                    continue
                mtime = None if stat.modified_s is None else int(stat.modified_s)
                if stat.directory:
                    listed.directories.append((name, mtime))
                else:
                    listed.files.append((name, stat.size, mtime, None))
        except Absent:
            return None
        except StorageFault as wrong:
            return Failed(wrong.said, retryable=wrong.blame != "permanent")
        return listed

    async def _is_there(self, path: bytes) -> bool:
        try:
            await self._mover.stat(self._url(path))
        except Absent:
            return False
        return True
