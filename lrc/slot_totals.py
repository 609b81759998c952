"""The form of totals per collection: what a sender keeps of the collections of each slot, and tells nodes of them.

The slot of a collection is that of the digest of its name. A deletion counts here at once, like everything else: who
decides by totals what may be deleted must not be told of files that are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reploc import digest, totals
from reploc.partition import Partition
from reploc.sender.form import Changes, Flags, Items, Slots, by_slot
from reploc.sender.key_log import KeyLog
from reploc.sender.news import News
from reploc.wire import CollectionTotals, Summary

#: Files, bytes, and files of unknown size of a collection.
Numbers: TypeAlias = tuple[int, int, int]

GONE: Numbers = (0, 0, 0)
_NO_SLOTS: Slots = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class TotalsBuild:
    """The collections of one slot as they were read from the catalog."""

    slot: int
    numbers: dict[str, Numbers]
    checksum: int


def build_totals(slots: Sequence[int], rows: Sequence[CollectionTotals], partition: Partition) -> list[TotalsBuild]:
    """Builds of these slots, from the totals of all collections of a catalog."""
    names = [row.name for row in rows]
    digests = digest.of(names)
    parts = dict(by_slot(partition.slots_of_collections(names)))
    nothing = np.zeros(0, dtype=np.intp)
    return [_build(slot, rows, digests, parts.get(slot, nothing)) for slot in slots]


def _build(slot: int, rows: Sequence[CollectionTotals], digests: digest.Digests, places: Slots) -> TotalsBuild:
    numbers = {row.name: _numbers(row) for row in (rows[at] for at in places.tolist())}
    return TotalsBuild(slot, numbers, totals.checksum(digests[places], totals.of(list(numbers.items())).numbers))


def _numbers(row: CollectionTotals) -> Numbers:
    return row.files, row.bytes, row.files_of_unknown_size


class SlotTotals:
    """The collections of all slots, none of which is built at first."""

    size_class = 0

    def __init__(self, partition: Partition) -> None:
        slots = partition.slots
        self._partition = partition
        self.sequences: NDArray[np.uint64] = np.ones(slots, dtype=np.uint64)
        self._built: Flags = np.zeros(slots, dtype=bool)
        self._numbers: list[dict[str, Numbers]] = [{} for _ in range(slots)]
        self._checksums = [0] * slots
        self._logs: list[KeyLog[str]] = [KeyLog(1) for _ in range(slots)]

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
        """Totals are exact."""
        return 0.0

    def changes(self, news: News) -> Changes:
        """The totals that a commit changed."""
        slots = len(self.sequences)
        items = np.empty(len(news.totals), dtype=object)
        items[:] = news.totals
        of = self._partition.slots_of_collections([one.name for one in news.totals])
        return Changes(items, of, _NO_SLOTS, np.zeros(slots, dtype=np.int64))

    def add(self, items: Items, slots: Slots) -> None:
        """Takes changed totals into slots that are built, the latest of a collection last."""
        for slot, places in by_slot(slots):
            latest = {one.name: _numbers(one) for one in items[places].tolist()}
            held = self._numbers[slot]
            changed = {name: now for name, now in latest.items() if held.get(name, GONE) != now}
            if changed:
                self._change(slot, changed)

    def _change(self, slot: int, changed: dict[str, Numbers]) -> None:
        held = self._numbers[slot]
        before = _checksum((name, held.get(name, GONE)) for name in changed)
        after = _checksum(changed.items())
        self._checksums[slot] = (self._checksums[slot] + after - before) % (1 << 64)
        for name, now in changed.items():
            if now[0]:
                held[name] = now
            else:
                held.pop(name, None)
        self.sequences[slot] += np.uint64(1)
        self._logs[slot].append(changed, len(held))

    def replace(self, build: TotalsBuild) -> None:
        """Takes a build in place of what is there; where it differs the sequence rises."""
        slot = build.slot
        if self._built[slot] and self._numbers[slot] != build.numbers:
            self.sequences[slot] += np.uint64(1)
        self._numbers[slot] = dict(build.numbers)
        self._checksums[slot] = build.checksum
        self._built[slot] = True
        self._logs[slot] = KeyLog(int(self.sequences[slot]))

    def restart(self) -> None:
        """Begins a new epoch: sequences start anew."""
        self.sequences[:] = 1
        self._logs = [KeyLog(1) for _ in self._logs]

    def summary(self, slot: int, base: int) -> Summary:
        """What takes a node that holds a built slot at sequence `base` to its own: an increment where one is known."""
        names = self._logs[slot].since(base) if base else None
        held = self._numbers[slot]
        if names is None:
            base, rows = 0, list(held.items())
        else:
            rows = [(name, held.get(name, GONE)) for name in names]
        body = totals.of(rows).to_bytes()
        return Summary(slot, "collection", base, int(self.sequences[slot]), self._checksums[slot], body)

    def content(self, slot: int) -> frozenset[tuple[str, Numbers]]:
        """A built slot as nodes are told of it, to compare."""
        return frozenset(self._numbers[slot].items())


def _checksum(rows: Iterable[tuple[str, Numbers]]) -> int:
    part = totals.of(list(rows))
    return totals.checksum(totals.digests_of(part), part.numbers)
