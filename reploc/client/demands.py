"""What a demand on an answer makes of what the index knows: whom to ask besides, and what their words change.

A site whose news is older than demanded is judged by its own catalog, whatever the old news says: it may hold an LFN
that the news does not name. Sites that are to be verified are asked about the LFNs that they may hold. A site that
could not be asked is left out and named, `stale` or `unverified`, and the LFNs concerned are incomplete: so "no site
has it" is never the same answer as "I have not heard from site X".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reploc.client.resolve import CatalogAsk
from reploc.wire import Existence, Locations, SiteNews


@dataclass(frozen=True)
class ExistenceAnswer:
    """Which of the LFNs asked about a catalog holds, or why it said nothing."""

    ask: CatalogAsk
    known: frozenset[str] | str


def asks(located: Locations, stale: Mapping[str, str], *, verify: bool) -> list[CatalogAsk]:
    """Which catalog is to be asked about which LFNs, ordered by site; `stale` is site → address of its catalog."""
    every = list(located.locations)
    lfns_of = dict.fromkeys(stale, every)
    if verify:
        for lfn, sites in located.locations.items():
            for site in sites:
                if site not in stale:
                    lfns_of.setdefault(site, []).append(lfn)
    return [
        CatalogAsk(site, stale.get(site) or located.sites[site].lrc, lfns)
        for site, lfns in sorted(lfns_of.items())
        if lfns
    ]


def settled(located: Locations, stale: Mapping[str, str], answers: Iterable[ExistenceAnswer]) -> Locations:
    """What is known once the catalogs have answered `asks`; each LFN stands in one answer of a catalog."""
    asked: set[tuple[str, str]] = set()
    confirmed: dict[str, list[str]] = {}
    silent: set[str] = set()
    lacking: set[str] = set()
    sites = dict(located.sites)
    for answer in answers:
        site, lfns, known = answer.ask.site, answer.ask.lfns, answer.known
        asked.update((site, lfn) for lfn in lfns)
        if isinstance(known, str):
            silent.add(site)
            lacking.update(lfns)
            continue
        sites[site] = SiteNews(answer.ask.lrc, 0.0)
        for lfn in lfns:
            if lfn in known:
                confirmed.setdefault(lfn, []).append(site)
    locations = {
        lfn: sorted([*(site for site in named if (site, lfn) not in asked), *confirmed.get(lfn, [])])
        for lfn, named in located.locations.items()
    }
    occurring = set().union(*locations.values())
    return Locations(
        locations=locations,
        incomplete=[lfn for lfn in locations if lfn in lacking.union(located.incomplete)],
        missing=located.missing,
        sites={site: news for site, news in sites.items() if site in occurring},
        stale=sorted(silent & stale.keys()),
        unverified=sorted(silent - stale.keys()),
    )


def existence(located: Locations) -> Existence:
    """The same without the sites: which LFNs any of them may hold, which none does, and which nobody can say."""
    incomplete = set(located.incomplete)
    nowhere = [lfn for lfn, sites in located.locations.items() if not sites]
    return Existence(
        may_hold=[lfn for lfn, sites in located.locations.items() if sites],
        nowhere=[lfn for lfn in nowhere if lfn not in incomplete],
        unknown=[lfn for lfn in nowhere if lfn in incomplete],
        missing=located.missing,
        stale=located.stale,
        unverified=located.unverified,
    )
