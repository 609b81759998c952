"""Copies ordered for a client: its own site's, then by configured distance, then by measured round trips, then by name.

A distance is any number that an operator finds fit: milliseconds, hops, the price of a gigabyte. Said one way it holds
both ways, unless the other way is said too. Where none is said, the round trips to the catalogs order the copies, as
the client measured them, or in its place the node. The two are not compared with each other: a copy at a site of
configured distance comes first. How an order came about, and what it lacks, goes with the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Annotated, TypeAlias

from msgspec import Meta

from reploc.client.resolve import Lookup
from reploc.client.round_trips import RoundTrips
from reploc.wire import UNORDERED, Ordering, SiteReplica

#: Site → site → distance, as settings hold it.
Distances: TypeAlias = dict[str, dict[str, Annotated[float, Meta(ge=0)]]]
#: Sites that a reason names one by one: more are a matter for who writes the settings, not for who reads an answer.
SITES_NAMED_MAX = 5


@dataclass(frozen=True)
class Nearness:
    """How far sites are from each other, and how long their catalogs take to answer who measured `trips`."""

    distances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    trips: RoundTrips = field(default_factory=RoundTrips)

    def distance(self, one: str, other: str) -> float | None:
        """From one site to another; None where nobody has said it."""
        if one == other:
            return 0.0
        there = self.distances.get(one, {}).get(other)
        return self.distances.get(other, {}).get(one) if there is None else there

    def ordering(self, client_site: str | None, sites: Iterable[str]) -> Ordering:
        """By what copies at these sites can be ordered, and what is lacking for more."""
        if client_site is None:
            return UNORDERED
        others = sorted({*sites} - {client_site})
        far = [site for site in others if self.distance(client_site, site) is None]
        if not far:
            return Ordering("distance")
        lacking = f"no distance is configured from {client_site} to {_named(far)}"
        unmeasured = [site for site in far if self.trips.seconds(site) is None]
        if not unmeasured:
            return Ordering("round_trip", lacking)
        if len(unmeasured) < len(far):
            none = f"no round trip was measured to {_named(unmeasured)}; copies there come last, by name"
            return Ordering("round_trip", f"{lacking}, and {none}")
        if len(far) < len(others):
            return Ordering("distance", f"{lacking}; copies there come last, by name")
        return Ordering("site" if client_site in {*sites} else "name", lacking)

    def nearest_first(self, found: Lookup, client_site: str | None) -> Lookup:
        """The same lookup with each LFN's copies ordered for a client at this site."""
        sites = {copy.site for copies in found.replicas.values() for copy in copies}
        ordering = self.ordering(client_site, sites)
        if client_site is None:
            return replace(found, ordering=ordering)
        replicas = {lfn: self._ordered(copies, client_site) for lfn, copies in found.replicas.items()}
        return replace(found, replicas=replicas, ordering=ordering)

    def _ordered(self, copies: Sequence[SiteReplica], client_site: str) -> list[SiteReplica]:
        def rank(copy: SiteReplica) -> tuple[bool, float, float, str]:
            distance, trip = self.distance(client_site, copy.site), self.trips.seconds(copy.site)
            far, late = inf if distance is None else distance, inf if trip is None else trip
            return copy.site != client_site, far, 0.0 if distance is not None else late, copy.site

        return sorted(copies, key=rank)


def _named(sites: Sequence[str]) -> str:
    """The first few sites, and how many more there are."""
    more = len(sites) - SITES_NAMED_MAX
    return ", ".join(sites[:SITES_NAMED_MAX]) + f" and {more} more" * (more > 0)
