"""The client of file operations over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from msgspec import Struct

from fileops.messages import (
    CarriedOrders,
    DrainBody,
    DrainSaid,
    FileopsStatus,
    IdsBody,
    LinksSaid,
    OperationItem,
    OperationSaid,
    OperationsSaid,
    OutcomesSaid,
    StorySaid,
    SubmitBody,
    Submitted,
    Suspects,
)
from reploc import names
from reploc.client.retry import Retrying
from reploc.client.transport import Carried, HttpTransport, Request, Transport

T = TypeVar("T")

#: Seconds that one request may take, its retries included.
REQUEST_S = 30.0


class FileopsClient(Carried):
    """File operations at the base address `url`; close it, or use it as an async context.

    Any method may raise what the service raises, Unreachable, DeadlineExceeded or AnswerInvalid.
    """

    def __init__(self, url: str, *, request_s: float = REQUEST_S, transport: Transport | None = None) -> None:
        self.url = names.require_url(url)
        self._request_s = request_s
        super().__init__(transport, lambda: Retrying(HttpTransport()))

    async def submit(self, items: Sequence[OperationItem]) -> list[int]:
        """Submits operations; their numbers. What is wanted already is joined, so that asking again does no harm."""
        return (await self._post("/v1/operations", SubmitBody(list(items)), Submitted)).ids

    async def operation(self, number: int) -> StorySaid:
        """One operation with its story. Raises OperationUnknown."""
        return await self._get("/v1/operation", StorySaid, id=number)

    async def page(self, path: str, /, **query: object) -> OperationsSaid:
        """A page of `/v1/operations` or `/v1/history`."""
        return await self._get(path, OperationsSaid, **query)

    async def operations(self, path: str = "/v1/operations", /, **query: object) -> AsyncIterator[OperationSaid]:
        """All operations that a query narrows to, page after page."""
        after: int | None = 0
        while after is not None:
            said = await self.page(path, after=after, **query)
            for each in said.operations:
                yield each
            after = said.next

    async def cancel(self, ids: Sequence[int]) -> OutcomesSaid:
        """Cancels operations, each with its own outcome."""
        return await self._post("/v1/operations/cancel", IdsBody(list(ids)), OutcomesSaid)

    async def release(self, ids: Sequence[int]) -> OutcomesSaid:
        """Gives held operations another try, each with its own outcome."""
        return await self._post("/v1/operations/release", IdsBody(list(ids)), OutcomesSaid)

    async def drain(self, site: str = "", *, undo: bool = False) -> DrainSaid:
        """Gives a site, or all, no new operations, or again."""
        return await self._post("/v1/drain", DrainBody(site, undo), DrainSaid)

    async def links(self) -> LinksSaid:
        """How copies between sites go."""
        return await self._get("/v1/links", LinksSaid)

    async def carried(self) -> CarriedOrders:
        """The newest orders as they stand here."""
        return await self._get("/v1/carried", CarriedOrders)

    async def suspects(self) -> Suspects:
        """Copies that turned out bad."""
        return await self._get("/v1/suspects", Suspects)

    async def status(self) -> FileopsStatus:
        """What the service is and has to do."""
        return await self._get("/v1/status", FileopsStatus)

    async def _get(self, path: str, kind: type[T], /, **query: object) -> T:
        given = {key: str(value) for key, value in query.items() if value is not None}
        return await self._ask(Request("GET", self.url, path, kind, given))

    async def _post(self, path: str, body: Struct, kind: type[T]) -> T:
        return await self._ask(Request("POST", self.url, path, kind, body=body))

    async def _ask(self, request: Request[T]) -> T:
        return await self._transport.ask(request, asyncio.get_running_loop().time() + self._request_s)
