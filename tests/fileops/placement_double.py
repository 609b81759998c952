"""Placement as carriers meet it: the feed of orders by `reploc/orders.py`, behind the real daemon frame."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
from service_doubles import serving

from reploc.actions import Action, everything
from reploc.errors import CollectionUnknown, Unavailable
from reploc.orders import (
    BlockFile,
    BlockFiles,
    BlockFilesQuery,
    BlockOrder,
    Order,
    OrderReport,
    OrderReports,
    Orders,
    OrdersQuery,
)
from reploc.routes import Call, get, post
from reploc.wire import Answer


@dataclass
class Placement:
    """Orders in a list, reports as they came, and blocks that are defined."""

    orders: dict[int, Order] = field(default_factory=dict)
    reports: dict[int, OrderReport] = field(default_factory=dict)
    blocks: dict[str, list[BlockFile]] = field(default_factory=dict)
    change: int = 0
    away: bool = False

    def order(self, kind: str, site: str, *blocks: BlockOrder) -> int:
        """A new order."""
        self.change += 1
        number = len(self.orders) + 1
        self.orders[number] = Order(
            number,
            kind,
            blocks[0].name,
            site,
            "None",
            blocks,
            "new",
            "a test",
            0.0,
            self.change,  # type: ignore[arg-type]
        )
        return number

    def cancel(self, number: int) -> None:
        self.change += 1
        self.orders[number] = msgspec.structs.replace(self.orders[number], state="cancelled", change=self.change)

    async def feed(self, call: Call[OrdersQuery]) -> Orders:
        if self.away:
            raise Unavailable("placement is being restarted")
        found = sorted(
            (order for order in self.orders.values() if order.change > call.what.after), key=lambda order: order.change
        )[:2]
        return Orders(tuple(found), found[-1].change if found else call.what.after)

    async def progress(self, call: Call[OrderReports]) -> Answer:
        if self.away:
            raise Unavailable("placement is being restarted")
        for report in call.what.reports:
            self.reports[report.id] = report
        return Answer()

    async def files(self, call: Call[BlockFilesQuery]) -> BlockFiles:
        files = self.blocks.get(call.what.name)
        if files is None:
            raise CollectionUnknown(f"{call.what.name} is not defined")
        rest = [file for file in files if file.lfn > (call.what.after or "")]
        page = rest[: call.what.limit]
        return BlockFiles(tuple(page), page[-1].lfn if len(rest) > len(page) else None)


@asynccontextmanager
async def placement() -> AsyncIterator[tuple[Placement, str]]:
    """The double and its address."""
    made, act = Placement(), Action.OPERATE
    routes = [
        get("/v1/orders", made.feed, OrdersQuery, "Orders", action=act),
        post("/v1/orders/progress", made.progress, OrderReports, "Reports", action=act),
        get("/v1/block/files", made.files, BlockFilesQuery, "Files", action=act, acts_on=everything),
    ]
    async with serving(routes) as url:
        yield made, url
