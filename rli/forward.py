"""Asks the other owners: for slots that this node holds nothing of, and for the list of senders.

A forwarded question carries a header and is never forwarded again, so that two nodes that both know nothing do not ask
each other for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from reploc import locations
from reploc.concurrency import side_by_side
from reploc.errors import ReplocError
from reploc.locations import Part, View
from reploc.members import IndexSettings
from reploc.node_client import RliNodeClient
from reploc.transport import Transport
from reploc.wire import Locations, Members

#: Says which node forwarded a question; its presence says that it was forwarded.
HOP_HEADER = "Reploc-Forwarded-By"
#: Seconds that another owner may take; the client that waits has its own deadline and other owners to ask.
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

    async def locations(self, lfns: Sequence[str]) -> Locations:
        """What the other owners say of LFNs; of those that none could be asked about, that nothing is known."""
        return locations.joined(await side_by_side(self._ask_part, self._view.parts(lfns)))

    async def members(self, peer: str) -> Members:
        """Whom another node knows. Raises Unreachable and the like."""
        return await self._client(peer).members()

    async def _ask_part(self, part: Part) -> Locations:
        said: Locations | None = None
        for owner in part.owners:
            if owner == self._node or (said is not None and not said.incomplete):
                continue
            try:
                answer = await self._client(owner).locations(part.lfns if said is None else said.incomplete)
            except ReplocError:
                continue
            said = answer if said is None else locations.merged(said, answer)
        return locations.unanswered(part.lfns) if said is None else said

    def _client(self, peer: str) -> RliNodeClient:
        headers = {HOP_HEADER: self._node}
        return RliNodeClient(self._view.urls[peer], request_s=FORWARD_S, transport=self._transport, headers=headers)
