"""A difference between two states of one filter: which bits are set and which are clear in the later one, as bytes.

    body:  names u64 | count of bits to set u32 | bits to set u32 … | bits to clear u32 …        little-endian

Both runs ascend strictly, and no bit stands in both; `names` is what the filter holds afterwards. A difference says
what its bits *are* in the later state, not what became of them: applied to any state between the two it gives the
later one, and applied twice it does no harm, since bits are set and cleared, never flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from reploc import bloom
from reploc.errors import SummaryInvalid

#: Bits of one difference; of what changes more a slot is sent whole. A node changes so many in about a millisecond,
#: and answers no question meanwhile.
DIFFERENCE_BITS_MAX = 1 << 13
#: Bytes of one bit's number.
BIT_BYTES = 4
#: A filter with more bits than numbers is always sent whole.
FILTER_BITS_MAX = 1 << 32

_HEADER = Struct("<QI")
BitNumbers = NDArray[np.uint32]

#: No bits.
NO_BITS: BitNumbers = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True, eq=False)
class Difference:
    """Bits of a filter that are set, and bits that are clear, ascending and disjoint."""

    set: BitNumbers
    clear: BitNumbers

    @property
    def bits(self) -> int:
        return len(self.set) + len(self.clear)

    def to_bytes(self, names: int) -> bytes:
        """The difference as it travels, with the number of names that the filter holds after it."""
        runs = self.set.astype("<u4").tobytes() + self.clear.astype("<u4").tobytes()
        return _HEADER.pack(names, len(self.set)) + runs

    def checksum_after(self, checksum: int, was_set: NDArray[np.bool_]) -> int:
        """The checksum of a filter after this; `was_set` are its bits before: those of `set`, then those of `clear`."""
        gained = bloom.checksum_of(self.set[~was_set[: len(self.set)]])
        lost = bloom.checksum_of(self.clear[was_set[len(self.set) :]])
        return (checksum + gained - lost) % (1 << 64)


def from_bytes(body: bytes) -> tuple[Difference, int]:
    """A difference, and the number of names after it. Raises SummaryInvalid: length, size or order."""
    if len(body) < _HEADER.size or (len(body) - _HEADER.size) % BIT_BYTES:
        raise SummaryInvalid(f"difference is {len(body)} bytes long; expected {_HEADER.size} and {BIT_BYTES} per bit")
    names, to_set = _HEADER.unpack_from(body)
    numbers = np.frombuffer(body, dtype="<u4", offset=_HEADER.size)
    if to_set > len(numbers):
        raise SummaryInvalid(f"difference says {to_set} bits to set; there are {len(numbers)} bits in all")
    if len(numbers) > DIFFERENCE_BITS_MAX:
        raise SummaryInvalid(f"difference has {len(numbers)} bits; expected at most {DIFFERENCE_BITS_MAX}")
    difference = Difference(numbers[:to_set], numbers[to_set:])
    if not (_ascends(difference.set) and _ascends(difference.clear) and _disjoint(difference)):
        raise SummaryInvalid("difference has bits out of order, or bits both to set and to clear")
    return difference, names


def _ascends(numbers: BitNumbers) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def _disjoint(difference: Difference) -> bool:
    if not len(difference.set) or not len(difference.clear):
        return True
    return len(np.intersect1d(difference.set, difference.clear, assume_unique=True)) == 0
