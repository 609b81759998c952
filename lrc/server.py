"""The LRC over HTTP: its routes, and the daemon composed of catalog, writer and updater."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lrc import named
from lrc.attribute_routes import AttributeRoutes
from lrc.catalog import Catalog
from lrc.reading import Reading
from lrc.rls.feed import RlsFeed
from lrc.rls.methods import LrcMethods
from lrc.rls.routes import RlsRoutes
from lrc.settings import LrcSettings
from lrc.threads import Threads
from lrc.updater import Updater
from lrc.writer import Listener, Writer
from reploc import __version__, service, telemetry
from reploc.actions import Action
from reploc.errors import ConfigInvalid, StoreForeign
from reploc.members import RING_KEYS
from reploc.membership import Membership, described
from reploc.reload import Reloadable
from reploc.rls.port import RlsPort
from reploc.routes import Call, Done, NoQuery, Route, get, post
from reploc.security.guard import Guard
from reploc.sender.news import News
from reploc.service import Daemon, Duty
from reploc.status import LrcStatus
from reploc.telemetry import Metrics
from reploc.wire import (
    DeleteBody,
    MappingsBody,
    Nothing,
    RenameBody,
    SenderStatus,
    Written,
)
from reploc.workers import Workers

#: What a catalog takes over from a changed file on SIGHUP.
RELOADABLE = frozenset({*(f"index.{key}" for key in RING_KEYS), "log_level", "log_format"})


class LrcServer:
    """The handlers of an LRC's routes, those that only read apart."""

    def __init__(
        self,
        catalog: Catalog,
        threads: Threads,
        writer: Writer,
        updater: Updater,
        feed: RlsFeed,
        membership: Membership,
        rls: RlsPort,
        settings: LrcSettings,
        metrics: Metrics,
    ) -> None:
        self._catalog = catalog
        self._threads = threads
        self._writer = writer
        self._updater = updater
        self._feed = feed
        self._membership = membership
        self._rls = rls
        self.reloadable = Reloadable(settings, RELOADABLE, self.take, metrics)
        membership.on_change = lambda: self.take(self.reloadable.settings)
        self._started = service.now()

    def routes(self) -> list[Route[Any]]:
        """Every route of an LRC."""
        attributes = AttributeRoutes(self._catalog, self._threads, self._writer)
        reading = Reading(self._catalog, self._threads)
        rls = RlsRoutes(self._feed)
        return [*reading.routes(), *self._writing(), *attributes.routes(), *rls.routes(), *self._about()]

    def _writing(self) -> list[Route[Any]]:
        may = Action.WRITE_CATALOG
        return [
            post(
                "/v1/mappings",
                self.register,
                MappingsBody,
                "Create, add or put mappings",
                action=may,
                acts_on=named.registered,
                begin=self.begin_register,
            ),
            post("/v1/mappings/delete", self.delete, DeleteBody, "Delete mappings", action=may, acts_on=named.deleted),
            post(
                "/v1/mappings/rename",
                self.rename,
                RenameBody,
                "Rename LFNs or PFNs",
                action=may,
                acts_on=named.renamed,
            ),
        ]

    def _about(self) -> list[Route[Any]]:
        see = Action.MONITOR
        return [
            post(
                "/v1/softstate/push",
                self.push,
                Nothing,
                "Send what is owed to every index node now",
                action=Action.ADMINISTER,
            ),
            get("/v1/softstate", self.soft_state, NoQuery, "What each index node is owed", action=see),
            get("/v1/status", self.status, NoQuery, "What the catalog is and holds", action=see),
        ]

    async def register(self, call: Call[MappingsBody]) -> Written:
        return await self._writer.submit(call.what)

    def begin_register(self, call: Call[MappingsBody], done: Done) -> None:
        self._writer.begin(call.what, done)

    async def delete(self, call: Call[DeleteBody]) -> Written:
        return await self._writer.submit(call.what)

    async def rename(self, call: Call[RenameBody]) -> Written:
        return await self._writer.submit(call.what)

    async def push(self, _: Call[Nothing]) -> SenderStatus:
        self._updater.push()
        self._feed.push()
        return self._updater.status()

    async def soft_state(self, _: Call[NoQuery]) -> SenderStatus:
        return self._updater.status()

    async def status(self, _: Call[NoQuery]) -> LrcStatus:
        state, sent = self._catalog.state(), self._updater.status()
        return LrcStatus(
            site=self._catalog.site,
            version=__version__,
            uptime_s=service.now() - self._started,
            url=self._updater.url,
            epoch=state.epoch,
            position=state.position,
            lfns=state.lfns,
            mappings=state.mappings,
            collections=self._catalog.collection_count(),
            slots=sent.slots,
            store_bytes=self._catalog.store_bytes(),
            nodes=sent.nodes,
            ring=sent.ring,
            reload_error=self.reloadable.error,
            rls_url=self._rls.url,
        )

    def take(self, settings: LrcSettings) -> None:
        """Takes over what may change while the catalog is served."""
        telemetry.set_up(settings.log_level, settings.log_format)
        self._updater.change_ring(self._membership.over(settings.index))


def open_catalog(settings: LrcSettings) -> Catalog:
    """The site's catalog, made on the first start. Raises ConfigInvalid or StoreError in words."""
    path = Path(settings.store)
    if not path.is_dir() or not any(path.iterdir()):
        if not settings.site:
            raise ConfigInvalid(f"site: is empty, and {path} holds no store whose site it could be")
        return Catalog.create(path, settings.site)
    try:
        catalog = Catalog.open(path)
    except StoreForeign:
        # A first start that was killed before its first commit leaves an environment in which there is nothing yet.
        # `create` goes on where it stopped, and refuses a directory or an environment that holds anything else.
        if not settings.site:
            raise
        return Catalog.create(path, settings.site)
    if settings.site and settings.site != catalog.site:
        catalog.close()
        raise ConfigInvalid(f"site: is {settings.site!r}, but the store in {path} is that of {catalog.site!r}")
    return catalog


async def _membership(catalog: Catalog, settings: LrcSettings, metrics: Metrics) -> Membership:
    """Who the index nodes are, as far as that is known: a catalog serves its site without them too."""
    me = described("lrc", catalog.site, settings.url, settings.index.parameters)
    membership = Membership(settings.membership, settings.index, me, metrics)
    await membership.first_if_heard()
    return membership


def _listeners(updater: Updater, feed: RlsFeed) -> Listener:
    """All who send take note of a commit."""

    def tell(news: News) -> None:
        updater.changed(news)
        feed.changed(news)

    return tell


@asynccontextmanager
async def _speaking_rls(rls: RlsPort, feed: RlsFeed, settings: LrcSettings, guard: Guard) -> AsyncIterator[None]:
    """The RLS port, where there is one, and the updates to index servers that are told of it."""
    async with AsyncExitStack() as opened:
        if settings.rls.listen:
            await opened.enter_async_context(rls.listening(settings, guard))
        async with feed.feeding():
            yield


@asynccontextmanager
async def compose(settings: LrcSettings) -> AsyncIterator[Daemon]:
    """An LRC: the catalog, those who read, write and send from it, and the routes over them."""
    metrics = Metrics()
    with open_catalog(settings) as catalog:
        membership = await _membership(catalog, settings, metrics)
        over = replace(settings, index=membership.over(settings.index))
        async with (
            Threads() as threads,
            Updater.running(catalog, threads, over, metrics) as updater,
            nullcontext(RlsFeed(catalog, threads, settings, metrics)) as feed,
            Writer(catalog, _listeners(updater, feed)) as writer,
        ):
            methods = LrcMethods(catalog, threads, writer, updater, feed, settings).methods()
            rls = RlsPort(methods, settings.rls, metrics)
            feed.port = rls
            telemetry.event("lrc.open", site=catalog.site, store=settings.store, epoch=catalog.state().epoch)
            server = LrcServer(catalog, threads, writer, updater, feed, membership, rls, settings, metrics)
            yield Daemon(
                name=f"lrc {catalog.site}",
                routes=server.routes(),
                metrics=metrics,
                duties=[*updater.duties(), Duty("rls-feed", feed.run_once), *membership.duties()],
                not_ready=updater.not_ready,
                on_listening=lambda url: membership.announce(updater.listening(url)),
                ports=[partial(_speaking_rls, rls, feed, settings)],
                reloadable=server.reloadable,
                workers=Workers("lrc.worker", ended=catalog.store.forget_dead_readers)
                if settings.workers > 1
                else None,
            )
