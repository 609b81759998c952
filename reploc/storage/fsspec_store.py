"""Storage that fsspec speaks to (`s3://`, `sftp://`, `gs://`, …): bytes pass through this machine.

Credentials and endpoints are fsspec's own (its configuration files, and the variables FSSPEC_*). Object stores write a
file whole or not at all and know no directories: there no temporary name is used, and an empty directory is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

from reploc.storage.faults import Absent, NotEmpty, StorageFault, of_system
from reploc.storage.mover import PIECE_BYTES, Entry, Progress, Stat, Transfer, checksum_of, streamed

T = TypeVar("T")

#: Schemes of stores that keep objects, not files in directories.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az"})


class FsspecMover:
    """Files behind anything that fsspec speaks to."""

    schemes = frozenset[str]()
    third_party = False
    tells_progress = True

    def appears_whole(self, url: str) -> bool:
        return url.partition(":")[0] in OBJECT_STORES

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        await streamed(self, self, transfer, progress)

    async def stat(self, url: str) -> Stat:
        def stat(files: Any, path: str) -> Stat:
            files.invalidate_cache()
            return _stat(files.info(path))

        return await self._done(url, stat)

    async def checksum(self, url: str, algorithm: str) -> str:
        return await checksum_of(self.read(url), algorithm)

    async def rename(self, old: str, new: str) -> None:
        await self._done(old, lambda files, path: files.mv(path, _path(files, new)))

    async def remove(self, url: str) -> None:
        def remove(files: Any, path: str) -> None:
            files.invalidate_cache()
            files.info(path)  # object stores remove what is not there without a word
            files.rm_file(path)

        await self._done(url, remove)

    async def make_directory(self, url: str) -> None:
        if not self.appears_whole(url):
            await self._done(url, lambda files, path: files.makedirs(path, exist_ok=True))

    async def remove_directory(self, url: str) -> None:
        try:
            if await self.listing(url):
                raise NotEmpty("destination", f"{url} is not empty")
        except Absent:
            if self.appears_whole(url):
                return
            raise
        if not self.appears_whole(url):
            await self._done(url, lambda files, path: files.rmdir(path))

    async def listing(self, url: str) -> list[Entry]:
        def entries(files: Any, path: str) -> list[Entry]:
            files.invalidate_cache()
            found = files.ls(path, detail=True)
            own = path.rstrip("/")
            below = [each for each in found if each["name"].rstrip("/") != own]
            if not below and found and found[0]["type"] != "directory":
                raise NotADirectoryError(f"{url} is no directory")
            made = [Entry(each["name"].rstrip("/").rpartition("/")[2], _stat(each)) for each in below]
            return sorted(made, key=lambda entry: entry.name)

        return await self._done(url, entries)

    async def read(self, url: str) -> AsyncGenerator[bytes, None]:
        def opened(files: Any, path: str) -> Any:
            files.invalidate_cache()
            return files.open(path, "rb")

        file = await self._done(url, opened)
        try:
            while True:
                with _mapped(url):
                    piece: bytes = await asyncio.to_thread(file.read, PIECE_BYTES)
                if not piece:
                    return
                yield piece
        finally:
            await asyncio.to_thread(file.close)

    async def write(self, url: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        del size
        file = await self._done(url, lambda files, path: files.open(path, "wb"))
        try:
            async for piece in pieces:
                with _mapped(url, "destination"):
                    await asyncio.to_thread(file.write, piece)
        except BaseException:
            await asyncio.to_thread(_discard, file)
            raise
        with _mapped(url, "destination"):
            await asyncio.to_thread(file.close)

    async def bring_online(self, url: str) -> None:
        await self.stat(url)

    async def close(self) -> None:
        return

    async def _done(self, url: str, do: Callable[[Any, str], T]) -> T:
        def done() -> T:
            files = _files(url)
            return do(files, _path(files, url))

        with _mapped(url):
            return await asyncio.to_thread(done)


def _files(url: str) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(url.partition(":")[0])
    except ImportError as wrong:
        raise StorageFault("permanent", f"{url}: {wrong}; it comes with the extra reploc[fsspec]") from wrong
    except ValueError as wrong:
        raise StorageFault("permanent", f"{url}: {wrong}") from wrong


def _path(files: Any, url: str) -> str:
    return str(files._strip_protocol(unquote(url)))


def _discard(file: Any) -> None:
    """Gives up what was written, so that closing does not make a file of it."""
    if hasattr(file, "discard"):
        file.discard()
    file.closed = True


def _stat(info: dict[str, Any]) -> Stat:
    directory = info["type"] == "directory"
    return Stat(0 if directory else int(info["size"] or 0), directory)


@contextmanager
def _mapped(url: str, side: str = "source") -> Any:
    try:
        yield
    except StorageFault:
        raise
    except FileNotFoundError as wrong:
        fault: StorageFault = Absent("source", f"{url}: not there")
        raise (fault.at("destination") if side == "destination" else fault) from wrong
    except OSError as wrong:
        fault = of_system(wrong, url) if wrong.errno else StorageFault("transient", f"{url}: {wrong}")
        raise (fault.at("destination") if side == "destination" else fault) from wrong
    except Exception as wrong:
        # Each store raises its library's own errors; those that fsspec does not translate are its troubles on the way.
        raise StorageFault("transient", f"{url}: {type(wrong).__name__}: {wrong}") from wrong
