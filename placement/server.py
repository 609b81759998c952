"""The placement service over HTTP: its routes, its duties, and the daemon composed of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection

from placement import files as listing
from placement import fulfilment, history, injection, locks, orders, requests, views, wishes
from placement.backends import Backends, Delivery
from placement.database import Database
from placement.datasets import places
from placement.growth import Growth
from placement.keeper import Keeper
from placement.messages import (
    CancelBody,
    CycleDecisions,
    CycleQuery,
    Cycles,
    CyclesQuery,
    Dataset,
    DatasetQuery,
    Datasets,
    DatasetsQuery,
    Definitions,
    InjectBody,
    Injected,
    InventoryStatus,
    LockBody,
    Locks,
    LocksQuery,
    Numbers,
    OrderHistoryQuery,
    PlacementStatus,
    Pulled,
    ReleaseBody,
    WishBody,
    Written,
)
from placement.pull import Pull
from placement.request_messages import DataRequests, RequestBody, Requested, RequestsQuery
from placement.settings import PlacementSettings
from reploc import __version__, names, service, telemetry
from reploc.actions import Action, everything
from reploc.client.transport import HttpTransport
from reploc.errors import CollectionUnknown
from reploc.membership import Membership, described
from reploc.orders import BlockFiles, BlockFilesQuery, OrderReports, Orders, OrdersQuery
from reploc.routes import Call, NoQuery, Route, get, post
from reploc.security.identity import Identity
from reploc.service import Daemon, Duty
from reploc.telemetry import Metrics
from reploc.wire import Nothing

T = TypeVar("T")


def _one_name(asked: DatasetQuery | BlockFilesQuery) -> Iterable[str]:
    return (asked.name,)


def _items(asked: WishBody) -> Iterable[str]:
    return [each.item for each in asked.orders]


def _items_asked(asked: RequestBody) -> Iterable[str]:
    return [each.item for each in asked.requests]


def _on_the_word_of(who: Identity, said: str) -> str:
    """Who asks: the identity that was shown, which nobody can just claim; what is said goes beside it, or for it."""
    if who.kind == "nobody":
        return said or "a person"
    return f"{who}, for {said}" if said else str(who)


class PlacementServer:
    """The handlers of placement's routes, and its duties; what meets the database or the inventory runs in a thread."""

    def __init__(
        self, keeper: Keeper, settings: PlacementSettings, pull: Pull, delivery: Delivery, backends: Backends
    ) -> None:
        self._keeper = keeper
        self._settings = settings
        self._pull = pull
        self._delivery = delivery
        self._growth = Growth(keeper, settings.max_observation_age, settings.dealer)
        self._backends = backends
        self._started = service.now()
        self._pulled = False
        self._pending = 0

    def watch(self, metrics: Metrics) -> None:
        """Shows in metrics how old the news of each site is, and what is pending."""
        metrics.watch_each("reploc_placement_news_age_seconds", "Age of each site's news", "site", self._ages)
        metrics.watch("reploc_placement_pending_orders", "Orders open or not observed yet", lambda: self._pending)

    def routes(self) -> list[Route[Any]]:
        """Every route of placement."""
        return [*self._routes_of_data(), *self._routes_of_orders(), *self._routes_of_requests()]

    def _routes_of_data(self) -> list[Route[Any]]:
        read, place, every = Action.READ_INDEX, Action.PLACE, everything
        return [
            get("/v1/inventory", self.inventory, NoQuery, "The inventory in numbers", action=read, acts_on=every),
            get("/v1/definitions", self.definitions, NoQuery, "Sites, groups, quotas, …", action=read, acts_on=every),
            get("/v1/datasets", self.datasets, DatasetsQuery, "Datasets by a pattern", action=read, acts_on=every),
            get("/v1/dataset", self.dataset, DatasetQuery, "One dataset, whole", action=read, acts_on=_one_name),
            get("/v1/locks", self.locks, LocksQuery, "Locks", action=read, acts_on=every),
            get("/v1/cycles", self.cycles, CyclesQuery, "Cycles, newest first", action=read, acts_on=every),
            get("/v1/cycle/decisions", self.decisions, CycleQuery, "One's decisions", action=read, acts_on=every),
            post("/v1/inject", self.inject, InjectBody, "Define things in bulk", action=place, acts_on=every),
            post("/v1/pull", self.pull_now, Nothing, "Ask the index now what changed", action=place, acts_on=every),
            post("/v1/locks", self.lock, LockBody, "Place locks", action=place, acts_on=every),
            post("/v1/locks/release", self.release, ReleaseBody, "Release locks", action=place, acts_on=every),
            get("/v1/status", self.status, NoQuery, "What the service is and does", action=Action.MONITOR),
        ]

    def _routes_of_orders(self) -> list[Route[Any]]:
        read, place, carry, every = Action.READ_INDEX, Action.PLACE, Action.OPERATE, everything
        return [
            get("/v1/orders", self.feed, OrdersQuery, "The feed for carriers", action=carry, acts_on=every),
            get("/v1/orders/history", self.past, OrderHistoryQuery, "Newest first", action=read, acts_on=every),
            get("/v1/block/files", self.files, BlockFilesQuery, "Files of a block", action=carry, acts_on=_one_name),
            post("/v1/orders", self.wish, WishBody, "Order copies and deletions", action=place, acts_on=_items),
            post("/v1/orders/cancel", self.cancel, CancelBody, "Cancel open orders", action=place, acts_on=every),
            post("/v1/orders/progress", self.progress, OrderReports, "Report", action=carry, acts_on=every),
        ]

    def _routes_of_requests(self) -> list[Route[Any]]:
        read, place, every = Action.READ_INDEX, Action.PLACE, everything
        return [
            get("/v1/data/requests", self.requests, RequestsQuery, "Newest first", action=read, acts_on=every),
            post("/v1/data/requests", self.ask, RequestBody, "Ask for copies", action=place, acts_on=_items_asked),
            post("/v1/data/requests/cancel", self.call_off, CancelBody, "Cancel", action=place, acts_on=every),
        ]

    def duties(self) -> list[Duty]:
        """What the service does unasked."""
        return [
            Duty("pull", self.pull),
            Duty("save", self.save),
            Duty("deliver", self._delivery.run_once),
            Duty("requests", self.fulfil),
            Duty("growth", self.grow),
        ]

    # ---- duties --------------------------------------------------------------------------------------------------

    async def pull(self) -> float:
        """Asks the index what changed."""
        await self._pull_once()
        return self._settings.pull_interval_s

    async def _pull_once(self) -> Pulled:
        pulled = await self._pull.run_once()
        self._pulled = True
        if pulled.changed:
            telemetry.event("pull.done", changed=len(pulled.changed), missing=len(pulled.missing), s=pulled.seconds)
        return pulled

    async def save(self) -> float:
        """Copies what was observed into the database, and counts what is pending."""
        await asyncio.to_thread(self._keeper.save)
        self._pending = await self._read(lambda connection: len(orders.pending(connection)))
        return self._settings.save_interval_s

    async def fulfil(self) -> float:
        """Looks what of the open requests is so already, and orders the deletions that people want."""
        told = self._settings
        if not self.not_ready():
            await asyncio.to_thread(
                fulfilment.run_once, self._keeper, told.max_observation_age, told.request_patience_s
            )
        return told.pull_interval_s

    async def grow(self) -> float:
        """Orders the new blocks of growing datasets where they shall be."""
        if not self.not_ready():
            await asyncio.to_thread(self._growth.run_once)
        return self._settings.pull_interval_s

    def not_ready(self) -> str:
        """Why the inventory is not to be believed yet, or empty text."""
        return "" if self._pulled or not self._pull.urls else "the index was not heard yet"

    def _ages(self) -> dict[str, float]:
        now = self._keeper.clock()
        return {site: now - at for site, at in self._keeper.heard().items()}

    # ---- the inventory -------------------------------------------------------------------------------------------

    async def inventory(self, _: Call[NoQuery]) -> InventoryStatus:
        return await self._view(lambda made: views.status(made, self._keeper.clock()))

    async def datasets(self, call: Call[DatasetsQuery]) -> Datasets:
        return await self._view(lambda made: views.datasets(made, call.what))

    async def dataset(self, call: Call[DatasetQuery]) -> Dataset:
        return await self._view(lambda made: views.dataset(made, call.what.name))

    async def definitions(self, _: Call[NoQuery]) -> Definitions:
        return views.definitions(await asyncio.to_thread(self._keeper.definitions))

    async def inject(self, call: Call[InjectBody]) -> Injected:
        return await self._write(lambda connection, now: injection.inject(connection, call.what, int(now)))

    async def pull_now(self, _: Call[Nothing]) -> Pulled:
        return await self._pull_once()

    # ---- locks ---------------------------------------------------------------------------------------------------

    async def locks(self, call: Call[LocksQuery]) -> Locks:
        return await self._read(lambda connection: locks.page(connection, call.what, self._keeper.clock()))

    async def lock(self, call: Call[LockBody]) -> Numbers:
        by = _on_the_word_of(call.who, call.what.placed_by)
        return Numbers(await self._write(lambda connection, now: locks.place(connection, call.what.locks, by, now)))

    async def release(self, call: Call[ReleaseBody]) -> Numbers:
        by = _on_the_word_of(call.who, call.what.released_by)
        return Numbers(await self._write(lambda connection, now: locks.release(connection, call.what.ids, by, now)))

    # ---- orders --------------------------------------------------------------------------------------------------

    async def feed(self, call: Call[OrdersQuery]) -> Orders:
        carries, told = self._backends.reads_itself, call.what
        return await self._read(lambda connection: orders.feed(connection, told.after, told.limit, carries))

    async def progress(self, call: Call[OrderReports]) -> Numbers:
        await self._write(lambda connection, now: orders.report(connection, call.what.reports, now))
        return Numbers([each.id for each in call.what.reports])

    async def wish(self, call: Call[WishBody]) -> Written:
        told = replace(call.what, asked_by=_on_the_word_of(call.who, call.what.asked_by))
        return await asyncio.to_thread(wishes.ordered, self._keeper, told, self._settings.max_observation_age)

    async def cancel(self, call: Call[CancelBody]) -> Numbers:
        told = call.what
        return Numbers(await self._write(lambda connection, now: orders.cancel(connection, told.ids, told.reason, now)))

    async def past(self, call: Call[OrderHistoryQuery]) -> Orders:
        return await self._read(lambda connection: orders.history(connection, call.what))

    # ---- requests ------------------------------------------------------------------------------------------------

    async def requests(self, call: Call[RequestsQuery]) -> DataRequests:
        return await self._read(lambda connection: requests.page(connection, call.what))

    async def ask(self, call: Call[RequestBody]) -> Requested:
        told, by = call.what.requests, _on_the_word_of(call.who, call.what.asked_by)
        return await self._write(lambda connection, now: requests.ask(connection, told, by, now))

    async def call_off(self, call: Call[CancelBody]) -> Numbers:
        told = call.what
        return Numbers(
            await self._write(lambda connection, now: requests.cancel(connection, told.ids, told.reason, now))
        )

    # ---- files and history ---------------------------------------------------------------------------------------

    async def files(self, call: Call[BlockFilesQuery]) -> BlockFiles:
        asked = call.what
        names.require(asked.name, "name")

        def page(connection: Connection) -> BlockFiles:
            found = places(connection, [asked.name])
            if asked.name not in found:
                raise CollectionUnknown(f"block {asked.name!r} is not defined")
            return listing.page(connection, found[asked.name], asked.name, asked.limit, asked.after)

        return await self._read(page)

    async def cycles(self, call: Call[CyclesQuery]) -> Cycles:
        return await self._read(lambda connection: history.page(connection, call.what))

    async def decisions(self, call: Call[CycleQuery]) -> CycleDecisions:
        return await self._read(lambda connection: history.decisions(connection, call.what.id))

    async def status(self, _: Call[NoQuery]) -> PlacementStatus:
        made = await asyncio.to_thread(self._keeper.inventory)
        return PlacementStatus(
            version=__version__,
            uptime_s=round(service.now() - self._started, 3),
            inventory=made.version,
            index=list(self._pull.urls.values()),
            pending_orders=await self._read(lambda connection: len(orders.pending(connection))),
        )

    # ---- threads -------------------------------------------------------------------------------------------------

    async def _view(self, look: Callable[[Any], T]) -> T:
        return await asyncio.to_thread(lambda: look(self._keeper.inventory()))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        def reading() -> T:
            with self._keeper.database.reading() as connection:
                return work(connection)

        return await asyncio.to_thread(reading)

    async def _write(self, work: Callable[[Connection, float], T]) -> T:
        def writing() -> T:
            with self._keeper.writing() as connection:
                return work(connection, self._keeper.clock())

        return await asyncio.to_thread(writing)


async def _membership(settings: PlacementSettings, metrics: Metrics) -> Membership:
    """Who the index nodes are, as far as that is known: without them there is still what was heard before."""
    membership = Membership(
        settings.membership, settings.index, described("placement", settings.name, settings.url, {}), metrics
    )
    await membership.first_if_heard()
    return membership


@asynccontextmanager
async def compose(settings: PlacementSettings) -> AsyncIterator[Daemon]:
    """A placement service: its database, what it keeps of the index, and the routes over them."""
    metrics = Metrics()
    transport = HttpTransport(settings.shown)
    try:
        backends = Backends(settings.backends, transport)
        database = await asyncio.to_thread(Database, settings.database)
        try:
            keeper = await asyncio.to_thread(Keeper, database)
            membership = await _membership(settings, metrics)
            pull = Pull(keeper, membership.over(settings.index).urls, transport)
            membership.on_change = lambda: setattr(pull, "urls", membership.over(settings.index).urls)
            server = PlacementServer(keeper, settings, pull, Delivery(keeper, backends), backends)
            server.watch(metrics)
            yield Daemon(
                name="placement",
                routes=server.routes(),
                metrics=metrics,
                duties=[*server.duties(), *membership.duties()],
                not_ready=server.not_ready,
                on_listening=lambda url: membership.announce(settings.url or url),
            )
            await asyncio.to_thread(keeper.save)
        finally:
            await asyncio.to_thread(database.close)
    finally:
        await transport.close()
