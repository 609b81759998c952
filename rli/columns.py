"""The filters of one sender as a node relays them: its columns of the matrix as they are, told on slot by slot.

Filters of different senders are never put together, since they would fill up (`docs/hierarchy.md`). What travels is
what the sender built: an increment as it came, or a column read from the matrix as a whole filter. Nothing is built
here, so that every slot is always ready: one of which nothing is held is told as a filter without names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reploc import bloom
from reploc.sender.difference_log import DifferenceLog, bits_max
from reploc.sender.form import Changes, Flags, Items, Slots
from reploc.sender.news import NO_DIGESTS, News
from reploc.wire import Summary
from rli.filters import Column
from rli.matrix import Matrix

_NONE: Slots = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class ColumnNews(News):
    """One slot of a sender changed."""

    slot: int = 0

    @classmethod
    def of(cls, position: int, slot: int) -> ColumnNews:
        return cls(position, NO_DIGESTS, NO_DIGESTS, slot=slot)


class SlotColumns:
    """The columns of one sender, as a form (`reploc/sender/form.py`) that takes changes in the moment they happen."""

    #: The columns bring their classes.
    size_class = 0

    def __init__(self, matrix: Matrix, site: int) -> None:
        self._matrix = matrix
        self._site = site
        self.sequences: NDArray[np.uint64] = np.ones(matrix.slots, dtype=np.uint64)
        self._names = [0] * matrix.slots
        self._checksums = [0] * matrix.slots
        #: What changed since the last whole filter of a slot, where anything did.
        self._logs: dict[int, DifferenceLog] = {}

    def take(self, column: Column) -> None:
        """A column of the sender changed just now; its sequence rises."""
        slot = column.slot
        self.sequences[slot] += np.uint64(1)
        self._names[slot], self._checksums[slot] = column.names, column.checksum
        if column.difference is None:
            self._begin_log(slot)
        else:
            self._logs[slot].append(column.difference)

    def _begin_log(self, slot: int) -> None:
        shape = bloom.geometry(self._matrix.class_of(slot, self._site), self._matrix.error_rate)
        self._logs[slot] = DifferenceLog(int(self.sequences[slot]), bits_max(shape))

    @property
    def built(self) -> Flags:
        """All slots."""
        return np.ones(len(self.sequences), dtype=bool)

    @property
    def stale(self) -> Flags:
        """No slot."""
        return np.zeros(len(self.sequences), dtype=bool)

    def fit(self, _: int, /) -> None:
        """The sender has chosen."""

    def rate(self, _: int, /) -> float:
        """What the index promises."""
        return self._matrix.error_rate

    def changes(self, news: News) -> Changes:
        """The slot that changed, of which nothing is left to take in."""
        assert isinstance(news, ColumnNews)
        slots = np.array([news.slot], dtype=np.intp)
        return Changes(slots, slots, _NONE, np.zeros(len(self.sequences), dtype=np.int64))

    def add(self, items: Items, slots: Slots) -> None:
        """It was taken when it changed."""

    def replace(self, build: object) -> None:
        """Nothing is built, so that there is nothing to replace."""
        raise AssertionError(f"{build!r} was built, but columns are told as they came")

    def restart(self) -> None:
        """Begins a new epoch: sequences start anew."""
        self.sequences[:] = 1
        for slot in self._logs:
            self._begin_log(slot)

    def summary(self, slot: int, base: int) -> Summary:
        """What takes a node that holds a slot at sequence `base` to its own: an increment where one is known.

        Otherwise, and from base 0, the whole column.
        """
        log = self._logs.get(slot)
        difference = log.since(base) if log is not None and base else None
        if difference is None:
            size_class, bits = self.content(slot)
            shape = bloom.geometry(size_class, self._matrix.error_rate)
            base, body = 0, bloom.to_container(np.frombuffer(bits, dtype=np.uint8), shape, self._names[slot])
        else:
            body = difference.to_bytes(self._names[slot])
        return Summary(slot, "bloom", base, int(self.sequences[slot]), self._checksums[slot], body)

    def content(self, slot: int) -> tuple[int, bytes]:
        """The size class and the bits of a slot, as nodes are told of them."""
        size_class, bits = self._matrix.column(slot, self._site)
        return size_class, bits.tobytes()
