"""Answers of a worker: from the shared memory that the main process changes meanwhile, each as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from msgspec.structs import replace

from reploc.client import locations
from reploc.digest import Digests
from reploc.members import IndexSettings
from reploc.wire import Location, Locations, SiteNews
from rli.answers import LATE_S, Answers
from rli.lfns import HeldLfns
from rli.matrix import Matrix
from rli.shared import Changing, Shared
from rli.shown import SeenRegistry

#: So few LFNs are answered in less time than passes between two changes of a busy node.
PART_MIN = 16


class Seen:
    """What a worker says of LFNs. Everything raises Changing where the main process must be asked."""

    def __init__(self, index: IndexSettings, bytes_max: int, shared: Shared) -> None:
        self._shared = shared
        self._registry = SeenRegistry(shared)
        self._answers = Answers(
            self._registry, HeldLfns(Matrix(index.slots, index.error_rate, bytes_max, shared)), index.partition
        )

    def _look(self, now: float) -> None:
        """Takes note of what changed. A main process that is held up may hold news that has expired."""
        if now - self._shared.arrays["expired_at"].item(0) > LATE_S:
            raise Changing
        self._answers.matrix.look()

    def helpless(self, digests: Digests) -> bool:
        """Whether another node must be asked about one of the digests."""
        slots = self._answers.slots_of([], digests)
        return self._shared.consistently(lambda: bool(self._answers.helpless(slots).any()))

    def each_location(self, lfns: Sequence[str], now: float) -> list[Location]:
        """Which sites may hold each of some LFNs, an answer for each of them."""

        def read() -> list[Location]:
            self._look(now)
            return self._answers.each_location(lfns, now)

        return self._shared.consistently(read, self._registry.forget)

    def locations(self, lfns: Sequence[str], digests: Digests, now: float) -> Locations:
        """Which sites may hold each of many LFNs; in parts, each of one moment, where all together take too long."""

        def read() -> Locations:
            self._look(now)
            return self._answers.locations(lfns, digests, now)

        try:
            return self._shared.consistently(read, self._registry.forget)
        except Changing:
            if len(lfns) <= PART_MIN:
                raise
        half = len(lfns) // 2
        parts = [self.locations(lfns[:half], digests[:half], now), self.locations(lfns[half:], digests[half:], now)]
        # What was read first may lack what came since: the news of a site is as old as the oldest that was read.
        oldest = {
            site: max((part.sites[site] for part in parts if site in part.sites), key=_age)
            for site in chain(*(part.sites for part in parts))
        }
        return replace(locations.joined(parts), sites=oldest)


def _age(news: SiteNews) -> float:
    return news.age_s
