"""Makes what a node knows as good as a client demands, by asking the catalogs whose news is too old or unverified."""

from __future__ import annotations

from reploc import service
from reploc.client import demands
from reploc.client.catalogs import ask_existence
from reploc.client.transport import Transport
from reploc.questions import Demand
from reploc.wire import Locations
from rli.index import Index


class Refresh:
    """The catalogs that feed the index, as a question's demand makes the node ask them."""

    def __init__(self, index: Index, transport: Transport) -> None:
        self._index = index
        self._transport = transport

    def stale(self, demand: Demand) -> dict[str, str]:
        """Sites in use whose news is older than demanded: site → address of its catalog."""
        if demand.max_age_s is None:
            return {}
        registry, now = self._index.registry, service.now()
        live = [member for member in registry.members(now) if member.state == "live"]
        return {
            member.name: member.url
            for member in live
            if (number := registry.number(member.name)) is not None and registry.age(number, now) > demand.max_age_s
        }

    async def located(self, known: Locations, demand: Demand, until: float) -> Locations:
        """What the node knows, made as good as demanded by the moment `until` of the loop's clock."""
        if demand.is_none or not known.locations:
            return known
        stale = self.stale(demand)
        asks = demands.asks(known, stale, verify=demand.verify)
        return demands.settled(known, stale, await ask_existence(self._transport, asks, until)) if asks else known
