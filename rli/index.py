"""The index of one node: one answer from all summaries of LFNs, and beside it what is held of collections.

Rules (who is heard, what is held, what is complete) are the registry's, bits are the matrix's; `rli/intake.py` keeps
the two in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from reploc import digest
from reploc.digest import Digests, slot_of, slots_of
from reploc.errors import IndexMismatch
from reploc.members import IndexSettings
from reploc.wire import Location, Locations, Member, SiteLocation, SiteNews, SoftState, SoftStateAnswer
from rli.collections import Collections
from rli.completeness import Flags, Slots
from rli.filters import Filters
from rli.intake import Intake
from rli.matrix import Matrix, MayHold
from rli.registry import Registry

#: Seconds since the last look for senders without news, after which a question looks first: the process was stopped, or
#: its machine slept, and its duties come after what was asked meanwhile.
LATE_S = 2.0


class Index:
    """What a node holds of all sites. One event loop uses it; moments are monotonic seconds."""

    def __init__(self, index: IndexSettings, node: str, bytes_max: int, now: float) -> None:
        self.settings = index
        self.owned = index.ring.slots_owned(node)
        self.registry = Registry(index, self.owned, now)
        self.matrix = Matrix(index.slots, index.error_rate, bytes_max)
        self._intake = Intake(self.registry, {"bloom": Filters(self.matrix)})
        #: The totals of collections, where the index is told of them.
        self.collections = Collections(index, self.owned, now) if index.collections else None
        self._expired_at = now
        #: Senders that fell silent in front of a question, for the next `expire` to say.
        self._fell_silent: list[str] = []

    def change_ring(self, index: IndexSettings, node: str, now: float) -> None:
        """From now on the nodes and the redundancy are those of `index`, which is the same in all else."""
        self.settings = index
        self.owned = index.ring.slots_owned(node)
        for registry in self.registries:
            registry.own(index, self.owned, now)
        if self.collections is not None:
            self.collections.own(self.owned)

    @property
    def registries(self) -> list[Registry]:
        """Those of all that the node is told of, LFNs first."""
        return [self.registry] if self.collections is None else [self.registry, self.collections.registry]

    # ---- whom it knows -------------------------------------------------------------------------------------------

    def listed(self) -> Slots:
        """The slots whose senders this node vouches for, about LFNs and collections alike; ascending."""
        return reduce(np.intersect1d, [registry.listed() for registry in self.registries])

    def members(self, now: float) -> list[Member]:
        """The senders that the node knows, by name, as the youngest news shows them."""
        said = [member for registry in self.registries for member in registry.members(now)]
        said.sort(key=lambda member: (member.name, member.age_s))
        return [next(of_site) for _, of_site in groupby(said, key=lambda member: member.name)]

    def learn(self, listed: Flags, senders: Sequence[Member], now: float) -> None:
        """Takes another node's word: it knows all senders of the `listed` slots, shape (slots,), and these are they."""
        for registry in self.registries:
            registry.learn(listed, senders, now)

    def knows_all(self) -> bool:
        """Whether the node knows all senders of every slot that it owns."""
        return all(registry.knows_all() for registry in self.registries)

    # ---- soft state ----------------------------------------------------------------------------------------------

    async def receive(self, message: SoftState, now: float) -> SoftStateAnswer:
        """Takes a sender's message; other work goes on between the pieces of its summaries.

        Raises what `Registry.receive` raises, with nothing changed. A summary that is broken, or has no room, is asked
        for again; what was held of its slot stays.
        """
        if message.about == "names":
            return await self._intake.receive(message, now)
        if self.collections is None:
            raise IndexMismatch(
                f"site {message.site!r} sends totals of collections, but index.collections is false at this node"
            )
        return await self.collections.receive(message, now)

    def expire(self, now: float) -> list[str]:
        """Stops serving senders without news; their sites."""
        self._expired_at = now
        silent = [*self._fell_silent, *self._intake.expire(now)]
        self._fell_silent = []
        if self.collections is not None:
            silent += self.collections.expire(now)
        return list(dict.fromkeys(silent))

    # ---- answers -------------------------------------------------------------------------------------------------

    def _expire_if_late(self, now: float) -> None:
        """Nothing is answered from news that has expired, however long the duty that drops it is held up."""
        if now - self._expired_at > LATE_S:
            self._fell_silent = self.expire(now)

    def helpless(self, digests: Digests) -> NDArray[np.bool_]:
        """For which digests another node must be asked: nothing is held of the slot, and more may exist; shape (n,)."""
        slots = slots_of(digests, self.settings.slots)
        empty: NDArray[np.bool_] = self.matrix.site_counts[slots] == 0
        return empty & ~self.registry.complete(slots)

    def location(self, lfn: str, now: float) -> Location:
        """Which sites may hold one LFN."""
        self._expire_if_late(now)
        digests = digest.of([lfn])
        slot = slot_of(digests, self.settings.slots)
        registry = self.registry
        complete = registry.is_complete(slot)
        sites = [
            SiteLocation(registry.name(number), registry.url(number), round(registry.age(number, now), 3))
            for number in self.matrix.sites_of(digests)
        ]
        return Location(lfn, complete, [] if complete else registry.missing_sites(np.array([slot])), sites)

    def each_location(self, lfns: Sequence[str], now: float) -> list[Location]:
        """Which sites may hold each of some LFNs, an answer for each of them."""
        if len(lfns) == 1:
            return [self.location(lfns[0], now)]
        self._expire_if_late(now)
        digests = digest.of(lfns)
        slots = slots_of(digests, self.settings.slots)
        found = self.matrix.query(digests)
        registry = self.registry
        numbers, which = np.unique(found.sites, return_inverse=True)
        sites = [
            SiteLocation(registry.name(number), registry.url(number), round(registry.age(number, now), 3))
            for number in numbers.tolist()
        ]
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
        self._expire_if_late(now)
        slots = slots_of(digests, self.settings.slots)
        lacking = np.flatnonzero(~self.registry.complete(slots))
        found = self.matrix.query(digests)
        sites, names = self._sites(found, now)
        return Locations(
            locations=_by_lfn(lfns, found, names),
            incomplete=list(dict.fromkeys(lfns[at] for at in lacking.tolist())),
            missing=self.registry.missing_sites(np.unique(slots[lacking])) if len(lacking) else [],
            sites=sites,
        )

    def _sites(self, found: MayHold, now: float) -> tuple[dict[str, SiteNews], list[str]]:
        """The news of each site found, and the name of the site of each pair."""
        numbers, which = np.unique(found.sites, return_inverse=True)
        names = [self.registry.name(number) for number in numbers.tolist()]
        ages = self.registry.ages(numbers, now).round(3).tolist()
        urls = [self.registry.url(number) for number in numbers.tolist()]
        news = {name: SiteNews(url, age) for name, url, age in zip(names, urls, ages, strict=True)}
        return news, np.array(names, dtype=object)[which].tolist() if names else []


def _by_lfn(lfns: Sequence[str], found: MayHold, names: list[str]) -> dict[str, list[str]]:
    """The names of each LFN's sites: the pairs are ordered by LFN, so that each has one run of them."""
    ends = np.searchsorted(found.rows, np.arange(len(lfns) + 1)).tolist()
    return {lfn: names[start:end] for lfn, (start, end) in zip(lfns, pairwise(ends), strict=True)}
