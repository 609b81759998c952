"""What is begun next: pure decisions over lanes, within limits per site, per link and in all.

Lanes are served in turn, by how many of their operations and of their order's were begun, so that neither an order of a
million files nor its many lanes hold up another. Large files have at most three quarters of a site's places, so that
small ones find one. Sources are chosen by the quality of their links, disk before tape: tape is read only where no disk
has the file. A site that is not ready, or is being drained, gets and gives nothing: its operations wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from fileops.lane import Lane
from fileops.links import Links
from reploc.config import Settings
from reploc.sites import Site

#: The part of a site's places that large files may have.
LARGE_SHARE = 0.75


class AtOnceSettings(Settings, frozen=True):
    """How much is done at once; limits of each site stand at the site."""

    operations: Annotated[int, Meta(description="Operations at once, in all.", ge=1, le=100_000)] = 200
    per_link: Annotated[int, Meta(description="Copies at once from one site to one other.", ge=1, le=10_000)] = 10
    batch: Annotated[
        int, Meta(description="Operations of one lane that are begun before it is another's turn.", ge=1, le=10_000)
    ] = 20


@dataclass(frozen=True)
class Begin:
    """So many operations of a lane shall begin, copies from `source`."""

    lane: Lane
    source: str
    count: int


class Places:
    """How many operations are under way, and so how many more may be."""

    def __init__(self, limits: AtOnceSettings) -> None:
        self._limits = limits
        self.total = 0
        self.incoming: Counter[str] = Counter()
        self.large: Counter[str] = Counter()
        self.outgoing: Counter[str] = Counter()
        self.deletions: Counter[str] = Counter()
        self.links: Counter[tuple[str, str]] = Counter()

    def take(self, lane: Lane, source: str, count: int) -> None:
        """Counts operations as begun; a negative count as ended."""
        self.total += count
        if lane.kind == "delete":
            self.deletions[lane.site] += count
            return
        self.incoming[lane.site] += count
        self.large[lane.site] += count * lane.large
        self.outgoing[source] += count
        self.links[source, lane.site] += count

    def left(self, lane: Lane, site: Site) -> int:
        """Operations of a lane that may begin at its own site."""
        left = self._limits.operations - self.total
        if lane.kind == "delete":
            return min(left, site.deletions_max - self.deletions[site.name])
        left = min(left, site.copies_in_max - self.incoming[site.name])
        if lane.large:
            left = min(left, max(1, int(LARGE_SHARE * site.copies_in_max)) - self.large[site.name])
        return left

    def left_from(self, source: Site, destination: str) -> int:
        """Copies that may begin from a source to a destination."""
        on_link = self._limits.per_link - self.links[source.name, destination]
        return min(source.copies_out_max - self.outgoing[source.name], on_link)


class Schedule:
    """What is ready, what is under way, and whose turn it is; `chance` draws from [0, 1)."""

    def __init__(
        self, sites: Mapping[str, Site], limits: AtOnceSettings, links: Links, chance: Callable[[], float]
    ) -> None:
        self._sites = sites
        self._limits = limits
        self._links = links
        self._chance = chance
        self.places = Places(limits)
        self.drained: frozenset[str] = frozenset()
        self._ready: dict[int, Lane] = {}
        self._served: dict[int, int] = {}
        self._served_of_order: dict[int, int] = {}

    def ready(self, lanes: Iterable[Lane]) -> None:
        """In these lanes, and in no others, an operation is due. A lane or order that is new begins beside the one
        that was served least, not before all."""
        self._ready = {lane.id: lane for lane in lanes}
        orders = {lane.order for lane in self._ready.values()}
        self._served = _levelled(self._served, set(self._ready))
        self._served_of_order = _levelled(self._served_of_order, orders)

    def more(self, lane: Lane) -> None:
        """In this lane too an operation is due."""
        if lane.id not in self._ready:
            self.ready([*self._ready.values(), lane])

    def decide(self) -> list[Begin]:
        """What shall begin now, a batch of each lane at most; its places are taken. Say with `began` what did."""
        return [begin for lane in self._in_turn() if (begin := self._begin(lane)) is not None]

    def began(self, begin: Begin, count: int) -> None:
        """So many of a `Begin` really did; a lane that had fewer has none left for now."""
        self.places.take(begin.lane, begin.source, count - begin.count)
        if count < begin.count:
            self._ready.pop(begin.lane.id, None)

    def ended(self, lane: Lane, source: str) -> None:
        """One operation is not under way any more."""
        self.places.take(lane, source, -1)

    def _in_turn(self) -> list[Lane]:
        def turn(lane: Lane) -> tuple[int, int, int]:
            return self._served_of_order[lane.order], self._served[lane.id], lane.id

        return sorted(self._ready.values(), key=turn)

    def _begin(self, lane: Lane) -> Begin | None:
        site = self._sites.get(lane.site)
        if site is None or not self._works(site):
            return None
        count, source = self.places.left(lane, site), ""
        if lane.kind == "copy" and count > 0:
            chosen = self._source(lane)
            if chosen is None:
                return None
            source, count = chosen.name, min(count, self.places.left_from(chosen, lane.site))
        count = min(count, self._limits.batch)
        if count <= 0:
            return None
        self.places.take(lane, source, count)
        self._served[lane.id] += count
        self._served_of_order[lane.order] += count
        return Begin(lane, source, count)

    def _source(self, lane: Lane) -> Site | None:
        """The best source that has a place, among disks where any disk has the file."""
        known = [site for name in lane.sources if (site := self._sites.get(name)) is not None and self._works(site)]
        disks = [site for site in known if site.storage != "mss"]
        free = [site.name for site in disks or known if self.places.left_from(site, lane.site) > 0]
        chosen = self._links.choose(free, lane.site, self._chance)
        return None if chosen is None else self._sites[chosen]

    def _works(self, site: Site) -> bool:
        return site.status == "ready" and not self.drained & {site.name, ""}


def _levelled(served: Mapping[int, int], present: set[int]) -> dict[int, int]:
    """The counts of those that are present, new ones at the least of the others, all lowered to stay small."""
    old = [served[each] for each in present if each in served]
    least = min(old, default=0)
    return {each: served.get(each, least) - least for each in present}
