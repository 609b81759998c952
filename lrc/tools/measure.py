"""The size and checksum of a file, read once in bounded blocks; a file that changes meanwhile has neither."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from lrc.tools.tree import Trouble, trouble

#: Bytes of one read: large enough that reads cost nothing beside the sum, small enough for many workers' buffers.
BLOCK_BYTES = 1 << 20

Algorithm: TypeAlias = Literal["adler32", "sha256"]
#: Told, in the worker's thread, how many bytes more were read.
BytesRead: TypeAlias = Callable[[int], None]


class Measured(NamedTuple):
    """A file's size in bytes and its checksum as catalogs write it."""

    size: int
    checksum: str


class _Changed(Exception):
    """The file was written to while it was read."""


def measured(root: bytes, path: bytes, algorithm: Algorithm, read: BytesRead) -> Measured | Trouble:
    """Size and checksum of the regular file at `path` below `root`, or why there is none."""
    # Not blocking, and not through a link: the file may have become a pipe or a link since it was listed.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(root.rstrip(b"/") + b"/" + path, flags)
        try:
            return _measured(file, algorithm, read)
        finally:
            os.close(file)
    except _Changed:
        return Trouble("changed", path, "changed while it was read")
    except OSError as wrong:
        return trouble(path, wrong)


def _measured(file: int, algorithm: Algorithm, read: BytesRead) -> Measured:
    before = os.fstat(file)
    if not stat.S_ISREG(before.st_mode):
        raise _Changed
    digits = _SUMS[algorithm](_blocks(file, before.st_size, read))
    after = os.fstat(file)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _Changed
    return Measured(before.st_size, f"{algorithm}:{digits}")


def _blocks(file: int, size: int, read: BytesRead) -> Iterator[memoryview]:
    """All of the file, in views that hold until the next one. Ends early for a file that grew, or would never end."""
    buffer = memoryview(bytearray(min(size + 1, BLOCK_BYTES)))
    total = 0
    while count := os.readv(file, [buffer]):
        read(count)
        total += count
        if total > size:
            break
        yield buffer[:count]
    if total != size:
        raise _Changed


def _adler32(blocks: Iterator[memoryview]) -> str:
    value = 1
    for block in blocks:
        value = zlib.adler32(block, value)
    return f"{value:08x}"


def _sha256(blocks: Iterator[memoryview]) -> str:
    value = hashlib.sha256()
    for block in blocks:
        value.update(block)
    return value.hexdigest()


_SUMS: dict[Algorithm, Callable[[Iterator[memoryview]], str]] = {"adler32": _adler32, "sha256": _sha256}
