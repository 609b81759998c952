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
from reploc.digest import Digests, slot_of, slots_of
from reploc.wire import Location, Locations, SiteLocation, SiteNews
from rli.completeness import Flags, Slots
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
    def missing_sites(self, slots: Slots) -> list[str]: ...
    def ages(self, numbers: NDArray[np.intp], now: float) -> NDArray[np.float64]: ...
    def age(self, number: int, now: float) -> float: ...
    def place(self, number: int) -> tuple[str, str]: ...


class Answers:
    """What a node says of LFNs."""

    def __init__(self, registry: Senders, matrix: Matrix) -> None:
        self._senders = registry
        self.matrix = matrix

    def _prepare(self, now: float) -> None:
        """What is to be done before an answer, which is always in time here."""

    def helpless(self, digests: Digests) -> NDArray[np.bool_]:
        """For which digests another node must be asked: nothing is held of the slot, and more may exist; shape (n,)."""
        slots = slots_of(digests, self.matrix.slots)
        empty: NDArray[np.bool_] = self.matrix.site_counts[slots] == 0
        return empty & ~self._senders.complete(slots)

    def location(self, lfn: str, now: float) -> Location:
        """Which sites may hold one LFN."""
        self._prepare(now)
        digests = digest.of([lfn])
        slot = slot_of(digests, self.matrix.slots)
        registry = self._senders
        complete = registry.is_complete(slot)
        sites = [
            SiteLocation(*registry.place(number), round(registry.age(number, now), 3))
            for number in self.matrix.sites_of(digests)
        ]
        return Location(lfn, complete, [] if complete else registry.missing_sites(np.array([slot])), sites)

    def each_location(self, lfns: Sequence[str], now: float) -> list[Location]:
        """Which sites may hold each of some LFNs, an answer for each of them."""
        if len(lfns) <= SINGLES_MAX:
            return [self.location(lfn, now) for lfn in lfns]
        self._prepare(now)
        digests = digest.of(lfns)
        slots = slots_of(digests, self.matrix.slots)
        found = self.matrix.query(digests)
        registry = self._senders
        numbers, which = np.unique(found.sites, return_inverse=True)
        ages = registry.ages(numbers, now).round(3).tolist()
        sites = [SiteLocation(*registry.place(number), age) for number, age in zip(numbers.tolist(), ages, strict=True)]
        named = [sites[at] for at in which.tolist()]
        ends = pairwise(np.searchsorted(found.rows, np.arange(len(lfns) + 1)).tolist())
        return [
            Location(lfn, complete, [] if complete else registry.missing_sites(slots[at : at + 1]), named[start:end])
            for at, (lfn, complete, (start, end)) in enumerate(
                zip(lfns, registry.complete(slots).tolist(), ends, strict=True)
            )
        ]

    def locations(self, lfns: Sequence[str], digests: Digests, now: float) -> Locations:
        """Which sites may hold each of many LFNs; `digests` are theirs, shape (n, 2)."""
        self._prepare(now)
        slots = slots_of(digests, self.matrix.slots)
        lacking = np.flatnonzero(~self._senders.complete(slots))
        found = self.matrix.query(digests)
        sites, names = self._sites(found, now)
        return Locations(
            locations=_by_lfn(lfns, found, names),
            incomplete=list(dict.fromkeys(lfns[at] for at in lacking.tolist())),
            missing=self._senders.missing_sites(np.unique(slots[lacking])) if len(lacking) else [],
            sites=sites,
        )

    def _sites(self, found: MayHold, now: float) -> tuple[dict[str, SiteNews], list[str]]:
        """The news of each site found, and the name of the site of each pair."""
        numbers, which = np.unique(found.sites, return_inverse=True)
        places = [self._senders.place(number) for number in numbers.tolist()]
        ages = self._senders.ages(numbers, now).round(3).tolist()
        names = [name for name, _ in places]
        news = {name: SiteNews(url, age) for (name, url), age in zip(places, ages, strict=True)}
        return news, np.array(names, dtype=object)[which].tolist() if names else []


def _by_lfn(lfns: Sequence[str], found: MayHold, names: list[str]) -> dict[str, list[str]]:
    """The names of each LFN's sites: the pairs are ordered by LFN, so that each has one run of them."""
    ends = np.searchsorted(found.rows, np.arange(len(lfns) + 1)).tolist()
    return {lfn: names[start:end] for lfn, (start, end) in zip(lfns, pairwise(ends), strict=True)}
