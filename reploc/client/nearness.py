"""Copies ordered for a client: those of its own site first, then by configured distance, then by the site's name.

A distance is any number that an operator finds fit: milliseconds, hops, the price of a gigabyte. Said one way it holds
both ways, unless the other way is said too. How an order came about, and what it lacks, goes with the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, TypeAlias

from msgspec import Meta

from reploc.client.resolve import Lookup
from reploc.wire import Ordering, SiteReplica

#: Site → site → distance, as settings hold it.
Distances: TypeAlias = dict[str, dict[str, Annotated[float, Meta(ge=0)]]]
#: Sites that a reason names one by one: more are a matter for who writes the settings, not for who reads an answer.
SITES_NAMED_MAX = 5


@dataclass(frozen=True)
class Nearness:
    """How far sites are from each other."""

    distances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def distance(self, one: str, other: str) -> float | None:
        """From one site to another; None where nobody has said it."""
        if one == other:
            return 0.0
        there = self.distances.get(one, {}).get(other)
        return self.distances.get(other, {}).get(one) if there is None else there

    def ordering(self, client_site: str | None, sites: Iterable[str]) -> Ordering:
        """By what copies at these sites can be ordered, and what is lacking for more."""
        if client_site is None:
            return Ordering("name", "no client_site was given")
        others = sorted({*sites} - {client_site})
        far = [site for site in others if self.distance(client_site, site) is None]
        if not far:
            return Ordering("distance")
        named = ", ".join(far[:SITES_NAMED_MAX]) + (
            f" and {len(far) - SITES_NAMED_MAX} more" * (len(far) > SITES_NAMED_MAX)
        )
        lacking = f"no distance is configured from {client_site} to {named}"
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
        def rank(copy: SiteReplica) -> tuple[bool, bool, float, str]:
            distance = self.distance(client_site, copy.site)
            return copy.site != client_site, distance is None, distance or 0.0, copy.site

        return sorted(copies, key=rank)
