"""Runs of rows: the block replicas of dataset replicas, and what they come to for each of them.

An inventory keeps the block replicas of a dataset replica together, so that many dataset replicas are many runs. A
`Batch` holds some dataset replicas with those of their rows that are looked at, in their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Bits: TypeAlias = NDArray[np.bool_]
Keys: TypeAlias = NDArray[np.int64]


def expanded(first: Array, count: Array) -> tuple[Keys, Keys]:
    """The members of runs one after another, and for each the number of its run."""
    count = count.astype(np.int64)
    owner = np.repeat(np.arange(len(count)), count)
    begun = np.cumsum(count) - count
    return np.arange(len(owner)) + (first.astype(np.int64) - begun)[owner], owner


@dataclass(frozen=True)
class Batch:
    """Dataset replicas, the rows of them that are in view, and for each row the place of its replica in `replicas`."""

    replicas: Keys
    rows: Keys
    owner: Keys

    def __len__(self) -> int:
        return len(self.replicas)

    def of(self, kept: Bits) -> Batch:
        """Only the dataset replicas whose bit is set."""
        if kept.all():
            return self
        rows = kept[self.owner]
        place = np.cumsum(kept) - 1
        return Batch(self.replicas[kept], self.rows[rows], place[self.owner[rows]])

    def without(self, taken: Bits) -> Batch:
        """The same dataset replicas without the rows whose bit is set."""
        return Batch(self.replicas, self.rows[~taken], self.owner[~taken])

    def any(self, bits: Bits) -> Bits:
        """For each dataset replica whether a row's bit is set, shape (replicas,)."""
        found = np.zeros(len(self.replicas), dtype=np.bool_)
        found[self.owner[bits]] = True
        return found

    def every(self, bits: Bits) -> Bits:
        """For each dataset replica whether it has rows and all their bits are set."""
        return self.any(np.ones(len(bits), dtype=np.bool_)) & ~self.any(~bits)

    def counted(self, bits: Bits) -> Keys:
        """For each dataset replica how many rows' bits are set."""
        return np.bincount(self.owner[bits], minlength=len(self.replicas))

    def summed(self, values: Array) -> Keys:
        """For each dataset replica the sum of its rows' values, exact below 2**53."""
        return np.bincount(self.owner, weights=values, minlength=len(self.replicas)).astype(np.int64)

    def reduced(self, how: np.ufunc, values: Array, empty: int) -> Keys:
        """For each dataset replica its rows' values reduced, `empty` where it has none."""
        found = np.full(len(self.replicas), empty, dtype=np.int64)
        if len(self.rows):
            begins = np.flatnonzero(np.diff(self.owner, prepend=-1))
            found[self.owner[begins]] = how.reduceat(values.astype(np.int64), begins)
        return found
