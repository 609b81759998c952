"""The Bloom filter of the Globus RLS: its hash functions and the order of its bits, for filters that it sends.

    h ← 0, and for each byte of the name:  h ← rotate_left_32(h, s) xor the byte, its sign extended to 32 bits
    bit = h mod bits, the most significant bit of a byte first

with s = 3, 5, 7, 1, 2, 4, 6, 8 for the first to the eighth function. A rotation distributes over xor, so h is the xor
of all bytes, each rotated by s for every byte behind it: one pass over the bytes of many names, and none over bits.

The family is weak: on sequential names a fifth of all questions in vain was measured. Our own filters
(`reploc/bloom.py`) have nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: How far each hash function rotates.
SHIFTS = (3, 5, 7, 1, 2, 4, 6, 8)
#: Bits of the largest filter: its sender counts them in a signed word.
BITS_MAX = (1 << 31) - 1

Hashes = NDArray[np.uint32]


def hashes(names: Sequence[bytes]) -> Hashes:
    """All eight hashes of each of n names, none of them empty, shape (n, 8)."""
    if not names:
        return np.empty((0, len(SHIFTS)), dtype=np.uint32)
    flat = np.frombuffer(b"".join(names), dtype=np.int8).astype(np.int32).view(np.uint32)
    lengths = np.fromiter(map(len, names), dtype=np.int64, count=len(names))
    ends = np.cumsum(lengths)
    behind = np.repeat(ends, lengths) - 1 - np.arange(len(flat))
    found = np.empty((len(names), len(SHIFTS)), dtype=np.uint32)
    for at, shift in enumerate(SHIFTS):
        turn = (behind * shift % 32).astype(np.uint32)
        rotated = (flat << turn) | (flat >> ((32 - turn) % 32))
        found[:, at] = np.bitwise_xor.reduceat(rotated, ends - lengths)
    return found


@dataclass(frozen=True)
class RlsFilter:
    """A filter as it was received: `functions` hash functions over `bits` bits, which lie in `data`."""

    bits: int
    functions: int
    data: NDArray[np.uint8]

    def may_hold(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which names, by their hashes of shape (n, 8), the filter may hold, shape (n,)."""
        positions = hashes[:, : self.functions] % np.uint32(self.bits)
        found = self.data[positions >> 3] >> (7 - (positions & 7)).astype(np.uint8) & 1
        held: NDArray[np.bool_] = found.all(axis=1)
        return held


def positions(filter_bits: int, functions: int, names: Sequence[bytes]) -> NDArray[np.uint32]:
    """The bits of each of n names, shape (n, functions)."""
    return hashes(names)[:, :functions] % np.uint32(filter_bits)


def build(bits: int, functions: int, names: Sequence[bytes]) -> bytes:
    """The bytes of a filter of these names, as many as go over the wire: bits // 8 + 1."""
    data = np.zeros(bits // 8 + 1, dtype=np.uint8)
    set_bits(data, positions(bits, functions, names))
    return data.tobytes()


def set_bits(data: NDArray[np.uint8], where: NDArray[np.uint32]) -> None:
    """Sets these bits of a filter, an array of any shape."""
    flat = where.ravel()
    np.bitwise_or.at(data, flat >> 3, (128 >> (flat & 7)).astype(np.uint8))
