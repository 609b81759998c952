"""Makes what a node knows as good as a client demands, by asking the catalogs whose news is too old or unverified.

An index node below is asked with the same demand, so that the answer names sites in its place."""

from __future__ import annotations

import asyncio

from reploc import service
from reploc.client import demands, locations
from reploc.client.catalogs import ask_existence
from reploc.client.descent import Descent, nodes_of, without
from reploc.client.transport import Transport
from reploc.questions import Demand
from reploc.wire import Locations, SiteNews
from rli.index import Index
from rli.site import Site


class Refresh:
    """The catalogs that feed the index, as a question's demand makes the node ask them."""

    def __init__(self, index: Index, transport: Transport) -> None:
        self._index = index
        self._transport = transport

    def stale(self, demand: Demand) -> dict[str, str]:
        """Sites in use whose news is older than demanded: name → address."""
        return {sender.name: sender.url for sender in self._stale(demand) if sender.beneath is None}

    def _stale(self, demand: Demand) -> list[Site]:
        """The same, and index nodes below, of which each that relays is as many senders."""
        if demand.max_age_s is None:
            return []
        registry, now = self._index.registry, service.now()
        return [sender for sender in registry.live() if registry.age(sender.number, now) > demand.max_age_s]

    async def located(self, known: Locations, demand: Demand, until: float) -> Locations:
        """What the node knows, made as good as demanded by the moment `until` of the loop's clock."""
        if demand.is_none or not known.locations:
            return known
        below = self._below(known, demand)
        if below.sites:
            here = without(known, below.sites)
            said = await asyncio.gather(
                self._by_catalogs(here, demand, until), Descent(self._transport, until, demand).followed(below)
            )
            return locations.together(said)
        return await self._by_catalogs(known, demand, until)

    def _below(self, known: Locations, demand: Demand) -> Locations:
        """The part of an answer that index nodes below are to be asked about: what they may know, and everything where
        their news is older than demanded."""
        nodes = nodes_of(known)
        places = [sender.place for sender in self._stale(demand) if sender.beneath is not None]
        stale = {name: SiteNews(url, 0.0, index) for name, url, index in places}
        return Locations(
            locations={
                lfn: list(dict.fromkeys([*(site for site in named if site in nodes), *stale]))
                for lfn, named in known.locations.items()
            },
            incomplete=[],
            missing=[],
            sites={**nodes, **stale},
        )

    async def _by_catalogs(self, known: Locations, demand: Demand, until: float) -> Locations:
        """The same of sites alone."""
        stale = self.stale(demand)
        asks = demands.asks(known, stale, verify=demand.verify)
        return demands.settled(known, stale, await ask_existence(self._transport, asks, until)) if asks else known
