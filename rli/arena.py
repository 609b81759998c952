"""The arena: one flat array of 64-bit words in reserved address space, and which parts of it are in use.

The array never moves and is never reallocated: it is address space, and only the pages that were written cost memory.
Parts that are released give their whole pages back to the system and are handed out again, lowest address first.

A new part holds whatever its last user left there. The memory is this process's own, or shared with others
(`rli/shared.py`).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reploc.errors import MemoryFull

#: Address space asked for: far beyond any node's memory, far below the 128 TiB that a process has.
RESERVE_BYTES = 1 << 40
#: Below this the system is not short of address space but out of memory.
_RESERVE_BYTES_MIN = 1 << 24
#: Linux's value; the mmap module of Python 3.11 does not name it.
_MAP_NORESERVE = 0x4000
#: Bytes of one word of 64 columns.
WORD_BYTES = 8

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Reserved:
    """Words that lie from byte `start` on in some memory, and the advice by which its pages are given back."""

    words: Words
    memory: mmap.mmap
    start: int = 0
    advice: int = mmap.MADV_DONTNEED


class Arena:
    """Hands out parts of one flat array of words. Raises MemoryFull when the array or the system has no more."""

    def __init__(self, bytes_max: int = RESERVE_BYTES, reserved: Reserved | None = None) -> None:
        """Over memory that is `reserved`, or else over `bytes_max` of this process's own."""
        self._reserved = reserved or _reserve(bytes_max)
        #: The flat array. Index it with what `allocate` returns.
        self.words = self._reserved.words
        #: Free extents in order of address, never touching each other; the last reaches to the end of the array.
        self._starts = np.zeros(1, dtype=np.int64)
        self._ends = np.full(1, len(self.words), dtype=np.int64)
        #: Words handed out and not released.
        self.allocated = 0

    def allocate(self, count: int, align: int) -> int:
        """The first word of `count` free words, a multiple of `align`; their content is undefined."""
        first = -(-self._starts // align) * align
        fitting = first + count <= self._ends
        at = int(fitting.argmax())
        if not fitting[at]:
            raise MemoryFull(f"the index needs {count * WORD_BYTES:,} bytes more; {self._room()}")
        start = int(first[at])
        self._replace(at, at + 1, [(int(self._starts[at]), start), (start + count, int(self._ends[at]))])
        self.allocated += count
        return start

    def release(self, start: int, count: int) -> None:
        """Take words back, and give the system the pages that nobody uses any more (about 0.1 ms per megabyte)."""
        at = int(np.searchsorted(self._starts, start))
        low, high, first, last = start, start + count, at, at
        if at and self._ends[at - 1] == start:
            low, first = int(self._starts[at - 1]), at - 1
        if at < len(self._starts) and self._starts[at] == high:
            high, last = int(self._ends[at]), at + 1
        self._replace(first, last, [(low, high)])
        self.allocated -= count
        self._return_pages(max(low, start - mmap.PAGESIZE), min(high, start + count + mmap.PAGESIZE))

    def _replace(self, first: int, last: int, extents: list[tuple[int, int]]) -> None:
        kept = [(start, end) for start, end in extents if start < end]
        starts, ends = [start for start, _ in kept], [end for _, end in kept]
        self._starts = np.concatenate((self._starts[:first], np.array(starts, np.int64), self._starts[last:]))
        self._ends = np.concatenate((self._ends[:first], np.array(ends, np.int64), self._ends[last:]))

    def _return_pages(self, low: int, high: int) -> None:
        first = -(-low * WORD_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
        length = high * WORD_BYTES // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0:
            self._reserved.memory.madvise(self._reserved.advice, self._reserved.start + first, length)

    def _room(self) -> str:
        return f"{self.allocated * WORD_BYTES:,} of {len(self.words) * WORD_BYTES:,} are in use"


def _reserve(bytes_max: int) -> Reserved:
    """Private, unbacked address space: as much as asked for, or less where a limit on address space is set."""
    size = -(-bytes_max // mmap.PAGESIZE) * mmap.PAGESIZE
    while True:
        try:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
            return Reserved(np.frombuffer(memory, dtype="<u8"), memory)
        except OSError as refused:
            if size <= _RESERVE_BYTES_MIN:
                raise MemoryFull(f"the system refuses {size:,} bytes of address space: {refused}") from refused
            size //= 2
