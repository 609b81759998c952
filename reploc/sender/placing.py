"""Which slot of what a sender tells each LFN of a commit is of: what came to a slot, and what went from one.

An LFN whose collection is another now goes from one slot and comes to another where collections say the slot. A small
sender tells everything in one piece, which is one slot, whatever the index is parted by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reploc import digest
from reploc.digest import Digests
from reploc.partition import Partition
from reploc.sender.form import Slots
from reploc.sender.news import Named, News


@dataclass(frozen=True)
class Placed:
    """LFNs: their digests, shape (n, 2), their records, and the slot of each, shape (n,)."""

    digests: Digests
    records: Sequence[Named]
    slots: Slots

    @property
    def names(self) -> list[str]:
        return [record.lfn for record in self.records]


@dataclass(frozen=True)
class Moves:
    """What came to slots and what went from them by one commit."""

    came: Placed
    went: Placed


class Placing:
    """The slots of one stream: those of the index's partition, or a single one."""

    def __init__(self, partition: Partition, *, one_piece: bool = False) -> None:
        self._partition = partition
        self._one_piece = one_piece
        self.slots = 1 if one_piece else partition.slots

    @property
    def is_by_digest(self) -> bool:
        """Whether an LFN's digest alone says its slot."""
        return self._one_piece or self._partition.is_by_digest

    def of(self, names: Sequence[str], digests: Digests, collections: Sequence[str | None]) -> Slots:
        """The slot of each of n LFNs."""
        if self._one_piece:
            return np.zeros(len(digests), dtype=np.intp)
        return self._partition.slots_of(names, digests, collections)

    def moves(self, news: News) -> Moves:
        """What a commit did to which slot."""
        came, went = self._placed(news.added, news.came), self._placed(news.removed, news.went)
        if self.is_by_digest or self._partition.lfns != "collection" or not news.moved:
            return Moves(came, went)
        before, after = [one for one, _ in news.moved], [other for _, other in news.moved]
        digests = digest.of([record.lfn for record in before])
        return Moves(_joined(came, self._placed(digests, after)), _joined(went, self._placed(digests, before)))

    def _placed(self, digests: Digests, records: Sequence[Named]) -> Placed:
        if self.is_by_digest:
            return Placed(digests, records, digest.slots_of(digests, self.slots))
        lfns, collections = [record.lfn for record in records], [record.collection for record in records]
        return Placed(digests, records, self.of(lfns, digests, collections))


def _joined(one: Placed, other: Placed) -> Placed:
    return Placed(
        np.concatenate([one.digests, other.digests]),
        [*one.records, *other.records],
        np.concatenate([one.slots, other.slots]),
    )
