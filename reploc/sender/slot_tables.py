"""What the exact forms have in common: a table of each slot, with its checksum and what changed in it last.

What stands in a table is a form's own: keys and how many names each stands for, or collections and their totals. It is
never approximate, so that a slot is built once, and from then on only changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from reploc.sender.form import Flags, Slots
from reploc.sender.key_log import KeyLog
from reploc.wire import Kind, Summary

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

NO_SLOTS: Slots = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class TableBuild(Generic[K, V]):
    """The table of one slot as it was read from the catalog."""

    slot: int
    held: dict[K, V]
    checksum: int


class SlotTables(ABC, Generic[K, V]):
    """The tables of all slots, none of which is built at first."""

    size_class = 0
    kind: Kind

    def __init__(self, slots: int) -> None:
        self.sequences: NDArray[np.uint64] = np.ones(slots, dtype=np.uint64)
        self._built: Flags = np.zeros(slots, dtype=bool)
        self._held: list[dict[K, V]] = [{} for _ in range(slots)]
        self._checksums = [0] * slots
        self._logs: list[KeyLog[K]] = [KeyLog(1) for _ in range(slots)]

    # ---- what a form is ------------------------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def told(held: dict[K, V]) -> Set[Any]:
        """What nodes are told of a table."""

    @abstractmethod
    def whole(self, held: dict[K, V]) -> bytes:
        """A table as it travels."""

    @abstractmethod
    def part(self, held: dict[K, V], changed: Sequence[K]) -> bytes:
        """What became of these keys of a table, as it travels."""

    # ---- as every form -------------------------------------------------------------------------------------------

    @property
    def built(self) -> Flags:
        """Which slots are built, shape (slots,)."""
        return self._built

    @property
    def stale(self) -> Flags:
        """Which slots are to be built from the catalog: those that never were."""
        stale: Flags = ~self._built
        return stale

    def fit(self, _: int) -> None:
        """There is nothing to choose."""

    def rate(self, _: int) -> float:
        """Tables are exact; a fingerprint is taken for another once in 2⁶⁴ names of a slot, which is as good."""
        return 0.0

    def _rise(self, slot: int, changed: Iterable[K], gained: int) -> None:
        """These keys of a slot are others now, by which its checksum gained so much."""
        self._checksums[slot] = (self._checksums[slot] + gained) % (1 << 64)
        self.sequences[slot] += np.uint64(1)
        self._logs[slot].append(changed, len(self._held[slot]))

    def replace(self, build: TableBuild[K, V]) -> None:
        """Takes a build in place of what is there; where it differs the sequence rises."""
        slot = build.slot
        if self._built[slot] and self.told(self._held[slot]) != self.told(build.held):
            self.sequences[slot] += np.uint64(1)
        self._held[slot] = dict(build.held)
        self._checksums[slot] = build.checksum
        self._built[slot] = True
        self._logs[slot] = KeyLog(int(self.sequences[slot]))

    def restart(self) -> None:
        """Begins a new epoch: sequences start anew."""
        self.sequences[:] = 1
        self._logs = [KeyLog(1) for _ in self._logs]

    def summary(self, slot: int, base: int) -> Summary:
        """What takes a node that holds a built slot at sequence `base` to its own: an increment where one is known."""
        changed, held = self._logs[slot].since(base) if base else None, self._held[slot]
        body = self.whole(held) if changed is None else self.part(held, changed)
        since = 0 if changed is None else base
        return Summary(slot, self.kind, since, int(self.sequences[slot]), self._checksums[slot], body)

    def content(self, slot: int) -> frozenset[Any]:
        """A built slot as nodes are told of it, to compare."""
        return frozenset(self.told(self._held[slot]))
