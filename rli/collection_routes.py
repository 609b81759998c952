"""The routes of an index node about collections: for placement by site, as Arrow, and for anybody by collection.

What is asked about a collection whose slot this node does not hold from every site is asked of the slot's other owners
too, once: a header says that a question was forwarded. Where sites are parted over nodes, each answers for its part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from reploc import names, service
from reploc.actions import Action, everything
from reploc.client.node import HOP_HEADER
from reploc.errors import NotIndexed, SiteUnknown
from reploc.holdings import (
    ARROW,
    POSITION_HEADER,
    VERSION_HEADER,
    CollectionQuery,
    CollectionSites,
    Holdings,
    HoldingsQuery,
    SiteCollection,
)
from reploc.routes import Also, Call, NoQuery, Reply, Route, get
from rli import arrow
from rli.collections import Collections
from rli.forward import Forward
from rli.index import Index
from rli.totals import Snapshot


class CollectionRoutes:
    """The handlers; what they answer from is the index's collections."""

    def __init__(self, index: Index, forward: Forward, node: str) -> None:
        self._index = index
        self._forward = forward
        self._node = node

    def routes(self) -> list[Route[Any]]:
        """The routes, whether or not this index is told of collections."""
        stream = Also(
            "The site's collections and their totals, ascending",
            media=ARROW,
            headers=((VERSION_HEADER, "The version of this news"), (POSITION_HEADER, "The position it includes")),
        )
        may = Action.READ_INDEX
        return [
            get(
                "/v1/collection",
                self.collection,
                CollectionQuery,
                "Which sites hold how much of a collection",
                action=may,
                acts_on=lambda asked: (asked.name,),
            ),
            get(
                "/v1/collections/sites",
                self.sites,
                NoQuery,
                "The state of each site's news of its collections",
                action=may,
                acts_on=everything,
            ),
            get(
                "/v1/collections/arrow",
                self.arrow,
                HoldingsQuery,
                "What one site holds of every collection",
                stream,
                action=may,
                acts_on=everything,
            ),
        ]

    async def collection(self, call: Call[CollectionQuery]) -> CollectionSites:
        name, held = names.require(call.what.name, "name"), self._required()
        found = held.of(name, service.now())
        if HOP_HEADER in call.headers:
            return found
        said = {self._node: found}
        if not self._forward.is_whole(name, said):
            said |= await self._forward.collection(name)
        return merged(list(said.values()), complete=self._forward.is_whole(name, said))

    async def sites(self, _: Call[NoQuery]) -> Holdings:
        return self._required().holdings(self._node, service.now())

    async def arrow(self, call: Call[HoldingsQuery]) -> Reply:
        site, held = names.require_site(call.what.site), self._required()
        if not held.registry.is_live(site):
            raise SiteUnknown(f"this node has no news of the collections of site {site!r}")
        headers = {
            VERSION_HEADER: held.version(site),
            POSITION_HEADER: str(held.registry.applied_position(site)),
        }
        body = await asyncio.to_thread(partial(_stream, held.snapshot(site)))
        return Reply(body, ARROW, headers=headers)

    def _required(self) -> Collections:
        if self._index.collections is None:
            raise NotIndexed("this index is not told of collections: index.collections is false")
        return self._index.collections


def merged(answers: Sequence[CollectionSites], *, complete: bool) -> CollectionSites:
    """What several nodes say of one collection: of each site the news of the highest position, then the youngest."""
    sites: dict[str, SiteCollection] = {}
    for answer in answers:
        for one in answer.sites:
            known = sites.get(one.site)
            if known is None or (one.position, -one.age_s) > (known.position, -known.age_s):
                sites[one.site] = one
    missing = set[str]() if complete else {site for answer in answers for site in answer.missing}
    return CollectionSites(answers[0].name, complete, sorted(missing), [sites[site] for site in sorted(sites)])


def _stream(snapshot: Snapshot) -> bytes:
    return arrow.stream(*snapshot.rows())
