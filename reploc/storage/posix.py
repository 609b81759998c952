"""Files of this machine, or of a file system that it mounts, `file:///path`.

A file is copied in the kernel where the file system can (`copy_file_range`), and is on disk before its copy ends; its
directory is synced when it gets its name, so that neither can vanish after it was registered.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from reploc.storage.faults import StorageFault, of_system
from reploc.storage.mover import PIECE_BYTES, Entry, Progress, Stat, Transfer, checksum_of

T = TypeVar("T")

#: Bytes that one call to the kernel copies: a cancelled copy stops within so many.
CHUNK_BYTES = 16 << 20
#: What says that the kernel cannot copy between these two files by itself.
NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)


class PosixMover:
    """Files by path. What blocks runs in threads."""

    schemes = frozenset({"file"})
    third_party = True
    tells_progress = True

    def appears_whole(self, url: str) -> bool:
        del url
        return False

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        stop = [False]
        copied = [0]
        work = asyncio.ensure_future(
            asyncio.to_thread(_copy, _path(transfer.source), _path(transfer.target), copied, stop)
        )
        try:
            while not work.done():
                await asyncio.wait([work], timeout=1.0)
                progress(copied[0])
            await work
        finally:
            stop[0] = True
            if not work.done():
                await asyncio.wait([work])

    async def stat(self, url: str) -> Stat:
        return await _done(url, lambda path: _stat(path.stat()))

    async def checksum(self, url: str, algorithm: str) -> str:
        return await checksum_of(self.read(url), algorithm)

    async def rename(self, old: str, new: str) -> None:
        def rename(path: Path) -> None:
            target = _path(new)
            path.replace(target)
            _sync_directory(target.parent)

        await _done(old, rename)

    async def remove(self, url: str) -> None:
        await _done(url, Path.unlink)

    async def make_directory(self, url: str) -> None:
        await _done(url, lambda path: path.mkdir(parents=True, exist_ok=True))

    async def remove_directory(self, url: str) -> None:
        await _done(url, Path.rmdir)

    async def listing(self, url: str) -> list[Entry]:
        def entries(path: Path) -> list[Entry]:
            with os.scandir(path) as found:
                return sorted(
                    (Entry(each.name, _stat(each.stat(follow_symlinks=False))) for each in found),
                    key=lambda entry: entry.name,
                )

        return await _done(url, entries)

    async def read(self, url: str) -> AsyncGenerator[bytes, None]:
        path = _path(url)
        with _mapped(url):
            file = await asyncio.to_thread(path.open, "rb", buffering=0)
        try:
            while True:
                with _mapped(url):
                    piece: bytes = await asyncio.to_thread(file.read, PIECE_BYTES)
                if not piece:
                    return
                yield piece
        finally:
            file.close()

    async def write(self, url: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        del size
        path = _path(url)
        with _mapped(url, "destination"):
            file = await asyncio.to_thread(path.open, "wb", buffering=0)
        try:
            async for piece in pieces:
                with _mapped(url, "destination"):
                    await asyncio.to_thread(_write_all, file.fileno(), piece)
            with _mapped(url, "destination"):
                await asyncio.to_thread(os.fsync, file.fileno())
        finally:
            file.close()

    async def bring_online(self, url: str) -> None:
        await self.stat(url)

    async def close(self) -> None:
        return


async def _done(url: str, do: Callable[[Path], T]) -> T:
    with _mapped(url):
        return await asyncio.to_thread(do, _path(url))


@contextmanager
def _mapped(url: str, side: str = "source") -> Any:
    try:
        yield
    except OSError as wrong:
        fault = of_system(wrong, url)
        raise (fault.at("destination") if side == "destination" else fault) from wrong


def _stat(found: os.stat_result) -> Stat:
    directory = (found.st_mode & 0o170000) == 0o040000
    return Stat(0 if directory else found.st_size, directory, found.st_mtime)


def _path(url: str) -> Path:
    scheme, _, rest = url.partition("://")
    if scheme != "file" or not rest.startswith("/"):
        raise StorageFault("permanent", f"{url[:200]} is no file:///path")
    return Path(unquote(rest, errors="surrogateescape"))


def _copy(source: Path, target: Path, copied: list[int], stop: list[bool]) -> None:
    with _mapped(source.as_uri()):
        before = os.open(source, os.O_RDONLY)
    try:
        with _mapped(target.as_uri(), "destination"):
            behind = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _copy_bytes(before, behind, copied, stop)
            with _mapped(target.as_uri(), "destination"):
                os.fsync(behind)
        except OSError as wrong:
            # Reading and writing fail alike here; a full or read-only disk can only be the destination's.
            raise of_system(wrong, f"{source} → {target}") from wrong
        finally:
            os.close(behind)
    finally:
        os.close(before)


def _copy_bytes(before: int, behind: int, copied: list[int], stop: list[bool]) -> None:
    in_kernel = True
    while not stop[0]:
        try:
            count = os.copy_file_range(before, behind, CHUNK_BYTES) if in_kernel else _pass_on(before, behind)
        except OSError as wrong:
            if not in_kernel or copied[0] or wrong.errno not in NO_KERNEL_COPY:
                raise
            in_kernel = False
            continue
        if count == 0:
            if not copied[0] and in_kernel:
                in_kernel = False  # some file systems answer 0 for files that they make up as they are read
                continue
            return
        copied[0] += count


def _pass_on(before: int, behind: int) -> int:
    piece = os.read(before, PIECE_BYTES)
    _write_all(behind, piece)
    return len(piece)


def _write_all(file: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(file, view) :]


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
