"""Storage in this process's memory, `memory://HOST/path`: for tests and measurements of everything but storage."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import unquote

from reploc.storage.faults import Absent, NotEmpty, StorageFault
from reploc.storage.mover import PIECE_BYTES, Entry, Progress, Stat, Transfer, checksum_of


class MemoryMover:
    """Files in a dictionary: path → bytes. Directories exist for themselves, as they do on disks."""

    schemes = frozenset({"memory"})
    third_party = True
    tells_progress = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.directories: set[str] = set()

    def appears_whole(self, url: str) -> bool:
        del url
        return False

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        data = self._file(transfer.source)
        self._put(transfer.target, data)
        progress(len(data))

    async def stat(self, url: str) -> Stat:
        path = _path(url)
        if path in self.directories:
            return Stat(0, directory=True)
        return Stat(len(self._file(url)))

    async def checksum(self, url: str, algorithm: str) -> str:
        return await checksum_of(self.read(url), algorithm)

    async def rename(self, old: str, new: str) -> None:
        self._put(new, self._file(old))
        del self.files[_path(old)]

    async def remove(self, url: str) -> None:
        self._file(url)
        del self.files[_path(url)]

    async def make_directory(self, url: str) -> None:
        path = _path(url)
        if path in self.files:
            raise StorageFault("permanent", f"{url} is a file")
        while path not in self.directories and path.count("/") > 2:
            self.directories.add(path)
            path = path.rpartition("/")[0]

    async def remove_directory(self, url: str) -> None:
        path = _path(url)
        if path not in self.directories:
            raise Absent("source", f"{url} is no directory")
        if await self.listing(url):
            raise NotEmpty("destination", f"{url} is not empty")
        self.directories.discard(path)

    async def listing(self, url: str) -> list[Entry]:
        path = _path(url)
        if path not in self.directories:
            raise Absent("source", f"{url} is no directory")
        found = {name: Stat(len(data)) for name, data in self.files.items()}
        found |= {name: Stat(0, directory=True) for name in self.directories}
        below = f"{path}/"
        return [
            Entry(name.removeprefix(below), stat)
            for name, stat in sorted(found.items())
            if name.startswith(below) and "/" not in name.removeprefix(below)
        ]

    async def read(self, url: str) -> AsyncGenerator[bytes, None]:
        data = self._file(url)
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    async def write(self, url: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        del size
        self._put(url, b"".join([piece async for piece in pieces]))

    async def bring_online(self, url: str) -> None:
        self._file(url)

    async def close(self) -> None:
        self.files.clear()

    def _file(self, url: str) -> bytes:
        data = self.files.get(_path(url))
        if data is None:
            raise Absent("source", f"{url} is not there")
        return data

    def _put(self, url: str, data: bytes) -> None:
        path = _path(url)
        if path.rpartition("/")[0] not in self.directories and path.count("/") > 3:
            raise Absent("destination", f"there is no directory for {url}")
        if path in self.directories:
            raise StorageFault("permanent", f"{url} is a directory")
        self.files[path] = data


def _path(url: str) -> str:
    return unquote(url, errors="surrogateescape").rstrip("/")
