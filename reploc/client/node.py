"""The client of one index node: what it knows itself, with no routing and no second opinion."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self, TypeVar

from reploc import names
from reploc.client import locations
from reploc.client.lrc import REQUEST_S
from reploc.client.retry import Retrying
from reploc.client.transport import HttpTransport, Request, Transport
from reploc.wire import (
    DEADLINE_S,
    LfnsBody,
    Location,
    Locations,
    Members,
    ResolveBody,
    Resolved,
    ResolvedMany,
    RliStatus,
    SoftState,
    SoftStateAnswer,
)

T = TypeVar("T")


class RliNodeClient:
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
        self._transport = transport or Retrying(HttpTransport())
        self._owned = transport is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._owned:
            await self._transport.close()

    async def location(self, lfn: str) -> Location:
        """Which sites may hold one LFN."""
        return await self._ask(Request("GET", self.url, "/v1/locations", Location, {"lfn": names.require(lfn)}))

    async def locations(self, lfns: Sequence[str]) -> Locations:
        """Which sites may hold each of many LFNs. Every LFN is in the answer, and every site of it is described."""
        names.require_all(lfns)
        request = Request("POST", self.url, "/v1/locations", Locations, body=LfnsBody(list(lfns)))
        return locations.checked(await self._ask(request), lfns, str(request))

    async def replica(self, lfn: str, deadline_s: float = DEADLINE_S) -> Resolved:
        """Verified copies of one LFN; the node asks the catalogs, for at most `deadline_s` seconds."""
        query = {"lfn": names.require(lfn), "deadline_s": repr(deadline_s)}
        return await self._ask(Request("GET", self.url, "/v1/replicas", Resolved, query))

    async def replicas(self, lfns: Sequence[str], deadline_s: float = DEADLINE_S) -> ResolvedMany:
        """The same for many LFNs."""
        names.require_all(lfns)
        body = ResolveBody(list(lfns), deadline_s)
        return await self._ask(Request("POST", self.url, "/v1/replicas", ResolvedMany, body=body))

    async def members(self) -> Members:
        """The index and its nodes, and the catalogs that the node has heard from."""
        return await self._ask(Request("GET", self.url, "/v1/members", Members))

    async def status(self) -> RliStatus:
        """Who the node is and what it holds."""
        return await self._ask(Request("GET", self.url, "/v1/status", RliStatus))

    async def soft_state(self, message: SoftState) -> SoftStateAnswer:
        """Tells the node a sender's news."""
        return await self._ask(Request("POST", self.url, "/v1/softstate", SoftStateAnswer, body=message))

    async def _ask(self, request: Request[T]) -> T:
        if self._headers:
            request = replace(request, headers=self._headers)
        return await self._transport.ask(request, asyncio.get_running_loop().time() + self._request_s)
