"""Follows index nodes down to the sites that they know: a parent names child nodes, and what they say is asked of them.

A child's word is the child's: it is asked as any client asks it, so that it answers for the whole of its index (the
Giggle paper, section 3, "RLS5: Hierarchical Index"). Nodes of the same index know the same; of those that a parent
names for an LFN one that answers completely settles it. A child that cannot be asked is named as missing, and the LFNs
concerned are incomplete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from reploc.client import locations
from reploc.client.batches import ITEMS, cut
from reploc.client.concurrency import REQUESTS, side_by_side
from reploc.client.node import RliNodeClient
from reploc.client.transport import Transport
from reploc.errors import ReplocError
from reploc.hierarchy import LEVELS_MAX
from reploc.questions import NO_DEMAND, Demand
from reploc.wire import Locations, SiteNews


@dataclass
class Descent:
    """One question on its way down, to be answered by the moment `until` of the loop's clock.

    `failed` takes why each node that could not be asked could not: name → error.
    """

    transport: Transport
    until: float
    demand: Demand = NO_DEMAND
    failed: dict[str, ReplocError] = field(default_factory=dict)

    async def followed(self, said: Locations, path: tuple[str, ...] = ()) -> Locations:
        """What a node says, with sites in place of all index nodes below it."""
        nodes = nodes_of(said)
        if not nodes:
            return said
        by_candidates = _by_candidates(said, nodes)
        asks = [(candidates, batch) for candidates, lfns in by_candidates.items() for batch in cut(lfns, ITEMS)]

        async def ask(one: tuple[tuple[str, ...], Sequence[str]]) -> Locations:
            return await self._one_of(one[0], nodes, one[1], path)

        below = await side_by_side(ask, asks, REQUESTS)
        return locations.together([without(said, nodes), *below])

    async def _one_of(
        self, candidates: Sequence[str], nodes: dict[str, SiteNews], lfns: Sequence[str], path: tuple[str, ...]
    ) -> Locations:
        """What nodes of one index say of LFNs, asked one after the other until one settles all."""
        said: Locations | None = None
        for number, name in enumerate(candidates):
            asked = list(lfns) if said is None else said.incomplete
            left = len(candidates) - number
            answer = await self._asked(name, nodes[name].lrc, asked, left, path)
            if answer is not None:
                said = answer if said is None else locations.merged(said, answer)
                if not said.incomplete:
                    return said
        return Locations({lfn: [] for lfn in lfns}, list(lfns), sorted(candidates), {}) if said is None else said

    async def _asked(
        self, name: str, url: str, lfns: Sequence[str], left: int, path: tuple[str, ...]
    ) -> Locations | None:
        """What one node says, and all below it; None where it cannot be asked, or was on the way here already."""
        if name in path or len(path) >= LEVELS_MAX:
            return None
        now = asyncio.get_running_loop().time()
        request_s = max(self.until - now, 0.0) / left
        try:
            node = RliNodeClient(url, request_s=request_s, transport=self.transport)
            said = await node.locations(lfns, self.demand)
        except ReplocError as wrong:
            self.failed[name] = wrong
            return None
        found = await self.followed(said, (*path, name))
        return replace(found, missing=[f"{name}/{missing}" for missing in found.missing])


def nodes_of(said: Locations) -> dict[str, SiteNews]:
    """The index nodes that an answer names."""
    return {name: news for name, news in said.sites.items() if news.index}


def without(said: Locations, nodes: dict[str, SiteNews]) -> Locations:
    """An answer without what it says of these nodes."""
    return replace(
        said,
        locations={lfn: [site for site in sites if site not in nodes] for lfn, sites in said.locations.items()},
        sites={site: news for site, news in said.sites.items() if site not in nodes},
    )


def _by_candidates(said: Locations, nodes: dict[str, SiteNews]) -> dict[tuple[str, ...], list[str]]:
    """The LFNs by the nodes of one index that may know them, the youngest news first."""
    found: dict[tuple[str, ...], list[str]] = {}
    for lfn, sites in said.locations.items():
        groups: dict[str, list[str]] = {}
        for site in sites:
            if site in nodes:
                groups.setdefault(nodes[site].index, []).append(site)
        for members in groups.values():
            found.setdefault(tuple(sorted(members, key=lambda name: (nodes[name].age_s, name))), []).append(lfn)
    return found
