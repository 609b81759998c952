"""The last differences of one live filter, so that a node a little behind gets one increment from where it is.

What is kept is bounded; who is further behind gets the slot whole. A merged difference is the union of those since a
sequence, in which the later word about a bit counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reploc.bloom import CONTAINER_HEADER_BYTES, Geometry
from reploc.difference import BIT_BYTES, DIFFERENCE_BITS_MAX, FILTER_BITS_MAX, BitNumbers, Difference


def bits_max(shape: Geometry) -> int:
    """Bits of all differences that a filter of this shape keeps: no increment is above half of the whole's bytes."""
    if shape.bits > FILTER_BITS_MAX:
        return 0
    return min(DIFFERENCE_BITS_MAX, (CONTAINER_HEADER_BYTES + shape.bytes) // (2 * BIT_BYTES))


class DifferenceLog:
    """Differences from sequence to sequence, each one above the last; 13 bytes for each bit."""

    def __init__(self, sequence: int, bits_max: int) -> None:
        """`sequence` is the filter's now; nothing before it is known."""
        self._bits_max = bits_max
        #: The earliest sequence from which all is known, and the filter's own.
        self._first = self._last = sequence
        #: Each bit of each difference in the order of sequences: number, whether it was set, and by which sequence.
        self._numbers: BitNumbers = np.zeros(0, dtype=np.uint32)
        self._is_set: NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self._sequences: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)

    def append(self, difference: Difference) -> None:
        """The filter's next sequence has come, by this difference. The oldest ones go where there is no room."""
        self._last += 1
        numbers = np.concatenate([self._numbers, difference.set, difference.clear])
        is_set = np.concatenate([self._is_set, _flags(len(difference.set), True), _flags(len(difference.clear), False)])
        sequences = np.concatenate([self._sequences, np.full(difference.bits, self._last, dtype=np.uint64)])
        kept = 0
        if (over := len(numbers) - self._bits_max) > 0:
            self._first = int(sequences[over - 1])
            kept = int(np.searchsorted(sequences, sequences[over - 1], side="right"))
        self._numbers, self._is_set, self._sequences = numbers[kept:], is_set[kept:], sequences[kept:]

    def since(self, sequence: int) -> Difference | None:
        """What changed after a sequence, in one; None where that is not known any more, or not yet."""
        if not self._first <= sequence < self._last:
            return None
        at = int(np.searchsorted(self._sequences, sequence, side="right"))
        numbers, latest = np.unique(self._numbers[at:][::-1], return_index=True)
        is_set = self._is_set[at:][::-1][latest]
        return Difference(numbers[is_set], numbers[~is_set])


def _flags(count: int, value: bool) -> NDArray[np.bool_]:
    return np.full(count, value, dtype=bool)
