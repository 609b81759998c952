"""The form of totals per collection: what a sender keeps of the collections of each slot, and tells nodes of them.

The slot of a collection is that of the digest of its name. A deletion counts here at once, like everything else: who
decides by totals what may be deleted must not be told of files that are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import TypeAlias

import numpy as np

from reploc import digest, totals
from reploc.partition import Partition
from reploc.sender.form import Changes, Items, Slots, by_slot
from reploc.sender.news import News
from reploc.sender.slot_tables import NO_SLOTS, SlotTables, TableBuild
from reploc.wire import CollectionTotals, Kind

#: Files, bytes, and files of unknown size of a collection.
Numbers: TypeAlias = tuple[int, int, int]
#: The collections of one slot.
TotalsBuild: TypeAlias = TableBuild[str, Numbers]

GONE: Numbers = (0, 0, 0)


def build_totals(slots: Sequence[int], rows: Sequence[CollectionTotals], partition: Partition) -> list[TotalsBuild]:
    """Builds of these slots, from the totals of all collections of a catalog."""
    names = [row.name for row in rows]
    digests = digest.of(names)
    parts = dict(by_slot(partition.slots_of_collections(names)))
    nothing = np.zeros(0, dtype=np.intp)
    return [_build(slot, rows, digests, parts.get(slot, nothing)) for slot in slots]


def _build(slot: int, rows: Sequence[CollectionTotals], digests: digest.Digests, places: Slots) -> TotalsBuild:
    numbers = {row.name: _numbers(row) for row in (rows[at] for at in places.tolist())}
    return TableBuild(slot, numbers, totals.checksum(digests[places], totals.of(list(numbers.items())).numbers))


def _numbers(row: CollectionTotals) -> Numbers:
    return row.files, row.bytes, row.files_of_unknown_size


class SlotTotals(SlotTables[str, Numbers]):
    """The collections of all slots, with their totals."""

    kind: Kind = "collection"

    def __init__(self, partition: Partition) -> None:
        super().__init__(partition.slots)
        self._partition = partition

    @staticmethod
    def told(held: dict[str, Numbers]) -> Set[tuple[str, Numbers]]:
        return held.items()

    def whole(self, held: dict[str, Numbers]) -> bytes:
        return totals.of(list(held.items())).to_bytes()

    def part(self, held: dict[str, Numbers], changed: Sequence[str]) -> bytes:
        return totals.of([(name, held.get(name, GONE)) for name in changed]).to_bytes()

    def changes(self, news: News) -> Changes:
        """The totals that a commit changed."""
        slots = len(self.sequences)
        items = np.empty(len(news.totals), dtype=object)
        items[:] = news.totals
        of = self._partition.slots_of_collections([one.name for one in news.totals])
        return Changes(items, of, NO_SLOTS, np.zeros(slots, dtype=np.int64))

    def add(self, items: Items, slots: Slots) -> None:
        """Takes changed totals into slots that are built, the latest of a collection last."""
        for slot, places in by_slot(slots):
            latest = {one.name: _numbers(one) for one in items[places].tolist()}
            held = self._held[slot]
            changed = {name: now for name, now in latest.items() if held.get(name, GONE) != now}
            if changed:
                self._change(slot, changed)

    def _change(self, slot: int, changed: dict[str, Numbers]) -> None:
        held = self._held[slot]
        before = _checksum((name, held.get(name, GONE)) for name in changed)
        after = _checksum(changed.items())
        for name, now in changed.items():
            if now[0]:
                held[name] = now
            else:
                held.pop(name, None)
        self._rise(slot, changed, after - before)


def _checksum(rows: Iterable[tuple[str, Numbers]]) -> int:
    part = totals.of(list(rows))
    return totals.checksum(totals.digests_of(part), part.numbers)
