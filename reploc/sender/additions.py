"""Names that were added to the catalog and are not in the live filters yet, in the order of their commits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reploc.digest import Digests

Slots = NDArray[np.intp]
Positions = NDArray[np.int64]

#: Names that may wait: a fifth of a second's work for the event loop. Slots for which more came are built instead.
ADDITIONS_MAX = 1 << 14


class Additions:
    """What waits: a digest, its slot and the position of its commit for each name."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Digests, Slots, Positions]] = []
        self.count = 0

    def note(self, digests: Digests, slots: Slots, position: int) -> None:
        """Takes note of names that the commit at `position` added, shapes (n, 2) and (n,)."""
        if len(slots):
            self._waiting.append((digests, slots, np.full(len(slots), position, dtype=np.int64)))
            self.count += len(slots)

    def take(self, ready: NDArray[np.bool_], built_at: Positions) -> tuple[Digests, Slots]:
        """Takes what waits for `ready` slots, without what their builds at `built_at` hold; both of shape (slots,)."""
        digests, slots, positions = self._all()
        here = ready[slots]
        fresh = here & (positions > built_at[slots])
        self._keep(digests[~here], slots[~here], positions[~here])
        return digests[fresh], slots[fresh]

    def give_up(self) -> Slots:
        """Drops all that waits; the distinct slots for which it did."""
        slots = np.unique(self._all()[1])
        self._waiting = []
        self.count = 0
        return slots

    def _all(self) -> tuple[Digests, Slots, Positions]:
        if not self._waiting:
            return np.zeros((0, 2), dtype=np.uint64), np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.int64)
        digests, slots, positions = zip(*self._waiting, strict=True)
        return np.concatenate(digests), np.concatenate(slots), np.concatenate(positions)

    def _keep(self, digests: Digests, slots: Slots, positions: Positions) -> None:
        self._waiting = [(digests, slots, positions)] if len(slots) else []
        self.count = len(slots)
