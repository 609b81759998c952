"""Who carries orders: file operations, which read the feed themselves, or a back-end that is handed each order.

A back-end is a class behind an entry point of the group `reploc.placement.backends`. It is handed every order of its
sites when it is new, and again when it was cancelled before it ended, until it has taken it; what else becomes of
an order it reports with `POST /v1/orders/progress`, as file operations do. Two come with the package: `http` posts each
order as JSON to a site's own tool, and `log` writes a line and lets the order end there, for who wants decisions alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Protocol

from placement import database, orders
from placement.keeper import Keeper
from placement.settings import BackendSettings
from reploc import names, telemetry
from reploc.client.transport import HttpTransport, Request
from reploc.errors import ConfigInvalid, ReplocError
from reploc.orders import Order, OrderReport, Orders
from reploc.wire import Answer

#: The back-end that reads the feed by itself.
FILEOPS = "fileops"
ENTRY_POINTS = "reploc.placement.backends"
#: Orders that are handed over before other back-ends have their turn.
ORDERS_AT_ONCE = 100
#: Seconds in which a site's tool must have taken an order.
TAKE_S = 30.0
#: Seconds between two looks for orders to hand over.
DELIVER_S = 2.0


class Backend(Protocol):
    """Who carries orders that are handed over."""

    async def take(self, order: Order) -> OrderReport | None:
        """Takes a new or a cancelled order; what is known of it at once. Raises ReplocError: it is tried again."""
        ...


class HttpBackend:
    """Posts each order to `/v1/orders` of a site's own tool, which answers with any object of JSON or MessagePack."""

    def __init__(self, settings: BackendSettings, transport: HttpTransport) -> None:
        self._url = names.require_url(settings.url, "backends.url")
        self._transport = transport

    async def take(self, order: Order) -> OrderReport | None:
        until = asyncio.get_running_loop().time() + TAKE_S
        await self._transport.ask(Request("POST", self._url, "/v1/orders", Answer, body=order), until)
        return None


class LogBackend:
    """Writes each order to the log, and nothing else happens."""

    def __init__(self, settings: BackendSettings, transport: HttpTransport) -> None:
        del settings, transport

    async def take(self, order: Order) -> OrderReport | None:
        if order.state != "new":
            return None
        telemetry.event("order.logged", order=order.id, kind=order.kind, item=order.item, site=order.site)
        return OrderReport(order.id, "cancelled", reason="the back-end of this site only writes a log")


class Backends:
    """Who carries the orders of each site, and the back-ends that are handed them."""

    def __init__(self, tables: Sequence[BackendSettings], transport: HttpTransport) -> None:
        """Raises ConfigInvalid: a back-end is not installed."""
        self._tables = tables
        self.handed: dict[int, Backend] = {}
        known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        for number, table in enumerate(tables):
            if table.backend == FILEOPS:
                continue
            if table.backend not in known:
                installed = ", ".join(sorted([*known, FILEOPS]))
                raise ConfigInvalid(f"backends: {table.backend!r} is not installed; known: {installed}")
            self.handed[number] = known[table.backend].load()(table, transport)

    def of(self, site: str) -> int | None:
        """The number of the table that decides for a site, None where file operations do or none fits."""
        for number, table in enumerate(self._tables):
            if names.pattern(table.sites).matches(site):
                return number if number in self.handed else None
        return None

    def reads_itself(self, site: str) -> bool:
        """Whether who carries a site's orders reads the feed."""
        return self.of(site) is None


class Delivery:
    """Hands orders to the back-ends; how far each has come is in the database."""

    def __init__(self, keeper: Keeper, backends: Backends) -> None:
        self._keeper = keeper
        self._backends = backends

    async def run_once(self) -> float:
        """Hands over what waits; seconds until the next look."""
        for number, backend in self._backends.handed.items():
            try:
                await self._deliver(number, backend)
            except ReplocError as wrong:
                telemetry.event("delivery.failed", backend=number, code=wrong.code, detail=wrong.detail)
        return DELIVER_S

    async def _deliver(self, number: int, backend: Backend) -> None:
        page = await asyncio.to_thread(self._page, number)
        for order in page.orders:
            report = await backend.take(order) if order.state in ("new", "cancelled") else None
            await asyncio.to_thread(self._delivered, number, order.change, report)

        if page.next and not page.orders:
            await asyncio.to_thread(self._delivered, number, page.next, None)

    def _page(self, number: int) -> Orders:
        with self._keeper.database.reading() as connection:
            after = database.count(connection, _place(number))
            return orders.feed(connection, after, ORDERS_AT_ONCE, lambda site: self._backends.of(site) == number)

    def _delivered(self, number: int, change: int, report: OrderReport | None) -> None:
        with self._keeper.writing() as connection:
            before = database.count(connection, _place(number))
            if change > before:
                database.advance(connection, _place(number), change - before)
            if report is not None:
                orders.report(connection, [report], self._keeper.clock())


def _place(number: int) -> str:
    return f"delivered {number}"
