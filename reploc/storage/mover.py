"""The one interface of all movers, and what is the same for each of them.

A mover speaks to storage by URL. Whatever goes wrong leaves it as a `StorageFault`, classified in
`reploc/storage/faults.py`.
`tests/suites/movers.py` is the conformance suite that every mover passes.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

#: Bytes of one piece of a file on its way through this machine.
PIECE_BYTES = 1 << 20
#: Pieces below so many bytes are added to a checksum at once: a thread would cost more than they do.
INLINE_BYTES = 32 << 10


@dataclass(frozen=True)
class Stat:
    """What a storage says of a file or directory; `modified_s` is absent where it does not say."""

    size: int
    directory: bool = False
    modified_s: float | None = None


@dataclass(frozen=True)
class Entry:
    """One line of a directory's listing."""

    name: str
    stat: Stat


@dataclass(frozen=True)
class Transfer:
    """One copy to make: `key` is the same for a repeated attempt at the same thing, and differs otherwise; bringing
    the source online may take `stage_s` seconds, 0 where it is online."""

    source: str
    target: str
    size: int | None = None
    checksum: str | None = None
    key: str = ""
    stage_s: float = 0.0


#: Told how many bytes have arrived, now and then.
Progress = Callable[[int], object]


class Copier(Protocol):
    """What copies from storage to storage in the place of a mover: a service that many copies are delegated to."""

    #: Protocols of doors between which it copies.
    protocols: frozenset[str]

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        """As a mover does."""
        ...

    async def close(self) -> None:
        """Ends what is open."""
        ...


class Mover(Protocol):
    """What speaks to one kind of storage."""

    #: Schemes of the URLs that it takes.
    schemes: frozenset[str]
    #: Copies go from storage to storage; else through this machine.
    third_party: bool
    #: Whether `copy` tells how many bytes have arrived, so that one that stands still is noticed.
    tells_progress: bool

    def appears_whole(self, url: str) -> bool:
        """Whether a file that is written there appears whole or not at all, so that it needs no temporary name."""
        ...

    async def copy(self, transfer: Transfer, progress: Progress) -> None:
        """Copies between two URLs of this mover; what stood at the target is replaced. Cancelling ends it."""
        ...

    async def stat(self, url: str) -> Stat:
        """Raises Absent."""
        ...

    async def checksum(self, url: str, algorithm: str) -> str:
        """`algorithm:hex` of a file, computed at the storage where that can be. Raises Absent."""
        ...

    async def rename(self, old: str, new: str) -> None:
        """Gives a file another name at the same storage; what stood there is replaced."""
        ...

    async def remove(self, url: str) -> None:
        """Removes a file. Raises Absent."""
        ...

    async def make_directory(self, url: str) -> None:
        """Makes a directory and those above it; one that is there is success."""
        ...

    async def remove_directory(self, url: str) -> None:
        """Removes an empty directory. Raises NotEmpty, Absent."""
        ...

    async def listing(self, url: str) -> list[Entry]:
        """What a directory holds, by name. Raises Absent."""
        ...

    def read(self, url: str) -> AsyncGenerator[bytes, None]:
        """A file's bytes, in pieces. Raises Absent."""
        ...

    async def write(self, url: str, pieces: AsyncIterator[bytes], size: int | None) -> None:
        """Writes a file of these bytes; what stood there is replaced. Ends when it is durable."""
        ...

    async def bring_online(self, url: str) -> None:
        """Returns when a file on tape can be read; at once where there is no tape."""
        ...

    async def close(self) -> None:
        """Ends what is open."""
        ...


class Digest:
    """A checksum that is computed while bytes pass: the algorithms of `reploc/names.py` that Python's library has."""

    #: Those that can be computed here.
    ALGORITHMS = ("adler32", "crc32", "md5", "sha1", "sha256", "sha512")

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._sum = 1 if algorithm == "adler32" else 0
        self._hash: Any = None if algorithm in ("adler32", "crc32") else hashlib.new(algorithm, usedforsecurity=False)

    def add(self, piece: bytes) -> None:
        """Takes the next bytes."""
        if self._algorithm == "adler32":
            self._sum = zlib.adler32(piece, self._sum)
        elif self._algorithm == "crc32":
            self._sum = zlib.crc32(piece, self._sum)
        else:
            self._hash.update(piece)

    def __str__(self) -> str:
        digits = f"{self._sum:08x}" if self._hash is None else self._hash.hexdigest()
        return f"{self._algorithm}:{digits}"


async def checksum_of(pieces: AsyncGenerator[bytes, None], algorithm: str) -> str:
    """The checksum of bytes that come in pieces."""
    digest = Digest(algorithm)
    async with aclosing(pieces):
        async for piece in pieces:
            if len(piece) < INLINE_BYTES:
                digest.add(piece)
            else:
                await asyncio.to_thread(digest.add, piece)
    return str(digest)


async def streamed(source: Mover, target: Mover, transfer: Transfer, progress: Progress) -> None:
    """Copies through this machine, between any two movers; the source is closed however it ends."""

    async def counted(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        arrived = 0
        async for piece in pieces:
            yield piece
            arrived += len(piece)
            progress(arrived)

    async with aclosing(source.read(transfer.source)) as pieces:
        await target.write(transfer.target, counted(pieces), transfer.size)
