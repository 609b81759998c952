"""What the processes of one index node share: the arrays that answers are read from, written by the main one alone.

    version      1                counts changes, twice each: odd while the main process is changing something
    site_counts  slots            of the matrix: how many sites have a filter for each slot
    class_used   classes          whether a size class has a region in some slot
    first_row    classes × slots  where the regions are
    width        classes × slots
    known        slots            of the registry: whether the list of senders is known
    holders      slots            how many listed sites each slot is held from
    sites        2                how many are listed, and how many numbers have been given
    expired_at   1                when the main process last looked for senders without news
    listed       sites            whether a number is in use
    news_at      sites            the moment whose catalog the held news shows
    held         sites × slots    what is held of each site
    texts        sites × 3        where a site's name and address lie, in words: start, bytes, and a count of changes
    heap                          these texts
    words                         the regions themselves

All of it is one file without a name, of which only the pages that were written cost memory. A reader takes note of the
version, reads, and looks at the version again: what it read between two equal, even ones is of one moment. What it
reads otherwise may make no sense, or be no more than an error, and is thrown away (the idea is that of Linux's sequence
locks).
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from reploc.bloom import CLASS_MAX
from reploc.errors import MemoryFull
from rli.arena import Reserved
from rli.registry import SITES_MAX

T = TypeVar("T")

#: Bytes of all names and addresses: a thousand for each of the sites that a node remembers.
HEAP_BYTES = SITES_MAX << 10
#: Looks at something that keeps changing, and seconds between two while it is being changed: a change takes
#: microseconds, unless the main process has to wait for a processor in the middle of one.
LOOKS_MAX = 20
LOOK_S = 0.0002
_WORD = np.dtype("<u8")
_PLACE = np.dtype("<i8")
_FLAG = np.dtype(np.bool_)


class Changing(Exception):
    """What should be read keeps changing; the main process, which changes it, can answer."""


class Shared:
    """The arrays, in the process that writes them or in one that reads."""

    def __init__(self, descriptor: int, slots: int, bytes_max: int) -> None:
        """Over a file that `create` made with the same slots and bytes, which may be another process's descriptor."""
        self.descriptor = descriptor
        self._depth = 0
        shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "version": (_WORD, (1,)),
            "site_counts": (_PLACE, (slots,)),
            "class_used": (_FLAG, (CLASS_MAX + 1,)),
            "first_row": (_PLACE, (CLASS_MAX + 1, slots)),
            "width": (np.dtype("<i4"), (CLASS_MAX + 1, slots)),
            "known": (_FLAG, (slots,)),
            "holders": (_PLACE, (slots,)),
            "sites": (_PLACE, (2,)),
            "expired_at": (np.dtype("<f8"), (1,)),
            "listed": (_FLAG, (SITES_MAX,)),
            "news_at": (np.dtype("<f8"), (SITES_MAX,)),
            "held": (_FLAG, (SITES_MAX, slots)),
            "texts": (_PLACE, (SITES_MAX, 3)),
            "heap": (_WORD, (HEAP_BYTES // _WORD.itemsize,)),
            "words": (_WORD, (-(-bytes_max // _WORD.itemsize),)),
        }
        starts, size = {}, 0
        for name, (kind, shape) in shapes.items():
            starts[name] = size
            size += -(-kind.itemsize * int(np.prod(shape)) // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
            self._memory = mmap.mmap(descriptor, size)
        except OSError as refused:
            raise MemoryFull(f"the system refuses {size:,} bytes of address space: {refused}") from refused
        self._starts = starts
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.frombuffer(self._memory, kind, int(np.prod(shape)), starts[name]).reshape(shape)
            for name, (kind, shape) in shapes.items()
        }
        self._version = self.arrays["version"]

    @classmethod
    def create(cls, slots: int, bytes_max: int) -> Self:
        """New arrays, all zero; workers inherit `descriptor`."""
        return cls(os.memfd_create("reploc-index"), slots, bytes_max)

    def close(self) -> None:
        """Lets go of the file. Its memory goes with the arrays over it, and with the last process that has them."""
        os.close(self.descriptor)

    def reserved(self, name: str) -> Reserved:
        """The array of this name as memory that an arena hands out."""
        return Reserved(self.arrays[name], self._memory, self._starts[name], mmap.MADV_REMOVE)

    def __enter__(self) -> None:
        """Begins a change, or goes on with one. Nothing may be awaited before its end."""
        if not self._depth:
            self._version[0] += 1
        self._depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._depth -= 1
        if not self._depth:
            self._version[0] += 1

    def consistently(self, read: Callable[[], T], undo: Callable[[], object] = str) -> T:
        """What `read` gives while nothing changes; `undo` is called after each time that is thrown away.

        Raises Changing, and what `read` raises while nothing changes.
        """
        for _ in range(LOOKS_MAX):
            before = self._version.item(0)
            if before % 2:
                time.sleep(LOOK_S)
                continue
            try:
                found = read()
            except Changing:
                raise
            except Exception:
                if self._version.item(0) == before:
                    raise
            else:
                if self._version.item(0) == before:
                    return found
            undo()
        raise Changing
