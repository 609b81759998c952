"""What a catalog answers from its store alone: the routes that the main process and every worker have.

Short reads answer on the loop; listings go page by page to a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from lrc import named
from lrc.catalog import Catalog
from lrc.listings import FilesPage
from lrc.threads import Threads
from reploc import names
from reploc.actions import Action, all_lfns, everything, matching, one_lfn
from reploc.changes import Changes, ChangesQuery
from reploc.errors import LfnUnknown, QueryInvalid
from reploc.routes import Call, Done, Route, Stream, get, post
from reploc.turn import Turn
from reploc.wire import (
    PAGE_ITEMS,
    Body,
    Collections,
    CollectionTotals,
    Exists,
    Files,
    LfnQuery,
    LfnReplica,
    LfnsBody,
    Limit,
    Name,
    Names,
    Replicas,
)

_line = msgspec.json.Encoder()

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


class Reading:
    """The handlers of the routes that change nothing, over a catalog that may be open for reading only."""

    def __init__(self, catalog: Catalog, threads: Threads) -> None:
        self._catalog = catalog
        self._threads = threads
        self._turn: Turn[LfnReplica] = Turn(self._replicas_of)

    def routes(self) -> list[Route[Any]]:
        """Every route of a catalog that needs its store alone, but for those of attributes."""
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
            get("/v1/lfns", self.lfns, NamesQuery, "LFNs by PFN or glob pattern", action=may, acts_on=matching),
            get(
                "/v1/collections",
                self.collections,
                CollectionsQuery,
                "Collections with their totals",
                action=may,
                acts_on=matching,
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
            get(
                "/v1/changes",
                self.changes,
                ChangesQuery,
                "What commits changed after a position",
                action=may,
                acts_on=everything,
            ),
            get("/v1/dump", self.dump, DumpQuery, "The whole catalog", action=may, acts_on=everything),
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

    async def changes(self, call: Call[ChangesQuery]) -> Changes:
        return await self._threads.run(lambda: self._catalog.changes(call.what.after, call.what.limit, call.what.since))

    async def dump(self, call: Call[DumpQuery]) -> Files | Stream[LfnReplica]:
        return await self._listed(self._catalog.files, call.what)

    def _replicas_of(self, lfns: Sequence[str]) -> list[LfnReplica | Exception]:
        """What the catalog knows of each LFN, or that it does not."""
        return [
            LfnUnknown(f"{lfn[:200]!r} is not in the catalog of {self._catalog.site}")
            if found is None
            else LfnReplica(lfn, found.size, found.checksum, found.collection, found.pfns)
            for lfn, found in zip(lfns, self._catalog.lookup_each(lfns), strict=True)
        ]

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
