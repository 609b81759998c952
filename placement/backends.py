"""Who carries orders: file operations, which read the feed themselves, or a back-end that is handed each order.

A back-end is a class behind an entry point of the group `reploc.placement.backends`. It is handed every order of its
sites when it is new, and again when it was cancelled before it ended, until it has taken it; what else becomes of
an order it reports with `POST /v1/orders/progress`, as file operations do. Two come with the package: `http` posts each
order as JSON to a site's own tool, and `log` writes a line and lets the order end there, for who wants decisions alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Chosen:
    """A table of the settings and the name that its orders carry, so that each table has a feed of its own."""

    settings: BackendSettings
    name: str


def chosen(tables: Sequence[BackendSettings]) -> Callable[[str], str]:
    """From a site to the name of who carries its orders."""
    named = _named(tables)

    def backend_of(site: str) -> str:
        fits = (each.name for each in named if names.pattern(each.settings.sites).matches(site))
        return next(fits, orders.FILEOPS)

    return backend_of


def _named(tables: Sequence[BackendSettings]) -> list[Chosen]:
    return [Chosen(each, f"{each.backend} {each.url}".rstrip()) for each in tables]


def loaded(tables: Sequence[BackendSettings], transport: HttpTransport) -> dict[str, Backend]:
    """Every back-end that is handed orders, by name. Raises ConfigInvalid: one is not installed."""
    known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    found: dict[str, Backend] = {}
    for each in _named(tables):
        if each.settings.backend == orders.FILEOPS:
            continue
        if each.settings.backend not in known:
            installed = ", ".join(sorted([*known, orders.FILEOPS]))
            raise ConfigInvalid(f"backends: {each.settings.backend!r} is not installed; known: {installed}")
        found[each.name] = known[each.settings.backend].load()(each.settings, transport)
    return found


class Delivery:
    """Hands orders to the back-ends; how far each has come is in the database."""

    def __init__(self, keeper: Keeper, backends: dict[str, Backend]) -> None:
        self._keeper = keeper
        self._backends = backends

    async def run_once(self) -> float:
        """Hands over what waits; seconds until the next look."""
        for name, backend in self._backends.items():
            try:
                await self._deliver(name, backend)
            except ReplocError as wrong:
                telemetry.event("delivery.failed", backend=name, code=wrong.code, detail=wrong.detail)
        return DELIVER_S

    async def _deliver(self, name: str, backend: Backend) -> None:
        page = await asyncio.to_thread(self._page, name)
        for order in page.orders:
            report = await backend.take(order) if order.state in ("new", "cancelled") else None
            await asyncio.to_thread(self._delivered, name, order.change, report)

    def _page(self, name: str) -> Orders:
        with self._keeper.database.reading() as connection:
            after = database.count(connection, _place(name))
            return orders.feed(connection, after, ORDERS_AT_ONCE, name)

    def _delivered(self, name: str, change: int, report: OrderReport | None) -> None:
        with self._keeper.writing() as connection:
            database.advance(connection, _place(name), change - database.count(connection, _place(name)))
            if report is not None:
                orders.report(connection, [report], self._keeper.clock())


def _place(name: str) -> str:
    return f"delivered {name}"
