"""Answers about LFNs, from what is known of the senders and the bits of their filters: in the process that is told of
them, or in a worker that reads what that one shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reploc import digest
from reploc.digest import Digests, slot_of
from reploc.partition import Partition
from reploc.wire import Location, Locations, SiteLocation, SiteNews
from rli.completeness import Flags, Slots
from rli.lfns import HeldLfns
from rli.matrix import Matrix, MayHold

#: Seconds since the last look for senders without news, after which a question looks first: the process was stopped, or
#: its machine slept, and its duties come after what was asked meanwhile.
LATE_S = 2.0


#: So few LFNs cost less one by one: a batch has a fixed cost of about as many.
SINGLES_MAX = 5


class Senders(Protocol):
    """What an answer says of senders: the part of `Registry` that it is made from."""

    def complete(self, slots: Slots) -> Flags: ...
    def is_complete(self, slot: int) -> bool: ...
    def empty(self, slots: Slots) -> Flags: ...
    def missing_sites(self, slots: Slots) -> list[str]: ...
    def ages(self, numbers: NDArray[np.intp], now: float) -> NDArray[np.float64]: ...
    def age(self, number: int, now: float) -> float: ...
    def place(self, number: int) -> tuple[str, str]: ...


class Answers:
    """What a node says of LFNs."""

    def __init__(self, registry: Senders, lfns: HeldLfns, partition: Partition) -> None:
        self._senders = registry
        self.lfns = lfns
        self.partition = partition
        #: The slots that the node owns, ascending.
        self.owned: Slots = np.arange(partition.slots)

    @property
    def matrix(self) -> Matrix:
        """The filters of all sites."""
        return self.lfns.matrix

    def _prepare(self, now: float) -> None:
        """What is to be done before an answer, which is always in time here."""

    def slots_of(self, lfns: Sequence[str], digests: Digests, collection: str | None = None) -> Slots:
        """The slots of LFNs, all of one collection where it is given; `ANY_SLOT` where that would have to be known."""
        return self.partition.slots_of(lfns, digests, None if collection is None else [collection] * len(lfns))

    def helpless(self, slots: Slots) -> NDArray[np.bool_]:
        """For which LFNs of these slots another node must be asked, shape (n,): nothing is held of the slot and more
        may exist, or other nodes hold other shares of it."""
        if self.partition.sites != "none":
            return np.ones(len(slots), dtype=bool)
        helpless: NDArray[np.bool_] = (slots < 0) | (self._senders.empty(slots) & ~self._senders.complete(slots))
        return helpless

    def location(self, lfn: str, now: float) -> Location:
        """Which sites may hold one LFN, whatever its collection."""
        if not self.partition.is_by_digest:
            return self._each([lfn], now)[0]
        self._prepare(now)
        digests = digest.of([lfn])
        slot = slot_of(digests, self.partition.slots)
        registry = self._senders
        complete = registry.is_complete(slot)
        sites = [
            SiteLocation(*registry.place(number), round(registry.age(number, now), 3))
            for number in self.lfns.sites_of(lfn, digests, slot)
        ]
        return Location(lfn, complete, [] if complete else registry.missing_sites(np.array([slot])), sites)

    def each_location(self, lfns: Sequence[str], now: float) -> list[Location]:
        """Which sites may hold each of some LFNs, whatever its collection, an answer for each of them."""
        if len(lfns) <= SINGLES_MAX:
            return [self.location(lfn, now) for lfn in lfns]
        return self._each(lfns, now)

    def _each(self, lfns: Sequence[str], now: float) -> list[Location]:
        self._prepare(now)
        digests = digest.of(lfns)
        slots = self.slots_of(lfns, digests)
        found = self.lfns.query(lfns, digests, slots)
        registry = self._senders
        numbers, which = np.unique(found.sites, return_inverse=True)
        ages = registry.ages(numbers, now).round(3).tolist()
        sites = [SiteLocation(*registry.place(number), age) for number, age in zip(numbers.tolist(), ages, strict=True)]
        named = [sites[at] for at in which.tolist()]
        ends = pairwise(np.searchsorted(found.rows, np.arange(len(lfns) + 1)).tolist())
        return [
            Location(lfn, complete, [] if complete else self._missing(slots[at : at + 1]), named[start:end])
            for at, (lfn, complete, (start, end)) in enumerate(
                zip(lfns, self._complete(slots).tolist(), ends, strict=True)
            )
        ]

    def locations(self, lfns: Sequence[str], digests: Digests, now: float, collection: str | None = None) -> Locations:
        """Which sites may hold each of many LFNs, all of one collection where it is given; `digests` are theirs, shape
        (n, 2)."""
        self._prepare(now)
        slots = self.slots_of(lfns, digests, collection)
        lacking = np.flatnonzero(~self._complete(slots))
        found = self.lfns.query(lfns, digests, slots)
        sites, names = self._sites(found, now)
        return Locations(
            locations=by_lfn(lfns, found, names),
            incomplete=list(dict.fromkeys(lfns[at] for at in lacking.tolist())),
            missing=self._missing(np.unique(slots[lacking])) if len(lacking) else [],
            sites=sites,
        )

    def _complete(self, slots: Slots) -> Flags:
        """Whether this node may say "nowhere" for each slot; for one that is not known, for all that it owns."""
        complete = self._senders.complete(np.maximum(slots, 0))
        if (slots < 0).any():
            complete[slots < 0] = self._senders.complete(self.owned).all()
        return complete

    def _missing(self, slots: Slots) -> list[str]:
        return self._senders.missing_sites(self.owned if (slots < 0).any() else slots)

    def _sites(self, found: MayHold, now: float) -> tuple[dict[str, SiteNews], list[str]]:
        """The news of each site found, and the name of the site of each pair."""
        numbers, which = np.unique(found.sites, return_inverse=True)
        places = [self._senders.place(number) for number in numbers.tolist()]
        ages = self._senders.ages(numbers, now).round(3).tolist()
        names = [name for name, _ in places]
        news = {name: SiteNews(url, age) for (name, url), age in zip(places, ages, strict=True)}
        return news, np.array(names, dtype=object)[which].tolist() if names else []


def by_lfn(lfns: Sequence[str], found: MayHold, names: list[str]) -> dict[str, list[str]]:
    """The names of each LFN's sites: the pairs are ordered by LFN, so that each has one run of them."""
    ends = np.searchsorted(found.rows, np.arange(len(lfns) + 1)).tolist()
    return {lfn: names[start:end] for lfn, (start, end) in zip(lfns, pairwise(ends), strict=True)}
