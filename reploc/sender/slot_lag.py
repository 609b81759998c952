"""Which slots' summaries lag behind the catalog: since when, and from which position on.

A summary is built from a snapshot at some position while the catalog goes on, so that a slot may lag again before its
build is handed over. Where the exact moment of a change is not kept, the earliest possible one is taken: news is never
called fresher than it is. Deletions do not count: a filter that still shows a name which is gone lacks nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class SlotLag:
    """The changes that summaries do not reflect yet. Every slot starts lagging: nothing is built."""

    def __init__(self, slots: int, position: int, now: float) -> None:
        #: The catalog's position, as far as the writer told.
        self.catalog_position = position
        #: Whether a slot's summary lacks a change, shape (slots,).
        self.lagging: NDArray[np.bool_] = np.ones(slots, dtype=bool)
        #: The first change that the summary of a lagging slot lacks: its position, and its moment.
        self._lacks_from: NDArray[np.int64] = np.ones(slots, dtype=np.int64)
        self._lacks_since: NDArray[np.float64] = np.full(slots, now)
        self._changed_at: NDArray[np.int64] = np.full(slots, position, dtype=np.int64)
        #: The position that each summary reflects, -1 where it is not built.
        self.built_at: NDArray[np.int64] = np.full(slots, -1, dtype=np.int64)
        self._changes = 0
        #: The last moment when a build was begun.
        self.build_begun = now

    def changed(self, slots: NDArray[np.intp], changes: int, position: int, now: float) -> None:
        """Takes note of so many changes to distinct slots by the commit at `position`."""
        self.catalog_position = position
        lacking = slots[self.built_at[slots] < position]
        fresh = lacking[~self.lagging[lacking]]
        self.lagging[fresh] = True
        self._lacks_from[fresh] = position
        self._lacks_since[fresh] = now
        self._changed_at[lacking] = position
        self._changes += changes if len(lacking) else 0

    def is_at(self, changes: int) -> bool:
        """Whether so many changes, or more, wait to be taken into summaries."""
        return self._changes >= changes

    def build_begins(self, now: float) -> None:
        """From now on a snapshot may be taken: changes that it lacks are no older than this."""
        self.build_begun = now

    def reflected(self, slots: NDArray[np.intp], position: int) -> None:
        """Takes note that the summaries of these slots reflect the catalog at `position`."""
        self.built_at[slots] = position
        self.lagging[slots] = self._changed_at[slots] > position
        self._lacks_from[slots] = np.maximum(self._lacks_from[slots], position + 1)
        self._lacks_since[slots] = np.maximum(self._lacks_since[slots], self.build_begun)

    def advanced(self, slots: NDArray[np.intp]) -> None:
        """Takes note that all that was told of these slots is in their summaries; for the others it is waited anew."""
        self._changes = 0
        self.reflected(slots, self.catalog_position)

    def is_newer(self, slot: int, position: int) -> bool:
        """Whether a build from `position` would not take the slot back."""
        return position >= int(self.built_at[slot])

    def due_at(self, among: NDArray[np.bool_], interval_s: float, changes_max: int) -> float:
        """When lagging slots among these are to be updated: a while after the first change, or at so many.

        Infinite where none lags.
        """
        lagging = self.lagging & among
        if lagging.any() and self._changes >= changes_max:
            return -float("inf")
        return float(self._lacks_since[lagging].min(initial=np.inf)) + interval_s

    @property
    def position(self) -> int:
        """The last position that all summaries together reflect; 0 before all are built."""
        if not self.lagging.any():
            return self.catalog_position
        return int(self._lacks_from[self.lagging].min()) - 1

    @property
    def since(self) -> float:
        """When the first change after `position` was made, at the earliest; infinite where nothing lags."""
        return float(self._lacks_since[self.lagging].min(initial=np.inf))

    def age_s(self, now: float) -> float:
        """How long ago the catalog stood at `position`, at most; 0 where nothing lags."""
        return max(0.0, now - self.since)
