"""The client of one index node: what it knows itself, with no routing and no second opinion."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec import UNSET

from reploc import names
from reploc.client import locations
from reploc.client.calls import REQUEST_S
from reploc.client.retry import Retrying
from reploc.client.transport import Carried, HttpTransport, Request, Transport
from reploc.holdings import CollectionSites, Holdings
from reploc.listed import ListedLfns
from reploc.questions import NO_DEMAND, Demand, LocateBody, ResolveBody
from reploc.status import RliStatus
from reploc.wire import (
    DEADLINE_S,
    DEADLINE_S_MAX,
    PAGE_ITEMS,
    Body,
    Existence,
    LfnsBody,
    Location,
    Locations,
    Members,
    Resolved,
    ResolvedMany,
    SoftState,
    SoftStateAnswer,
)

T = TypeVar("T")

#: Says who forwarded a question, or asks for the node's own share alone; it is not forwarded again.
HOP_HEADER = "Reploc-Forwarded-By"
#: Says by which version of the ring a node's own share is asked for.
RING_HEADER = "Reploc-Ring"
#: The part of a request's time that a node may take to ask catalogs; the way there and back has the rest.
NODE_SHARE = 0.8


class RliNodeClient(Carried):
    """The index node at the base address `url`; close it, or use it as an async context.

    Each request, with its retries, takes at most `request_s` seconds, and then raises DeadlineExceeded. Any method may
    raise what the service raises, Unreachable, or AnswerInvalid. A `transport` that is given is its giver's to close.
    One call is one request: at most `wire.BATCH_ITEMS_MAX` LFNs.
    """

    def __init__(
        self,
        url: str,
        *,
        request_s: float = REQUEST_S,
        transport: Transport | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`headers` go with every request."""
        self.url = names.require_url(url)
        self._request_s = request_s
        self._headers = headers or {}
        super().__init__(transport, lambda: Retrying(HttpTransport()))

    async def location(self, lfn: str, demand: Demand = NO_DEMAND) -> Location:
        """Which sites may hold one LFN, as good as demanded."""
        query = {"lfn": names.require(lfn)}
        if not demand.is_none:
            query |= {"verify": str(demand.verify).lower(), "deadline_s": repr(self._deadline_s())}
        if demand.max_age_s is not None:
            query["max_age_s"] = repr(demand.max_age_s)
        return await self._ask(Request("GET", self.url, "/v1/locations", Location, query))

    async def locations(
        self, lfns: Sequence[str], demand: Demand = NO_DEMAND, collection: str | None = None
    ) -> Locations:
        """Which sites may hold each of many LFNs, all of one collection where it is given.

        Every LFN is in the answer, and every site of it is described.
        """
        body = self._locate_body(lfns, demand, collection)
        request = Request("POST", self.url, "/v1/locations", Locations, body=body)
        return locations.checked(await self._ask(request), lfns, str(request))

    async def exists(self, lfns: Sequence[str], demand: Demand = NO_DEMAND) -> Existence:
        """Which of many LFNs some site may hold, which none does, and which the node cannot say."""
        body = self._locate_body(lfns, demand)
        return await self._ask(Request("POST", self.url, "/v1/exists", Existence, body=body))

    async def replica(self, lfn: str, deadline_s: float = DEADLINE_S, *, client_site: str | None = None) -> Resolved:
        """Verified copies of one LFN, the nearest to `client_site` first; the node asks the catalogs, for at most
        `deadline_s` seconds."""
        query = {"lfn": names.require(lfn), "deadline_s": repr(deadline_s)}
        if client_site is not None:
            query["client_site"] = names.require_site(client_site)
        return await self._ask(Request("GET", self.url, "/v1/replicas", Resolved, query))

    async def replicas(
        self,
        lfns: Sequence[str],
        deadline_s: float = DEADLINE_S,
        *,
        max_age_s: float | None = None,
        client_site: str | None = None,
    ) -> ResolvedMany:
        """The same for many LFNs, with no site judged by news that is older than `max_age_s`."""
        names.require_all(lfns)
        site = UNSET if client_site is None else names.require_site(client_site)
        body = ResolveBody(list(lfns), UNSET, max_age_s, deadline_s, site)
        return await self._ask(Request("POST", self.url, "/v1/replicas", ResolvedMany, body=body))

    async def matching(self, pattern: str, limit: int = PAGE_ITEMS, after: str | None = None) -> ListedLfns:
        """One page of the LFNs that match a glob pattern, behind `after`. NotIndexed: none is told whole."""
        query = {"pattern": names.pattern(pattern).text, "limit": str(limit)}
        if after is not None:
            query["after"] = after
        return await self._ask(Request("GET", self.url, "/v1/lfns", ListedLfns, query))

    async def collection(self, name: str) -> CollectionSites:
        """Which sites hold how much of one collection."""
        query = {"name": names.require(name, "collection")}
        return await self._ask(Request("GET", self.url, "/v1/collection", CollectionSites, query))

    async def holdings(self) -> Holdings:
        """The state of each site's news of its collections."""
        return await self._ask(Request("GET", self.url, "/v1/collections/sites", Holdings))

    async def members(self) -> Members:
        """The index and its nodes, and the catalogs that the node has heard from."""
        return await self._ask(Request("GET", self.url, "/v1/members", Members))

    async def status(self) -> RliStatus:
        """Who the node is and what it holds."""
        return await self._ask(Request("GET", self.url, "/v1/status", RliStatus))

    async def soft_state(self, message: SoftState) -> SoftStateAnswer:
        """Tells the node a sender's news."""
        return await self._ask(Request("POST", self.url, "/v1/softstate", SoftStateAnswer, body=message))

    def _locate_body(self, lfns: Sequence[str], demand: Demand, collection: str | None = None) -> Body:
        names.require_all(lfns)
        if demand.is_none and collection is None:
            return LfnsBody(list(lfns))
        of = UNSET if collection is None else names.require(collection, "collection")
        return LocateBody(list(lfns), of, demand.max_age_s, demand.verify, self._deadline_s())

    def _deadline_s(self) -> float:
        """Seconds that the node may take: above nothing, as its bound wants it."""
        return min(max(self._request_s * NODE_SHARE, 1e-3), DEADLINE_S_MAX)

    async def _ask(self, request: Request[T]) -> T:
        if self._headers:
            request = replace(request, headers=self._headers)
        return await self._transport.ask(request, asyncio.get_running_loop().time() + self._request_s)
