"""The index of one node: one answer from all summaries, and the way of a summary into them.

Rules (who is heard, what is held, what is complete) are the registry's, bits are the matrix's; here the two are kept in
step. A whole summary is verified, written beside what is served, and swapped in one step with its entry in the
registry; an increment is verified against the bits that it would change, and changes them in one step with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reploc import digest
from reploc.difference import from_bytes
from reploc.digest import Digests, slot_of, slots_of
from reploc.errors import ReplocError, SummaryInvalid
from reploc.members import IndexSettings
from reploc.softstate import whole_filter
from reploc.wire import Location, Locations, SiteLocation, SiteNews, SoftState, SoftStateAnswer, Summary
from rli.matrix import Matrix, MayHold
from rli.registry import Decision, DropSite, Registry

#: Bytes of a filter above which its checksum is computed in a thread: below it takes less than two milliseconds.
VERIFY_BYTES = 24 << 10


class Index:
    """What a node holds of all sites. One event loop uses it; moments are monotonic seconds."""

    def __init__(self, index: IndexSettings, node: str, bytes_max: int, now: float) -> None:
        self.settings = index
        self.owned = index.ring.slots_owned(node)
        self.registry = Registry(index, self.owned, now)
        self.matrix = Matrix(index.slots, index.error_rate, bytes_max)

    def change_ring(self, index: IndexSettings, node: str, now: float) -> None:
        """From now on the nodes and the redundancy are those of `index`, which is the same in all else."""
        self.settings = index
        self.owned = index.ring.slots_owned(node)
        self.registry.own(index, self.owned, now)

    # ---- soft state ----------------------------------------------------------------------------------------------

    async def receive(self, message: SoftState, now: float) -> SoftStateAnswer:
        """Takes a sender's message; other work goes on between the pieces of its summaries.

        Raises what `Registry.receive` raises, with nothing changed. A summary that is broken, or has no room, is asked
        for again; what was held of its slot stays.
        """
        decision = self.registry.receive(message, now)
        for slot in decision.dropped.tolist():
            self.matrix.drop(slot, decision.number)
        spoiled: dict[int, str] = {}
        for summary in decision.accepted:
            try:
                if summary.from_seq:
                    self._change(decision, summary)
                    await asyncio.sleep(0)
                else:
                    await self._swap_in(decision, summary)
            except ReplocError as wrong:
                spoiled[summary.slot] = f"{wrong.code}: {wrong.detail}"
        settled = self.registry.answer(decision, spoiled)
        if settled.drop is not None:
            for slot in settled.drop.slots.tolist():
                self.matrix.drop(slot, settled.drop.number)
        return settled.answer

    def _change(self, decision: Decision, summary: Summary) -> None:
        """Applies an increment in one step, once it is known that the filter after it is the sender's."""
        if not self.registry.wanted(decision, summary):
            return
        slot, site = summary.slot, decision.number
        difference, _ = from_bytes(summary.body)
        was_set = np.concatenate(
            [self.matrix.read_bits(slot, site, part) for part in (difference.set, difference.clear)]
        )
        found = difference.checksum_after(self.registry.checksum(decision, slot), was_set)
        if found != summary.checksum:
            raise SummaryInvalid(
                f"checksum of slot {slot} after the increment would be {found:016x}; it says {summary.checksum:016x}"
            )
        self.matrix.change(slot, site, difference)
        self.registry.applied(decision, summary)

    async def _swap_in(self, decision: Decision, summary: Summary) -> None:
        if len(summary.body) > VERIFY_BYTES:
            whole = await asyncio.to_thread(whole_filter, summary, self.settings.error_rate)
        else:
            whole = whole_filter(summary, self.settings.error_rate)
        writing = self.matrix.store(summary.slot, decision.number, whole.size_class, whole.bits)
        # The last step swaps, and nothing comes between it and the look at the registry before it.
        while self.registry.wanted(decision, summary):
            if next(writing, writing) is writing:
                self.registry.applied(decision, summary)
                return
            await asyncio.sleep(0)
        writing.close()

    def expire(self, now: float) -> list[str]:
        """Stops serving senders without news; their sites."""
        silent = []
        for decision in self.registry.expire(now):
            if isinstance(decision, DropSite):
                self.matrix.drop_site(decision.number)
                silent.append(decision.site)
        return silent

    # ---- answers -------------------------------------------------------------------------------------------------

    def helpless(self, digests: Digests) -> NDArray[np.bool_]:
        """For which digests another node must be asked: nothing is held of the slot, and more may exist; shape (n,)."""
        slots = slots_of(digests, self.settings.slots)
        empty: NDArray[np.bool_] = self.matrix.site_counts[slots] == 0
        return empty & ~self.registry.complete(slots)

    def location(self, lfn: str, now: float) -> Location:
        """Which sites may hold one LFN."""
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
