"""A catalog as the tools reach it: a daemon over HTTP, or a store that no daemon has open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from lrc.catalog import Catalog
from lrc.writer import Writer
from reploc import names
from reploc.attributes import After, AttributeItem, DefineBody, Definition, Found, SearchBody, SetBody, SetItem, What
from reploc.client.lrc import LrcClient
from reploc.commands import discovery
from reploc.errors import ConfigInvalid
from reploc.wire import LfnReplica, MappingItem, MappingsBody, Mode, Replicas, Written


class Origin(NamedTuple):
    """Whose catalog it is, the position that it is at, and how many LFNs it then held."""

    site: str
    position: int
    lfns: int


class Access(Protocol):
    """What the tools need of a catalog. Errors are those of the catalog, and those of the way to it."""

    async def origin(self) -> Origin:
        """Whose catalog it is."""
        ...

    async def replicas(self, lfns: Sequence[str]) -> Replicas:
        """What it knows of these LFNs."""
        ...

    async def write(self, mappings: Sequence[MappingItem], mode: Mode = "put", *, update: bool = False) -> Written:
        """Registers up to `reploc.client.batches.ITEMS` mappings, in their order."""
        ...

    def files(self) -> AsyncIterator[LfnReplica]:
        """Everything that it holds, in key order."""
        ...

    async def attributes(self) -> list[Definition]:
        """The attributes that are defined."""
        ...

    def values(self, of: Definition) -> AsyncIterator[Found]:
        """The names that have a value of an attribute, with it."""
        ...

    async def define(self, attributes: Sequence[AttributeItem]) -> Written:
        """Defines attributes; one that is there already with the same type is success."""
        ...

    async def set_values(self, what: What, values: Sequence[SetItem]) -> Written:
        """Sets up to `reploc.client.batches.ITEMS` values."""
        ...


class DaemonAccess:
    """A catalog through its daemon."""

    def __init__(self, client: LrcClient) -> None:
        self._client = client

    async def origin(self) -> Origin:
        status = await self._client.status()
        return Origin(status.site, status.position, status.lfns)

    async def replicas(self, lfns: Sequence[str]) -> Replicas:
        return await self._client.replicas(lfns)

    async def write(self, mappings: Sequence[MappingItem], mode: Mode = "put", *, update: bool = False) -> Written:
        return await self._client.write(mappings, mode, update=update)

    def files(self) -> AsyncIterator[LfnReplica]:
        return self._client.dump()

    async def attributes(self) -> list[Definition]:
        return await self._client.attributes.definitions()

    def values(self, of: Definition) -> AsyncIterator[Found]:
        return self._client.attributes.search(of.what, of.name, "all")

    async def define(self, attributes: Sequence[AttributeItem]) -> Written:
        return await self._client.attributes.define(attributes, if_absent=True)

    async def set_values(self, what: What, values: Sequence[SetItem]) -> Written:
        return await self._client.attributes.set(what, values)


class StoreAccess:
    """A catalog in its store; reads go to threads, and writes to a writer that groups them as a daemon's does."""

    def __init__(self, catalog: Catalog, writer: Writer) -> None:
        self._catalog = catalog
        self._writer = writer

    async def origin(self) -> Origin:
        state = self._catalog.state()
        return Origin(state.site, state.position, state.lfns)

    async def replicas(self, lfns: Sequence[str]) -> Replicas:
        names.require_all(lfns)
        return await asyncio.to_thread(self._catalog.lookup_many, lfns)

    async def write(self, mappings: Sequence[MappingItem], mode: Mode = "put", *, update: bool = False) -> Written:
        return await self._writer.submit(MappingsBody(mode, list(mappings), update=update))

    async def files(self) -> AsyncIterator[LfnReplica]:
        after: str | None = None
        while True:
            page = await asyncio.to_thread(self._catalog.files, after=after)
            for file in page.files:
                yield file
            if (after := page.next) is None:
                return

    async def attributes(self) -> list[Definition]:
        return await asyncio.to_thread(self._catalog.attributes)

    async def values(self, of: Definition) -> AsyncIterator[Found]:
        after: After | None = None
        while True:
            page = await asyncio.to_thread(self._catalog.search, SearchBody(of.what, of.name, "all", after=after))
            for found in page.found:
                yield found
            if page.next is None:
                return
            after = After(page.next.name, page.next.value)

    async def define(self, attributes: Sequence[AttributeItem]) -> Written:
        return await self._writer.submit(DefineBody(list(attributes), if_absent=True))

    async def set_values(self, what: What, values: Sequence[SetItem]) -> Written:
        return await self._writer.submit(SetBody(what, list(values)))


@asynccontextmanager
async def of_daemon(url: str) -> AsyncIterator[Access]:
    """The catalog that answers at `url`, while the context lasts."""
    async with LrcClient(url) as client:
        yield DaemonAccess(client)


@asynccontextmanager
async def of_catalog(catalog: Catalog) -> AsyncIterator[Access]:
    """An open catalog, while the context lasts; every write has ended when it has."""
    async with Writer(catalog) as writer:
        yield StoreAccess(catalog, writer)


@asynccontextmanager
async def of_store(path: Path, *, read_only: bool) -> AsyncIterator[Access]:
    """The catalog in a store, while the context lasts. Raises StoreError: foreign, locked, of another version."""
    with Catalog.open(path, read_only=read_only) as catalog:
        async with of_catalog(catalog) as access:
            yield access


def chosen(lrcs: tuple[str, ...], store: Path | None, *, read_only: bool) -> AbstractAsyncContextManager[Access]:
    """The catalog that a command line names: a store, or a daemon as `reploc.commands.discovery` finds it.

    Raises ConfigInvalid: both were given, or no daemon is known.
    """
    if store is None:
        return of_daemon(discovery.find(lrcs=lrcs).lrc)
    if lrcs:
        raise ConfigInvalid("both --lrc and --store were given; expected one of them")
    return of_store(store, read_only=read_only)
