"""Asks the other owners: for slots that this node holds nothing of, for names of theirs, and for the list of senders.

A forwarded question carries a header and is never forwarded again, so that two nodes that both know nothing do not ask
each other for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from reploc import service
from reploc.client import locations
from reploc.client.concurrency import side_by_side
from reploc.client.index import RliClient
from reploc.client.listing import Listed, PageOf, descended, gathered
from reploc.client.locations import Part, View
from reploc.client.node import HOP_HEADER, RING_HEADER, RliNodeClient
from reploc.client.shares import ask_shares
from reploc.client.transport import Transport
from reploc.errors import ReplocError
from reploc.holdings import CollectionSites
from reploc.listed import ListedLfns
from reploc.members import IndexSettings
from reploc.questions import Demand
from reploc.ring import Needs
from reploc.wire import Locations, Members

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

    def hear(self, members: Members, expiry_s: float, now: float) -> None:
        """Another node of the index tells whom it believes to be in it. Where that is another ring than this node's, or
        was one a moment ago, and this node has just started and knows no other, its owners are asked too."""
        if self.former(now) is not None:
            return
        with suppress(ReplocError):
            theirs = locations.view(members)
            other = theirs if theirs.ring != self._view.ring else theirs.former
            if other is not None:
                self._former, self._former_until = other, now + expiry_s

    def former(self, now: float) -> View | None:
        """The view before the last change, for as long as its owners are worth asking."""
        return self._former if now < self._former_until else None

    def peers(self, now: float) -> dict[str, str]:
        """The addresses of the other nodes, by name."""
        former = self.former(now)
        return {name: url for name, url in self._urls(former).items() if name != self._node}

    async def locations(self, ours: Locations, demand: Demand, until: float, collection: str | None) -> Locations:
        """What this node says of LFNs, made complete by what the other owners say.

        They are asked by the moment `until` of the loop's clock, or in three seconds.
        """
        until = min(until, _time() + FORWARD_S)

        async def ask(part: Part) -> Locations:
            return await self._with_others(_only(ours, part.lfns), part, demand, until, collection)

        parts = self._view.parts(list(ours.locations), collection)
        said = locations.joined(await side_by_side(ask, parts, limit=max(1, len(parts))))
        said = _only(said, list(ours.locations))  # in the order of the question
        former = self.former(service.now())
        if former is None or not said.incomplete:
            return said

        async def ask_former(part: Part) -> Locations:
            said = await self._others(former, part.needs, part.lfns, demand, until, collection)
            return said or locations.unanswered([])

        parts = former.parts(said.incomplete, collection)
        return locations.merged(said, locations.joined(await side_by_side(ask_former, parts, limit=len(parts))))

    async def _with_others(
        self, ours: Locations, part: Part, demand: Demand, until: float, collection: str | None
    ) -> Locations:
        """Of shares of which this node is an owner it is asked no more, unless its own answer is lacking."""
        others = [owners for owners in part.needs if self._node not in owners]
        mine = [
            tuple(owner for owner in owners if owner != self._node) for owners in part.needs if owners not in others
        ]
        first, second = await asyncio.gather(
            self._others(self._view, tuple(mine), ours.incomplete, demand, until, collection),
            self._others(self._view, tuple(others), part.lfns, demand, until, collection),
        )
        if mine:
            ours = ours if first is None else locations.merged(ours, first)
        if not others:
            return ours
        theirs = locations.unanswered(part.lfns) if second is None else second
        return locations.together([ours, theirs]) if mine else locations.merged(ours, theirs)

    async def _others(
        self, view: View, needs: Needs, lfns: Sequence[str], demand: Demand, until: float, collection: str | None
    ) -> Locations | None:
        """What other owners by a view say of all these shares, None where there are none or all of them fail."""
        by = view.ring.version if len(needs) > 1 or view.ring.partition.sites != "none" else ""

        async def ask(node: str, lfns: Sequence[str], *, left: int, alone: bool) -> Locations | None:
            del alone
            with suppress(ReplocError):
                client = self._client(view.urls[node], max(until - _time(), 0.0) / left, by)
                return await client.locations(lfns, demand, collection)
            return None

        if not lfns or not any(needs) or not all(needs):
            return None
        return await ask_shares(needs, lfns, ask, lambda node: node == self._node)

    async def listed(self, pattern: str, limit: int, ours: PageOf) -> Listed:
        """Up to `limit` LFNs that match a glob pattern, of all shares of the index and all below it.

        `ours` reads this node's own lists. Raises NotIndexed: those below are told no whole names.
        """

        async def page(node: str, most: int, after: str | None) -> ListedLfns | None:
            if node == self._node:
                return await ours(node, most, after)
            with suppress(ReplocError):
                return await self._client(self._view.urls[node], FORWARD_S).matching(pattern, most, after)
            return None

        async def below(urls: list[str]) -> Listed:
            return await RliClient(urls, transport=self._transport).matching(pattern, limit, FORWARD_S)

        found = await gathered(self._view.ring.needs[-1], page, limit, lambda node: node != self._node)
        return await descended(found, limit, below)

    async def collection(self, name: str) -> dict[str, CollectionSites]:
        """What the other owners of a collection's slot say, by node, those that answer within three seconds."""
        views = [self._view, *filter(None, [self.former(service.now())])]
        urls = {node: url for view in views for node, url in view.owners(name).items() if node != self._node}

        async def ask(node: str) -> CollectionSites | None:
            with suppress(ReplocError):
                return await self._client(urls[node], FORWARD_S).collection(name)
            return None

        said = await side_by_side(ask, sorted(urls), limit=max(1, len(urls)))
        return {node: one for node, one in zip(sorted(urls), said, strict=True) if one is not None}

    def is_whole(self, name: str, said: Mapping[str, CollectionSites]) -> bool:
        """Whether what nodes say of a collection leaves nothing out: for each part of the sites an owner is complete.

        What an owner before the last change says counts where there is but one part: of several it may have others now.
        """
        complete = {node for node, one in said.items() if one.complete}
        former = self.former(service.now())
        before = former is not None and former.ring.partition.site_parts == 1 and former.covers(name, complete)
        return before or self._view.covers(name, complete)

    async def members(self, url: str) -> Members:
        """Whom the node at an address knows. Raises Unreachable and the like."""
        return await self._client(url, FORWARD_S).members()

    def _urls(self, former: View | None) -> dict[str, str]:
        return {**(former.urls if former else {}), **self._view.urls}

    def _client(self, url: str, request_s: float, ring: str = "") -> RliNodeClient:
        headers = {HOP_HEADER: self._node, **({RING_HEADER: ring} if ring else {})}
        return RliNodeClient(url, request_s=request_s, transport=self._transport, headers=headers)


def _time() -> float:
    """Seconds of the running loop's clock."""
    return asyncio.get_running_loop().time()


def _only(said: Locations, lfns: Sequence[str]) -> Locations:
    """What an answer says of some of its LFNs, in their order."""
    lacking = set(said.incomplete)
    return replace(
        said,
        locations={lfn: said.locations[lfn] for lfn in lfns},
        incomplete=[lfn for lfn in lfns if lfn in lacking],
    )
