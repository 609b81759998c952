"""Answers about LFNs, from what is known of the senders and the bits of their filters: in the process that is told of
them, or in a worker that reads what that one shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reploc import digest
from reploc.digest import Digests
from reploc.partition import Partition
from reploc.wire import Location, Locations, SiteLocation, SiteNews
from rli.completeness import Flags, Slots
from rli.lfns import HeldLfns
from rli.matrix import Matrix, MayHold

#: Seconds since the last look for senders without news, after which a question looks first: the process was stopped, or
#: its machine slept, and its duties come after what was asked meanwhile.
LATE_S = 2.0


#: So few LFNs cost less one by one: a batch has a fixed cost of about as many.
SINGLES_MAX = 10


class Held(NamedTuple):
    """What is held of one LFN: its slot, whether there can be no more, and the numbers of sites that may have it."""

    slot: int
    complete: bool
    sites: list[int]


class Senders(Protocol):
    """What an answer says of senders: the part of `Registry` that it is made from."""

    def complete(self, slots: Slots) -> Flags: ...
    def is_complete(self, slot: int) -> bool: ...
    def empty(self, slots: Slots) -> Flags: ...
    def missing_sites(self, slots: Slots) -> list[str]: ...
    def ages(self, numbers: NDArray[np.intp], now: float) -> NDArray[np.float64]: ...
    def age(self, number: int, now: float) -> float: ...
    def place(self, number: int) -> tuple[str, str, str]: ...


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
        return self.each_location([lfn], now)[0]

    def each_location(self, lfns: Sequence[str], now: float) -> list[Location]:
        """Which sites may hold each of some LFNs, whatever its collection, an answer for each of them."""
        named = dict[int, SiteLocation]()
        answers = []
        for lfn, held in zip(lfns, self.each_held(lfns, now), strict=True):
            for number in held.sites:
                if number not in named:
                    age_s = round(self._senders.age(number, now), 3)
                    named[number] = _location(self._senders.place(number), age_s)
            missing = [] if held.complete else self._missing(np.array([held.slot]))
            sites = [named[number] for number in held.sites]
            answers.append(Location(lfn, held.complete, missing, _each_once(sites) if len(sites) > 1 else sites))
        return answers

    def each_held(self, lfns: Sequence[str], now: float) -> list[Held]:
        """The numbers of the sites that may hold each of some LFNs, whatever its collection."""
        self._prepare(now)
        if not lfns:
            return []
        digests = digest.of(lfns)
        slots = self.slots_of(lfns, digests)
        slot_of = slots.tolist()
        if len(lfns) <= SINGLES_MAX and min(slot_of) >= 0:
            complete = [self._senders.is_complete(slot) for slot in slot_of]
            found = self.lfns.sites_of_each(lfns, digests, slot_of)
        else:
            complete = self._complete(slots).tolist()
            pairs = self.lfns.query(lfns, digests, slots)
            sites, ends = pairs.sites.tolist(), np.searchsorted(pairs.rows, np.arange(len(lfns) + 1)).tolist()
            found = [sites[start:end] for start, end in pairwise(ends)]
        return list(map(Held, slot_of, complete, found))

    def names_nodes(self, sites: Sequence[int]) -> bool:
        """Whether any of these senders is an index node below this one."""
        return any(self._senders.place(number)[2] for number in sites)

    def lrc_of(self, number: int) -> str:
        """Where the catalog of a site answers."""
        return self._senders.place(number)[1]

    def locations(self, lfns: Sequence[str], digests: Digests, now: float, collection: str | None = None) -> Locations:
        """Which sites may hold each of many LFNs, all of one collection where it is given; `digests` are theirs, shape
        (n, 2)."""
        self._prepare(now)
        slots = self.slots_of(lfns, digests, collection)
        return self._located(lfns, digests, slots, self._complete(slots), now)

    def _located(self, lfns: Sequence[str], digests: Digests, slots: Slots, complete: Flags, now: float) -> Locations:
        """What is held of LFNs of these slots, of which those flagged are complete."""
        lacking = np.flatnonzero(~complete)
        found = self.lfns.query(lfns, digests, slots)
        sites, names = self._sites(found, now)
        named = by_lfn(lfns, found, names)
        if any(news.index for news in sites.values()):
            named = {lfn: list(dict.fromkeys(of)) for lfn, of in named.items()}
        return Locations(
            locations=named,
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
        """The news of each site found, and the name of the site of each pair; an index node's is the oldest of all that
        it relays."""
        numbers, which = np.unique(found.sites, return_inverse=True)
        places = [self._senders.place(number) for number in numbers.tolist()]
        ages = self._senders.ages(numbers, now).round(3).tolist()
        names = [name for name, _, _ in places]
        named = sorted(zip(places, ages, strict=True), key=lambda one: one[1])
        news = {name: SiteNews(url, age, index) for (name, url, index), age in named}
        return news, np.array(names, dtype=object)[which].tolist() if names else []


def _location(place: tuple[str, str, str], age_s: float) -> SiteLocation:
    name, url, index = place
    return SiteLocation(name, url, age_s, index)


def _each_once(sites: list[SiteLocation]) -> list[SiteLocation]:
    """Sites as they are; an index node that relays several of them once, with the oldest news."""
    if not any(one.index for one in sites):
        return sites
    oldest = {one.site: one for one in sorted(sites, key=lambda one: one.age_s)}
    return [oldest[name] for name in dict.fromkeys(one.site for one in sites)]


def by_lfn(lfns: Sequence[str], found: MayHold, names: list[str]) -> dict[str, list[str]]:
    """The names of each LFN's sites: the pairs are ordered by LFN, so that each has one run of them."""
    ends = np.searchsorted(found.rows, np.arange(len(lfns) + 1)).tolist()
    return {lfn: names[start:end] for lfn, (start, end) in zip(lfns, pairwise(ends), strict=True)}
