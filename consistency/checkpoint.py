"""The journal of a listing: every directory that was answered, on disk, so that a killed scan goes on where it was.

Frames are appended as directories are done:

    length   4 bytes, little-endian: of the body
    check    4 bytes: crc32 of the body
    body     MessagePack: `Begun` first, then one `Seen` a directory

A frame that is cut or does not fit its check ends the journal; what stands behind it is cut off before more is written.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

import msgspec

from reploc.errors import StoreDamaged, StoreError

#: Seconds, and directories, between two syncs at most: a crash of the machine costs as much listing.
SYNC_S = 2.0
SYNC_DIRECTORIES = 2_000
#: Bytes of one frame, at most: a directory of a few million names.
FRAME_BYTES_MAX = 1 << 30

_HEAD = struct.Struct("<II")

#: listed: whole. partial: the storage broke off. failed: not at all. gone: there is no such directory.
State: TypeAlias = Literal["listed", "partial", "failed", "gone"]


class Begun(msgspec.Struct, frozen=True, array_like=True, tag="begun"):
    """What is listed: the site, its roots, and when it began (seconds since the epoch)."""

    site: str
    roots: list[bytes]
    began_at: float


class Seen(msgspec.Struct, frozen=True, array_like=True, tag="seen"):
    """One directory: when it was asked about, what came of it, and what is in it, as listers tell it."""

    path: bytes
    listed_at: float
    state: State
    files: list[tuple[bytes, int | None, int | None, str | None]]
    directories: list[tuple[bytes, int | None]]
    others: int = 0
    why: str = ""
    door: str = ""
    attempts: int = 1


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Begun | Seen)


class Checkpoint:
    """The journal of one listing, open for writing behind what is there already."""

    def __init__(self, path: Path, begun: Begun) -> None:
        """Raises StoreError: the file cannot be written, or it is the journal of another listing."""
        self.path = path
        self.begun = begun
        self._synced_at = time.monotonic()
        self._unsynced = 0
        try:
            end = self._resumed()
            self._file = path.open("r+b" if end else "w+b", buffering=1 << 20)
            self._file.seek(end)
            self._file.truncate()
        except OSError as wrong:
            raise StoreError(f"{path}: {wrong.strerror or wrong}") from wrong
        if not end:
            self._append(begun)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._sync()
        self._file.close()

    def seen(self, directory: Seen) -> None:
        """Takes note of a directory. Raises StoreError: the disk does not take it."""
        self._append(directory)
        self._unsynced += 1
        if self._unsynced >= SYNC_DIRECTORIES or time.monotonic() - self._synced_at > SYNC_S:
            self._sync()

    def replay(self) -> Iterator[Seen]:
        """All directories that were answered so far."""
        self._sync()
        return read(self.path)

    def _resumed(self) -> int:
        """Where a journal that is there ends, 0 where there is none; `begun` becomes what it says."""
        if not self.path.exists():
            return 0
        end = 0
        for frame, behind in _frames(self.path):
            if isinstance(frame, Begun):
                if (frame.site, frame.roots) != (self.begun.site, self.begun.roots):
                    raise StoreError(f"{self.path} is the listing of {frame.site}: {frame.roots!r}")
                self.begun = frame
            end = behind
        return end

    def _append(self, frame: Begun | Seen) -> None:
        body = _encoder.encode(frame)
        try:
            self._file.write(_HEAD.pack(len(body), zlib.crc32(body)) + body)
        except OSError as wrong:
            raise StoreError(f"{self.path}: {wrong.strerror or wrong}") from wrong

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()
        self._unsynced = 0


def read(path: Path) -> Iterator[Seen]:
    """The directories of a journal, in the order in which they were answered.

    Raises StoreDamaged: it does not begin as a journal does.
    """
    first = True
    for frame, _ in _frames(path):
        if first and not isinstance(frame, Begun):
            raise StoreDamaged(f"{path} is no journal of a listing")
        first = False
        if isinstance(frame, Seen):
            yield frame


def _frames(path: Path) -> Iterator[tuple[Begun | Seen, int]]:
    """The whole frames of a journal, and where each ends."""
    with path.open("rb", buffering=1 << 20) as file:
        at = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, check = _HEAD.unpack(head)
            body = file.read(length) if length <= FRAME_BYTES_MAX else b""
            if len(body) < length or zlib.crc32(body) != check:
                return
            at += _HEAD.size + length
            yield _decoder.decode(body), at
