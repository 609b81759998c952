"""Asks the other owners: for slots that this node holds nothing of, and for the list of senders.

A forwarded question carries a header and is never forwarded again, so that two nodes that both know nothing do not ask
each other for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from reploc.client import locations
from reploc.client.concurrency import side_by_side
from reploc.client.locations import Part, View
from reploc.client.node import RliNodeClient
from reploc.client.transport import Transport
from reploc.errors import ReplocError
from reploc.members import IndexSettings
from reploc.questions import Demand
from reploc.wire import Locations, Members

#: Says which node forwarded a question; its presence says that it was forwarded.
HOP_HEADER = "Reploc-Forwarded-By"
#: Seconds that all other owners together may take; the client that waits has its own deadline and owners to ask.
FORWARD_S = 3.0


class Forward:
    """The other nodes of the index, as this one asks them."""

    def __init__(self, index: IndexSettings, node: str, transport: Transport) -> None:
        self._node = node
        self._view = View(index.ring, index.urls)
        self._transport = transport

    def peers(self) -> list[str]:
        """The names of the other nodes."""
        return [name for name in self._view.urls if name != self._node]

    async def locations(self, lfns: Sequence[str], demand: Demand, until: float) -> Locations:
        """What the other owners say of LFNs by the moment `until` of the loop's clock, or in three seconds.

        Of those that none could be asked about it says that nothing is known.
        """
        until = min(until, _time() + FORWARD_S)

        async def ask(part: Part) -> Locations:
            return await self._ask_part(part, demand, until)

        parts = self._view.parts(lfns)
        return locations.joined(await side_by_side(ask, parts, limit=len(parts)))

    async def members(self, peer: str) -> Members:
        """Whom another node knows. Raises Unreachable and the like."""
        return await self._client(peer, FORWARD_S).members()

    async def _ask_part(self, part: Part, demand: Demand, until: float) -> Locations:
        said = locations.unanswered(part.lfns)
        others = [owner for owner in part.owners if owner != self._node]
        for left, owner in zip(range(len(others), 0, -1), others, strict=True):
            client = self._client(owner, max(until - _time(), 0.0) / left)
            with suppress(ReplocError):
                said = locations.merged(said, await client.locations(said.incomplete, demand))
            if not said.incomplete:
                break
        return said

    def _client(self, peer: str, request_s: float) -> RliNodeClient:
        headers = {HOP_HEADER: self._node}
        return RliNodeClient(self._view.urls[peer], request_s=request_s, transport=self._transport, headers=headers)


def _time() -> float:
    """Seconds of the running loop's clock."""
    return asyncio.get_running_loop().time()
