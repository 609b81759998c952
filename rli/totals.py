"""Totals of collections as a node holds them: names once for all sites, numbers in columns per site and slot.

Ten million (site, collection) pairs of five million names are to take 1.5 GB at most (`loadtests/block_totals.py`).
Columns are never written to, only replaced, so that what a reader took stays as it was. A slot of which a site has no
collection takes nothing. Which sites have a collection, its number says (`rli/pairs.py`), however many sites there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reploc import totals
from reploc.errors import SummaryInvalid
from reploc.partition import Partition
from reploc.totals import Numbers, Totals
from reploc.wire import Summary
from rli.filters import require_checksum
from rli.holding import PIECE, Steps
from rli.interned import Interned
from rli.pairs import Pairs
from rli.runs import Keys
from rli.texts import Names

#: Names that are taken in between two questions: about a millisecond's work.
_STEP = 1 << 10

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Columns:
    """Collections of one site, by the numbers of their names, ascending, and their totals, shapes (n,) and (3, n)."""

    ids: NDArray[np.uint32]
    numbers: Numbers


class Verified(NamedTuple):
    """The collections of one slot of a site, whose checksum is right."""

    names: list[bytes]
    numbers: Numbers


class Snapshot(NamedTuple):
    """All collections of one site at some moment, in no order; it stays true while the node goes on."""

    names: Names
    parts: list[Columns]

    def rows(self) -> tuple[list[bytes], Numbers]:
        """The names in ascending order of their bytes, and their totals, shape (3, n)."""
        if not self.parts:
            return [], np.zeros((3, 0), dtype=np.int64)
        ids = np.concatenate([part.ids for part in self.parts])
        numbers = np.concatenate([part.numbers for part in self.parts], axis=1)
        named = self.names.of(ids.astype(np.int64))
        order = sorted(range(len(named)), key=named.__getitem__)
        return [named[at] for at in order], numbers[:, order]


NOTHING = Columns(np.zeros(0, dtype=np.uint32), np.zeros((3, 0), dtype=np.int64))


class HeldTotals:
    """The totals of all sites. `versions` change whenever a site's totals do, and never come back."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._interned = Interned()
        #: The numbers of names and the sites that have these collections.
        self._pairs = Pairs()
        #: Slot → site → what is held, where that is anything.
        self._held: list[dict[int, Columns]] = [{} for _ in range(partition.slots)]
        #: How many collections each site has.
        self._counts: dict[int, int] = {}
        self._versions: dict[int, int] = {}
        self._next_version = count(1)

    # ---- what senders tell ---------------------------------------------------------------------------------------

    def verified(self, summary: Summary) -> Verified:
        """The totals of a whole summary. Raises SummaryInvalid: broken, of another slot, or a wrong checksum."""
        said = totals.from_bytes(summary.body)
        digests = totals.digests_of(said)
        self._require_slot(said.names, summary.slot)
        if len(said.names) and not said.numbers[0].all():
            raise SummaryInvalid(f"totals of slot {summary.slot} have a collection without files")
        if (found := totals.checksum(digests, said.numbers)) != summary.checksum:
            raise SummaryInvalid(f"checksum of slot {summary.slot} is {found:016x}; it says {summary.checksum:016x}")
        return Verified(_encoded(said), said.numbers)

    def store(self, slot: int, site: int, whole: Verified) -> Steps:
        """Puts totals in place of what is held of a slot; the last step swaps."""
        taken: list[Ids] = []
        stored = False
        try:
            for at in range(0, len(whole.names), _STEP):
                taken.append(self._interned.hold(whole.names[at : at + _STEP]))
                if at + _STEP < len(whole.names):
                    yield
            columns = _sorted(np.concatenate(taken), whole.numbers) if taken else NOTHING
            self._put(slot, site, columns, self._held[slot].get(site, NOTHING).ids)
            stored = True
        finally:
            if not stored and taken:
                self._interned.release(np.concatenate(taken))

    def change(self, summary: Summary, site: int, checksum: int) -> None:
        """Takes changed totals in. Raises SummaryInvalid, with nothing changed."""
        said, slot = totals.from_bytes(summary.body), summary.slot
        digests = totals.digests_of(said)
        self._require_slot(said.names, slot)
        names, held = _encoded(said), self._held[slot].get(site, NOTHING)
        places, there = _places(held, self._interned.find(names))
        before = totals.checksum(digests[there], held.numbers[:, places[there]])
        after = totals.checksum(digests, said.numbers)
        require_checksum((checksum + after - before) % (1 << 64), summary)
        numbers = held.numbers.copy()
        numbers[:, places[there]] = said.numbers[:, there]
        stays, new = numbers[0] > 0, np.flatnonzero(~there & (said.numbers[0] > 0))
        ids = np.concatenate([held.ids[stays], self._interned.hold([names[at] for at in new.tolist()])])
        numbers = np.concatenate([numbers[:, stays], said.numbers[:, new]], axis=1)
        self._put(slot, site, _sorted(ids, numbers), held.ids[~stays])

    def drop(self, slot: int, site: int) -> bool:
        """Forgets a slot of a site; whether it had collections there."""
        held = None if slot == PIECE else self._held[slot].get(site)
        if held is None:
            return False
        self._put(slot, site, NOTHING, held.ids)
        return True

    def drop_site(self, site: int) -> int:
        """Forgets all collections of a site; of how many slots they were."""
        return sum(self.drop(slot, site) for slot in self.slots(site))

    def slots(self, site: int) -> list[int]:
        """The slots of which a site has collections."""
        return [slot for slot, held in enumerate(self._held) if site in held]

    def _require_slot(self, names: list[str], slot: int) -> None:
        if (self._partition.slots_of_collections(names) != slot).any():
            raise SummaryInvalid(f"totals of slot {slot} have a collection of another slot")

    def _put(self, slot: int, site: int, columns: Columns, released: NDArray[np.uint32]) -> None:
        """Shows columns whose names are held already in place of what is there, and releases the names of that."""
        before = self._held[slot].pop(site, NOTHING)
        self._pairs.remove(_without(before.ids, columns.ids), site)
        self._pairs.add(_without(columns.ids, before.ids), site)
        if len(columns.ids):
            self._held[slot][site] = columns
        self._counts[site] = self._counts.get(site, 0) + len(columns.ids) - len(before.ids)
        if not (np.array_equal(before.ids, columns.ids) and np.array_equal(before.numbers, columns.numbers)):
            self._versions[site] = next(self._next_version)
        self._interned.release(released.astype(np.int64))

    # ---- questions -----------------------------------------------------------------------------------------------

    def version(self, site: int) -> int:
        """Counts the changes of a site's totals, 0 where there were none; no two sites have the same one."""
        return self._versions.get(site, 0)

    def count(self, site: int) -> int:
        """How many collections a site has."""
        return self._counts.get(site, 0)

    def snapshot(self, site: int) -> Snapshot:
        """All collections of a site."""
        parts = [held[site] for held in self._held if site in held]
        return Snapshot(self._interned.names(), parts)

    def of(self, name: str) -> list[tuple[int, tuple[int, int, int]]]:
        """Each site that has a collection, ascending, with its files, bytes, and files of unknown size."""
        number = self._interned.find([name.encode()])
        if number[0] < 0:
            return []
        held = self._held[int(self._partition.slots_of_collections([name])[0])]
        return [(site, _row(held[site], number)) for site in sorted(self._pairs.sites_of(number.astype(np.uint64)[0]))]

    def memory(self) -> int:
        """Bytes of names, pairs and columns."""
        columns = sum(part.ids.nbytes + part.numbers.nbytes for held in self._held for part in held.values())
        return self._interned.memory() + self._pairs.memory() + columns


def _sorted(ids: Ids, numbers: Numbers) -> Columns:
    order = np.argsort(ids)
    return Columns(ids[order].astype(np.uint32), np.ascontiguousarray(numbers[:, order]))


def _places(held: Columns, ids: Ids) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each id is among the columns, and whether it is there, shape (n,) each."""
    places = np.searchsorted(held.ids, np.maximum(ids, 0).astype(np.uint32))
    there = np.zeros(len(ids), dtype=bool)
    inside = (places < len(held.ids)) & (ids >= 0)
    there[inside] = held.ids[places[inside]] == ids[inside]
    return places, there


def _row(held: Columns, number: Ids) -> tuple[int, int, int]:
    """The totals of the collection of this number, shape (1,), which is there."""
    files, size, unknown = held.numbers[:, np.searchsorted(held.ids, number.astype(np.uint32))[0]].tolist()
    return files, size, unknown


def _without(ids: NDArray[np.uint32], others: NDArray[np.uint32]) -> Keys:
    """Those of some ascending numbers that are not among others, which ascend too."""
    if not len(others):
        return ids.astype(np.uint64)
    places = np.minimum(np.searchsorted(others, ids), len(others) - 1)
    alone: Keys = ids[others[places] != ids].astype(np.uint64)
    return alone


def _encoded(said: Totals) -> list[bytes]:
    return [name.encode() for name in said.names]
