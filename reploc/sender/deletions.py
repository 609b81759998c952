"""Deletions that the live filters still show: how many in each slot, since when, and when the slot is to be built anew.

A bit cannot be cleared for one name, for others may need it; so a slot with deletions is built from its digests, at
most every `rebuild_interval_s`, or soon when a hundredth of its names is gone. Until then such a name costs who asks
for it one question in vain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.intp]

#: One part in so many of a slot's names: gone, they let its filter be built soon.
_GONE_SHARE = 100


class Deletions:
    """Counts and moments of all slots, shape (slots,) each."""

    def __init__(self, slots: int, soon_s: float, late_s: float) -> None:
        """A slot is due `soon_s` after its first deletion where many are gone, otherwise `late_s` after it."""
        self._soon_s = soon_s
        self._late_s = late_s
        self.counts: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self._since: NDArray[np.float64] = np.full(slots, np.inf)
        self._at: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)

    def note(self, slots: Slots, position: int, now: float) -> None:
        """Takes note of the slot of each name that the commit at `position` deleted, with repetitions."""
        np.add.at(self.counts, slots, 1)
        self._since[slots] = np.minimum(self._since[slots], now)
        self._at[slots] = position

    def push(self) -> None:
        """Makes every slot with deletions due at once."""
        self._since[self.counts > 0] = -np.inf

    def reflected(self, slots: Slots, position: int, begun: float) -> None:
        """These slots were built from the catalog at `position`; what that lacks was deleted after `begun`."""
        over = self._at[slots] <= position
        self.counts[slots[over]] = 0
        self._since[slots] = np.where(over, np.inf, np.maximum(self._since[slots], begun))

    def due_at(self, names: NDArray[np.int64]) -> NDArray[np.float64]:
        """When each slot is to be built; `names` are those that it still has."""
        many = self.counts * _GONE_SHARE >= names + self.counts
        return self._since + np.where(many, self._soon_s, self._late_s)
