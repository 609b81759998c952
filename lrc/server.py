"""The LRC over HTTP: its routes, and the daemon composed of catalog, writer and updater."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from lrc import named
from lrc.attribute_routes import AttributeRoutes
from lrc.catalog import Catalog
from lrc.listings import FilesPage
from lrc.rls import LrcMethods
from lrc.settings import LrcSettings
from lrc.threads import Threads
from lrc.updater import Updater
from lrc.writer import Writer
from reploc import __version__, names, service, telemetry
from reploc.actions import Action, all_lfns, everything, one_lfn
from reploc.errors import ConfigInvalid, LfnUnknown, QueryInvalid, StoreForeign
from reploc.reload import Reloadable
from reploc.rls_port import RlsPort
from reploc.routes import Call, Done, NoQuery, Route, Stream, get, post
from reploc.service import Daemon
from reploc.status import LrcStatus
from reploc.telemetry import Metrics
from reploc.turn import Turn
from reploc.wire import (
    PAGE_ITEMS,
    Body,
    Collections,
    CollectionTotals,
    DeleteBody,
    Exists,
    Files,
    LfnQuery,
    LfnReplica,
    LfnsBody,
    Limit,
    MappingsBody,
    Name,
    Names,
    Nothing,
    RenameBody,
    Replicas,
    SenderStatus,
    Written,
)

_line = msgspec.json.Encoder()

#: What a catalog takes over from a changed file on SIGHUP.
RELOADABLE = frozenset({"index.nodes", "index.redundancy", "log_level", "log_format"})

#: Reads a page of files: (limit, after) to what was found.
PageOf: TypeAlias = Callable[[int, str | None], FilesPage]


class NamesQuery(Body, frozen=True):
    """LFNs by PFN or by glob pattern, a page at a time."""

    pfn: Name | None = None
    pattern: Name | None = None
    limit: Limit = PAGE_ITEMS
    after: Name | None = None


class CollectionsQuery(Body, frozen=True):
    """Collections by glob pattern, a page at a time."""

    pattern: Annotated[Name, Meta(min_length=1)] = "*"
    limit: Limit = PAGE_ITEMS
    after: Name | None = None


class CollectionQuery(Body, frozen=True):
    """One collection."""

    name: Name


class DumpQuery(Body, frozen=True):
    """All files behind `after`: with a limit as one page, without as a stream of lines."""

    limit: Limit | UnsetType = UNSET
    after: Name | UnsetType = UNSET


class CollectionFilesQuery(DumpQuery, frozen=True, kw_only=True):
    """The same of one collection."""

    name: Name


class LrcServer:
    """The handlers of an LRC's routes. Short reads answer on the loop; listings go page by page to a thread."""

    def __init__(
        self,
        catalog: Catalog,
        threads: Threads,
        writer: Writer,
        updater: Updater,
        rls: RlsPort,
        settings: LrcSettings,
        metrics: Metrics,
    ) -> None:
        self._catalog = catalog
        self._threads = threads
        self._writer = writer
        self._updater = updater
        self._rls = rls
        self.reloadable = Reloadable(settings, RELOADABLE, self.take, metrics)
        self._turn: Turn[LfnReplica] = Turn(self._replicas_of)
        self._started = service.now()

    def routes(self) -> list[Route[Any]]:
        """Every route of an LRC."""
        attributes = AttributeRoutes(self._catalog, self._threads, self._writer)
        return [*self._reading(), *self._writing(), *attributes.routes(), *self._about()]

    def _reading(self) -> list[Route[Any]]:
        may = Action.READ_CATALOG
        return [
            get(
                "/v1/replicas",
                self.replica,
                LfnQuery,
                "The copies of one LFN",
                action=may,
                acts_on=one_lfn,
                begin=self.begin_replica,
            ),
            post("/v1/replicas", self.replicas, LfnsBody, "The copies of many LFNs", action=may, acts_on=all_lfns),
            post("/v1/exists", self.exists, LfnsBody, "Which LFNs the catalog holds", action=may, acts_on=all_lfns),
            get("/v1/lfns", self.lfns, NamesQuery, "LFNs by PFN or glob pattern", action=may, acts_on=named.matching),
            get(
                "/v1/collections",
                self.collections,
                CollectionsQuery,
                "Collections with their totals",
                action=may,
                acts_on=named.matching,
            ),
            get(
                "/v1/collection",
                self.collection,
                CollectionQuery,
                "One collection's totals",
                action=may,
                acts_on=named.one_collection,
            ),
            get(
                "/v1/collection/files",
                self.collection_files,
                CollectionFilesQuery,
                "One collection's files",
                action=may,
                acts_on=named.one_collection,
            ),
            get("/v1/dump", self.dump, DumpQuery, "The whole catalog", action=may, acts_on=everything),
        ]

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

    async def replica(self, call: Call[LfnQuery]) -> LfnReplica:
        return await self._turn.ask(names.require(call.what.lfn))

    def begin_replica(self, call: Call[LfnQuery], done: Done) -> None:
        self._turn.begin(names.require(call.what.lfn), done)

    async def replicas(self, call: Call[LfnsBody]) -> Replicas:
        names.require_all(call.what.lfns)
        return self._catalog.lookup_many(call.what.lfns)

    async def exists(self, call: Call[LfnsBody]) -> Exists:
        names.require_all(call.what.lfns)
        return self._catalog.exists(call.what.lfns)

    async def lfns(self, call: Call[NamesQuery]) -> Names:
        query = call.what
        if (query.pfn is None) == (query.pattern is None):
            raise QueryInvalid("expected either pfn or pattern")
        _require_after(query.after)
        if query.pfn is not None:
            pfn = names.require(query.pfn, "pfn")
            return await self._threads.run(lambda: self._catalog.lfns_by_pfn(pfn, query.limit, query.after))
        pattern = names.require(query.pattern or "", "pattern")
        return await self._threads.run(lambda: self._catalog.lfns(pattern, query.limit, query.after))

    async def collections(self, call: Call[CollectionsQuery]) -> Collections:
        query = call.what
        _require_after(query.after)
        return await self._threads.run(lambda: self._catalog.collections(query.pattern, query.limit, query.after))

    async def collection(self, call: Call[CollectionQuery]) -> CollectionTotals:
        return self._catalog.collection(names.require(call.what.name, "name"))

    async def collection_files(self, call: Call[CollectionFilesQuery]) -> Files | Stream[LfnReplica]:
        name = names.require(call.what.name, "name")
        self._catalog.collection(name)
        return await self._listed(partial(self._catalog.collection_files, name), call.what)

    async def dump(self, call: Call[DumpQuery]) -> Files | Stream[LfnReplica]:
        return await self._listed(self._catalog.files, call.what)

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

    def _replicas_of(self, lfns: Sequence[str]) -> list[LfnReplica | Exception]:
        """What the catalog knows of each LFN, or that it does not."""
        return [
            LfnUnknown(f"{lfn[:200]!r} is not in the catalog of {self._catalog.site}")
            if found is None
            else LfnReplica(lfn, found.size, found.checksum, found.collection, found.pfns)
            for lfn, found in zip(lfns, self._catalog.lookup_each(lfns), strict=True)
        ]

    def take(self, settings: LrcSettings) -> None:
        """Takes over what may change while the catalog is served."""
        telemetry.set_up(settings.log_level, settings.log_format)
        self._updater.change_ring(settings.index)

    async def _listed(self, page: PageOf, query: DumpQuery) -> Files | Stream[LfnReplica]:
        """A listing as one page where a limit is given, else as a stream of all pages."""
        after = None if query.after is UNSET else names.require(query.after, "after")
        if query.limit is UNSET:
            return Stream(self._lines(page, after))
        found = await self._threads.run(partial(page, query.limit, after))
        return Files(found.files, found.next)

    async def _lines(self, page: PageOf, after: str | None) -> AsyncIterator[bytes]:
        """A listing as NDJSON, a page at a time, each page read in a transaction of its own."""
        while True:
            found = await self._threads.run(partial(page, PAGE_ITEMS, after))
            if found.files:
                yield _line.encode_lines(found.files)
            if found.next is None:
                return
            after = found.next


def _require_after(after: str | None) -> None:
    if after is not None:
        names.require(after, "after")


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


@asynccontextmanager
async def compose(settings: LrcSettings) -> AsyncIterator[Daemon]:
    """An LRC: the catalog, those who read, write and send from it, and the routes over them."""
    metrics = Metrics()
    with open_catalog(settings) as catalog:
        async with (
            Threads() as threads,
            Updater.running(catalog, threads, settings, metrics) as updater,
            Writer(catalog, updater.changed) as writer,
        ):
            rls = RlsPort(LrcMethods(catalog, threads, writer, updater, settings).methods(), settings.rls, metrics)
            telemetry.event("lrc.open", site=catalog.site, store=settings.store, epoch=catalog.state().epoch)
            server = LrcServer(catalog, threads, writer, updater, rls, settings, metrics)
            yield Daemon(
                name=f"lrc {catalog.site}",
                routes=server.routes(),
                metrics=metrics,
                duties=updater.duties(),
                not_ready=updater.not_ready,
                on_listening=updater.listening,
                ports=[rls.listening(insecure=settings.insecure)] if settings.rls.listen else [],
                reloadable=server.reloadable,
            )
