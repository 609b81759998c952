"""Asks the other owners: for slots that this node holds nothing of, and for the list of senders.

A forwarded question carries a header and is never forwarded again, so that two nodes that both know nothing do not ask
each other for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from reploc import service
from reploc.client import locations
from reploc.client.concurrency import side_by_side
from reploc.client.locations import Part, View
from reploc.client.node import RliNodeClient
from reploc.client.transport import Transport
from reploc.errors import ReplocError
from reploc.holdings import CollectionSites
from reploc.members import IndexSettings
from reploc.questions import Demand
from reploc.wire import Locations, Members

#: Says which node forwarded a question; its presence says that it was forwarded.
HOP_HEADER = "Reploc-Forwarded-By"
#: Seconds that all other owners together may take; the client that waits has its own deadline and owners to ask.
FORWARD_S = 3.0
#: For so many times `expiry_s` the owners before a change of the ring are asked where the new ones are not complete:
#: who changes settings by hand, machine by machine, needs minutes.
FORMER_EXPIRIES = 10


class Forward:
    """The other nodes of the index, as this one asks them."""

    def __init__(self, index: IndexSettings, node: str, transport: Transport) -> None:
        self._node = node
        self._view = View(index.ring, index.urls)
        self._former: View | None = None
        self._former_until = 0.0
        self._transport = transport

    def change_ring(self, index: IndexSettings, now: float) -> None:
        """Other nodes or redundancy. The owners until now go on being asked for a while, behind the new ones."""
        self._former, self._former_until = self._view, now + FORMER_EXPIRIES * index.expiry_s
        self._view = View(index.ring, index.urls)

    def former(self, now: float) -> View | None:
        """The view before the last change, for as long as its owners are worth asking."""
        return self._former if now < self._former_until else None

    def peers(self, now: float) -> dict[str, str]:
        """The addresses of the other nodes, by name."""
        former = self.former(now)
        return {name: url for name, url in self._urls(former).items() if name != self._node}

    async def locations(self, lfns: Sequence[str], demand: Demand, until: float) -> Locations:
        """What the other owners say of LFNs by the moment `until` of the loop's clock, or in three seconds.

        Of those that none could be asked about it says that nothing is known.
        """
        until = min(until, _time() + FORWARD_S)

        async def ask(part: Part) -> Locations:
            return await self._ask_part(part, demand, until)

        parts = self._view.parts(lfns)
        said = locations.joined(await side_by_side(ask, parts, limit=len(parts)))
        former = self.former(service.now())
        if former is None or not said.incomplete:
            return said
        parts = former.parts(said.incomplete)
        return locations.merged(said, locations.joined(await side_by_side(ask, parts, limit=len(parts))))

    async def collection(self, name: str) -> list[CollectionSites]:
        """What the other owners of a collection's slot say, those that answer within three seconds."""
        views = [self._view, *filter(None, [self.former(service.now())])]
        urls = {url for view in views for node, url in view.owners(name).items() if node != self._node}

        async def ask(url: str) -> CollectionSites | None:
            with suppress(ReplocError):
                return await self._client(url, FORWARD_S).collection(name)
            return None

        said = await side_by_side(ask, sorted(urls), limit=max(1, len(urls)))
        return [one for one in said if one is not None]

    async def members(self, url: str) -> Members:
        """Whom the node at an address knows. Raises Unreachable and the like."""
        return await self._client(url, FORWARD_S).members()

    def _urls(self, former: View | None) -> dict[str, str]:
        return {**(former.urls if former else {}), **self._view.urls}

    async def _ask_part(self, part: Part, demand: Demand, until: float) -> Locations:
        said = locations.unanswered(part.lfns)
        urls = self._urls(self._former)
        others = [owner for owner in part.owners if owner != self._node]
        for left, owner in zip(range(len(others), 0, -1), others, strict=True):
            client = self._client(urls[owner], max(until - _time(), 0.0) / left)
            with suppress(ReplocError):
                said = locations.merged(said, await client.locations(said.incomplete, demand))
            if not said.incomplete:
                break
        return said

    def _client(self, url: str, request_s: float) -> RliNodeClient:
        headers = {HOP_HEADER: self._node}
        return RliNodeClient(url, request_s=request_s, transport=self._transport, headers=headers)


def _time() -> float:
    """Seconds of the running loop's clock."""
    return asyncio.get_running_loop().time()
