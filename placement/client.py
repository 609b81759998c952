"""The client of a placement service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct

from placement.messages import (
    CancelBody,
    CycleDecisions,
    Cycles,
    Dataset,
    Datasets,
    Definitions,
    InjectBody,
    Injected,
    InventoryStatus,
    LockBody,
    LockItem,
    Locks,
    Numbers,
    PlacementStatus,
    Pulled,
    ReleaseBody,
    WishBody,
    WishItem,
    Written,
)
from placement.request_messages import DataRequests, RequestBody, Requested, RequestItem
from reploc import names
from reploc.client.transport import Carried, HttpTransport, Request, Transport
from reploc.orders import BlockFiles, Orders
from reploc.wire import PAGE_ITEMS, Nothing

T = TypeVar("T")

#: Seconds that an answer may take: a first inventory of ten million replicas is made within them.
REQUEST_S = 60.0


class PlacementClient(Carried):
    """Asks the service at a base address. Its methods raise what the service raises, and Unreachable."""

    def __init__(self, url: str, *, transport: Transport | None = None, request_s: float = REQUEST_S) -> None:
        super().__init__(transport, HttpTransport)
        self.url = names.require_url(url)
        self._request_s = request_s

    async def status(self) -> PlacementStatus:
        """What the service is and does."""
        return await self._get("/v1/status", PlacementStatus)

    async def inventory(self) -> InventoryStatus:
        """The inventory in numbers."""
        return await self._get("/v1/inventory", InventoryStatus)

    async def definitions(self) -> Definitions:
        """What is defined, but for datasets."""
        return await self._get("/v1/definitions", Definitions)

    async def datasets(self, pattern: str = "*", *, limit: int = PAGE_ITEMS, after: str | None = None) -> Datasets:
        """A page of datasets."""
        return await self._get("/v1/datasets", Datasets, pattern=pattern, limit=str(limit), after=after)

    async def dataset(self, name: str) -> Dataset:
        """One dataset. Raises DefinitionUnknown."""
        return await self._get("/v1/dataset", Dataset, name=name)

    async def inject(self, body: InjectBody) -> Injected:
        """Defines things in bulk, all or nothing."""
        return await self._post("/v1/inject", body, Injected)

    async def pull(self) -> Pulled:
        """Makes the service ask the index now."""
        return await self._post("/v1/pull", Nothing(), Pulled)

    async def locks(self, *, every: bool = False, after: int = 0) -> Locks:
        """A page of locks that hold, or of every one."""
        return await self._get("/v1/locks", Locks, all="true" if every else "false", after=str(after))

    async def lock(self, items: Sequence[LockItem], placed_by: str = "") -> list[int]:
        """Places locks; their numbers."""
        return (await self._post("/v1/locks", LockBody(list(items), placed_by), Numbers, idempotent=False)).ids

    async def release(self, ids: Sequence[int], released_by: str = "") -> list[int]:
        """Releases locks; those that held."""
        return (await self._post("/v1/locks/release", ReleaseBody(list(ids), released_by), Numbers)).ids

    async def order(self, items: Sequence[WishItem], asked_by: str = "") -> Written:
        """Orders copies and deletions, all or nothing; again they join those that are open."""
        return await self._post("/v1/orders", WishBody(list(items), asked_by), Written)

    async def cancel(self, ids: Sequence[int], reason: str = "") -> list[int]:
        """Cancels orders; those that were open."""
        return (await self._post("/v1/orders/cancel", CancelBody(list(ids), reason), Numbers)).ids

    async def order_history(self, **asked: str) -> Orders:
        """Orders from the newest back; see `OrderHistoryQuery`."""
        return await self._get("/v1/orders/history", Orders, **asked)

    async def ask(self, items: Sequence[RequestItem], asked_by: str = "") -> Requested:
        """Makes requests, all or nothing; again they join those that are open."""
        return await self._post("/v1/data/requests", RequestBody(list(items), asked_by), Requested)

    async def requests(self, **asked: str) -> DataRequests:
        """Requests from the newest back; see `RequestsQuery`."""
        return await self._get("/v1/data/requests", DataRequests, **asked)

    async def cancel_requests(self, ids: Sequence[int], reason: str = "") -> list[int]:
        """Cancels requests; those that were open."""
        return (await self._post("/v1/data/requests/cancel", CancelBody(list(ids), reason), Numbers)).ids

    async def block_files(self, name: str, *, limit: int = PAGE_ITEMS, after: str | None = None) -> BlockFiles:
        """A page of a block's files. Raises CollectionUnknown."""
        return await self._get("/v1/block/files", BlockFiles, name=name, limit=str(limit), after=after)

    async def cycles(self, **asked: str) -> Cycles:
        """Cycles from the newest back; see `CyclesQuery`."""
        return await self._get("/v1/cycles", Cycles, **asked)

    async def decisions(self, cycle: int) -> CycleDecisions:
        """What a cycle decided. Raises DefinitionUnknown."""
        return await self._get("/v1/cycle/decisions", CycleDecisions, id=str(cycle))

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._request_s

    async def _get(self, path: str, kind: type[T], **query: str | None) -> T:
        given = {key: value for key, value in query.items() if value is not None}
        return await self._transport.ask(Request("GET", self.url, path, kind, given), self._until())

    async def _post(self, path: str, body: Struct, kind: type[T], *, idempotent: bool = True) -> T:
        request: Request[Any] = Request("POST", self.url, path, kind, body=body, idempotent=idempotent)
        answer: T = await self._transport.ask(request, self._until())
        return answer
