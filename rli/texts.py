"""The bytes of numbered names: in one array of memory, for `rli/interned.py`, which may keep them elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

_FIRST_SIZE = 1 << 10


class Names(Protocol):
    """The names of that moment's numbers."""

    def of(self, numbers: Numbers) -> list[bytes]:
        """The name of each number, which must have been held at that moment."""
        ...


class Texts(Protocol):
    """Where names lie under their numbers."""

    def put(self, numbers: Numbers, names: Sequence[bytes]) -> None:
        """These numbers, which nobody has, are these names'. Raises MemoryFull, with nothing changed."""
        ...

    def view(self) -> Names:
        """All names as they are now."""
        ...

    def sweep(self, alive: Numbers) -> None:
        """No other numbers are anybody's, ascending."""
        ...

    def memory(self) -> int:
        """Bytes of memory that they take."""
        ...


@dataclass(frozen=True, eq=False)
class NamesInMemory:
    """A view, which stays true whatever becomes of the names."""

    _bytes: bytearray
    _starts: Numbers
    _lengths: NDArray[np.uint16]

    def of(self, numbers: Numbers) -> list[bytes]:
        """The name of each number."""
        raw = self._bytes
        starts, lengths = self._starts[numbers].tolist(), self._lengths[numbers].tolist()
        return [bytes(raw[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


class TextsInMemory:
    """All of them, one behind the other."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._starts: Numbers = np.zeros(_FIRST_SIZE, dtype=np.int64)
        self._lengths: NDArray[np.uint16] = np.zeros(_FIRST_SIZE, dtype=np.uint16)

    def put(self, numbers: Numbers, names: Sequence[bytes]) -> None:
        """Puts them behind the others."""
        self._grow(int(numbers.max(initial=-1)) + 1)
        lengths = np.array([len(name) for name in names], dtype=np.int64)
        self._starts[numbers] = len(self._bytes) + np.cumsum(lengths) - lengths
        self._lengths[numbers] = lengths
        self._bytes += b"".join(names)

    def view(self) -> NamesInMemory:
        """All names as they are now."""
        return NamesInMemory(self._bytes, self._starts, self._lengths)

    def sweep(self, alive: Numbers) -> None:
        """Frees the bytes of all others."""
        names = self.view().of(alive)
        lengths = self._lengths[alive].astype(np.int64)
        self._starts, self._lengths = self._starts.copy(), self._lengths.copy()
        self._starts[alive] = np.cumsum(lengths) - lengths
        self._bytes = bytearray(b"".join(names))

    def memory(self) -> int:
        """Bytes of the names, and of where each lies."""
        return len(self._bytes) + self._starts.nbytes + self._lengths.nbytes

    def _grow(self, size: int) -> None:
        if size > len(self._starts):
            more = (1 << (size - 1).bit_length()) - len(self._starts)
            self._starts = np.concatenate([self._starts, np.zeros(more, dtype=np.int64)])
            self._lengths = np.concatenate([self._lengths, np.zeros(more, dtype=np.uint16)])
