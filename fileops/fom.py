"""Orders of placement become operations, and their progress goes back: file operations' half towards placement.

The feed is read from where it was read last; an order's files come from its blocks' definitions at placement, else from
a source's catalog, those of a deletion from the site's own catalog, page by page. A report says what is true now, so
that one that is lost or repeated does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from fileops import order_book
from fileops.catalogs import Catalogs
from fileops.lane import Wish
from fileops.ledger import Ledger
from fileops.messages import CarriedOrder
from fileops.order_book import Expanding
from reploc import telemetry
from reploc.client.transport import Request, Transport
from reploc.errors import CollectionUnknown, NotFound, ReplocError
from reploc.orders import (
    REASON_CHARS_MAX,
    REPORTS_MAX,
    BlockFiles,
    BlockOrder,
    Order,
    OrderReport,
    OrderReports,
    Orders,
    ReportedState,
)
from reploc.sites import Site
from reploc.wire import Answer

T = TypeVar("T")

#: Files that become operations in one transaction.
PAGE_FILES = 1_000
#: Orders that are turned into operations side by side, a page of each at a time: none waits for another's end.
ORDERS_AT_ONCE = 32
#: Seconds that placement may take to answer.
ASK_S = 30.0
#: How a state of an order here is reported.
REPORTED: dict[str, ReportedState] = {
    "expanding": "active",
    "open": "active",
    "done": "done",
    "cancelled": "cancelled",
    "failed": "failed",
}


class Feed:
    """Placement's feed of orders, as a carrier meets it."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.url = url
        self._transport = transport

    async def orders(self, after: int) -> Orders:
        """A page of the feed."""
        return await self._ask(Request("GET", self.url, "/v1/orders", Orders, {"after": str(after)}))

    async def report(self, reports: list[OrderReport]) -> None:
        """Tells what became of orders."""
        body = OrderReports(tuple(reports))
        await self._ask(Request("POST", self.url, "/v1/orders/progress", Answer, body=body))

    async def files(self, block: str, after: str, limit: int) -> BlockFiles:
        """A page of a block's definition. Raises NotFound: nobody defined it."""
        query = {"name": block, "limit": str(limit)} | ({"after": after} if after else {})
        return await self._ask(Request("GET", self.url, "/v1/block/files", BlockFiles, query))

    async def _ask(self, request: Request[T]) -> T:
        return await self._transport.ask(request, asyncio.get_running_loop().time() + ASK_S)


class Fom:
    """The manager of file operations: what placement wants, as operations; what became of it, to placement."""

    def __init__(
        self, feed: Feed, ledger: Ledger, catalogs: Catalogs, sites: Mapping[str, Site], poll_s: float
    ) -> None:
        self._feed = feed
        self._ledger = ledger
        self._catalogs = catalogs
        self._sites = sites
        self._poll_s = poll_s
        #: What is wrong with the feed; empty where nothing is.
        self.error = ""

    async def run_once(self) -> float:
        """Reads, expands, reports; the pause is short while there are files left to turn into operations."""
        try:
            await self._read()
            await self._ledger.do(order_book.cancel_orders, self._ledger.now())
            busy = await self._expand()
            await self._report()
        except ReplocError as wrong:
            self.error = wrong.detail
            raise
        self.error = ""
        return 0.0 if busy else self._poll_s

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            after = await self._ledger.read(order_book.read_up_to, self._feed.url)
            page = await self._feed.orders(after)
            known = [order for order in page.orders if order.state in ("new", "active", "cancelled")]
            await self._ledger.do(order_book.take, self._feed.url, page.next, [_row(order) for order in known])
            if not page.orders or page.next == after:
                return
            telemetry.event("orders.read", orders=len(page.orders), change=page.next)

    # ---- expanding ---------------------------------------------------------------------------------------------------

    async def _expand(self) -> bool:
        """Turns a page of each of some orders into operations; whether any is left."""
        found = await self._ledger.read(order_book.to_expand, ORDERS_AT_ONCE)
        if not found:
            return False
        outcomes = await asyncio.gather(*(self._expand_page(row) for row in found), return_exceptions=True)
        for row, outcome in zip(found, outcomes, strict=True):
            if isinstance(outcome, ReplocError) and outcome.retryable:
                telemetry.event("order.waits", order=row.id, detail=outcome.detail)
            elif isinstance(outcome, ReplocError):
                await self._ledger.do(order_book.fail_order, row.id, outcome.detail)
            elif isinstance(outcome, BaseException):
                raise outcome
        return any(outcome is None for outcome in outcomes)

    async def _expand_page(self, row: Expanding) -> None:
        order = msgspec.json.decode(row.body, type=Order)
        wrong = self._refusal(order)
        if wrong:
            await self._ledger.do(order_book.fail_order, order.id, wrong)
            return
        if row.block >= len(order.blocks):
            wishes: list[Wish] = []
            following: str | None = None
        else:
            wishes, following = await self._page(order, order.blocks[row.block], row.after)
        block = row.block if following is not None else row.block + 1
        last = block >= len(order.blocks)
        now = self._ledger.now()
        await self._ledger.do(order_book.expand, order.id, wishes, block, following or "", now, last=last)

    def _refusal(self, order: Order) -> str:
        """Why an order cannot be carried out here, or empty text."""
        if order.site not in self._sites:
            return f"site {order.site} is not defined at file operations"
        if order.kind == "copy":
            for block in order.blocks:
                if not any(source in self._sites for source in block.sources):
                    return f"no source of {block.name} is defined at file operations: {', '.join(block.sources)}"
        return ""

    async def _page(self, order: Order, block: BlockOrder, after: str) -> tuple[list[Wish], str | None]:
        """The operations of a page of a block's files, and the LFN behind which the next page begins."""
        if order.kind == "delete":
            return await self._from_catalog(order, block, after, order.site)
        try:
            page = await self._feed.files(block.name, after, PAGE_FILES)
        except NotFound:
            source = next(source for source in block.sources if source in self._sites)
            return await self._from_catalog(order, block, after, source)
        wishes = [_wish(order, block, file.lfn, file.size, file.checksum) for file in page.files]
        return wishes, page.next

    async def _from_catalog(
        self, order: Order, block: BlockOrder, after: str, site: str
    ) -> tuple[list[Wish], str | None]:
        client = self._catalogs.client(site)
        try:
            page = await client.collection_files_page(block.name, limit=PAGE_FILES, after=after or None)
        except CollectionUnknown:
            return [], None
        wishes = [_wish(order, block, file.lfn, file.size, file.checksum) for file in page.files]
        return wishes, page.next

    # ---- reporting ---------------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        while changed := await self._ledger.read(order_book.to_report, REPORTS_MAX):
            await self._feed.report([_report(order) for _, order in changed])
            await self._ledger.do(order_book.reported, {order.id: version for version, order in changed})


def _row(order: Order) -> dict[str, object]:
    return {
        "id": order.id,
        "kind": order.kind,
        "site": order.site,
        "item": order.item,
        "body": msgspec.json.encode(order).decode(),
        "change": order.change,
        "cancel": order.state == "cancelled",
    }


def _wish(order: Order, block: BlockOrder, lfn: str, size: int | None, checksum: str | None) -> Wish:
    copy = order.kind == "copy"
    return Wish(
        kind=order.kind,
        site=order.site,
        lfn=lfn,
        size=size,
        checksum=checksum,
        collection=block.name if copy else None,
        sources=block.sources if copy else (),
        witness="" if copy else block.witness,
        order=order.id,
    )


def _report(row: CarriedOrder) -> OrderReport:
    reason = row.reason
    if row.files_held and row.state == "open":
        reason = f"{row.files_held:,} files are held, until a person releases or cancels them" + (
            f": {reason}" if reason else ""
        )
    elif row.files_cancelled:
        reason = reason or f"{row.files_cancelled:,} of {row.files:,} files were cancelled"
    return OrderReport(
        id=row.id,
        state=REPORTED[row.state],
        files=row.files,
        files_done=row.files_done,
        bytes=row.bytes,
        bytes_done=row.bytes_done,
        position=row.position,
        reason=reason[:REASON_CHARS_MAX],
    )
