"""A whole grid in one process: catalogs and index nodes over real sockets, each stopped and started as it pleases."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

import lrc.server
import rli.server
from lrc.settings import LrcSettings
from reploc import service
from reploc.client.index import RliClient
from reploc.client.lrc import LrcClient
from reploc.client.node import RliNodeClient
from reploc.client.resolve import Lookup
from reploc.demo.ports import free_port
from reploc.errors import ReplocError
from reploc.members import IndexSettings, Node
from reploc.membership import MembershipSettings
from reploc.service import Daemon, DaemonSettings
from reploc.wire import DeleteItem, MappingItem, SenderStatus
from rli.settings import RliSettings

T = TypeVar("T")

#: Seconds that a condition may take to come true: generous, for a machine that does other things too.
PATIENCE_S = 120.0
LOOK_S = 0.03


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool], what: str) -> T:
    """What `look` saw when it first held; an AssertionError with what it last saw when that never came."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_S
    seen: T | ReplocError | None = None
    while loop.time() < end:
        try:
            seen = await look()
        except ReplocError as wrong:
            seen = wrong
        else:
            if holds(seen):
                return seen
        await asyncio.sleep(LOOK_S)
    raise AssertionError(f"not within {PATIENCE_S:g} s: {what}; last seen: {seen!r}")


def index_settings(nodes: int, **changes: Any) -> IndexSettings:
    """An index on free ports of the loopback whose intervals are short."""
    told: dict[str, Any] = {
        "slots": 16,
        "redundancy": min(2, nodes),
        "error_rate": 1e-4,
        "increment_interval_s": 0.05,
        "renewal_interval_s": 0.3,
        "full_interval_s": 5.0,
        "expiry_s": 1.5,
        "nodes": [Node(name=f"n{number}", url=f"http://127.0.0.1:{free_port()}") for number in range(nodes)],
    }
    return IndexSettings(**told | changes)


#: The index nodes are those of the settings.
STATIC = MembershipSettings()


class Service:
    """One daemon, which keeps its settings, and so its port and its store, from start to start."""

    def __init__(
        self, compose: Callable[[Any], AbstractAsyncContextManager[Daemon]], settings: DaemonSettings, url: str
    ) -> None:
        self.url = url
        self._compose = compose
        self._settings = settings
        self._running: AsyncExitStack | None = None
        self._daemon: Daemon | None = None

    async def start(self) -> None:
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(self._compose(self._settings))
            await stack.enter_async_context(service.listening(daemon, self._settings))
            self._running = stack.pop_all()
            self._daemon = daemon

    def retell(self, index: IndexSettings) -> None:
        """Gives it another index, as SIGHUP after a change of its file does; what does not run starts with it."""
        self._settings = replace(self._settings, index=index)
        if self._running is not None:
            assert self._daemon is not None
            assert self._daemon.reloadable is not None
            self._daemon.reloadable.reload(lambda: self._settings)
            assert self._daemon.reloadable.error == ""

    async def stop(self) -> None:
        """Stops without a word to anybody: the protocol knows no farewell, so that this is what a crash looks like."""
        if self._running is not None:
            running, self._running = self._running, None
            await running.aclose()


class Site(Service):
    """A site's catalog, with the client of who writes there and a record of what must be there."""

    def __init__(self, name: str, path: Path, index: IndexSettings, membership: MembershipSettings = STATIC) -> None:
        port = free_port()
        listen = f"127.0.0.1:{port}"
        told = LrcSettings(site=name, store=str(path), listen=listen, index=index, membership=membership)
        super().__init__(lrc.server.compose, told, f"http://127.0.0.1:{port}")
        self.name = name
        self.path = path
        self.held: set[str] = set()

    def pfn(self, lfn: str) -> str:
        return f"file:///{self.name}{lfn}"

    async def put(self, lfns: Iterable[str]) -> None:
        new = list(lfns)
        async with LrcClient(self.url) as client:
            written = await client.put([MappingItem(lfn, self.pfn(lfn)) for lfn in new])
        assert written.errors == []
        self.held.update(new)

    async def delete(self, lfns: Iterable[str]) -> None:
        gone = list(lfns)
        async with LrcClient(self.url) as client:
            assert (await client.delete([DeleteItem(lfn) for lfn in gone])).errors == []
        self.held.difference_update(gone)

    def back_up(self, to: Path) -> None:
        """Copies the store, which must be at rest."""
        shutil.copytree(self.path, to)

    def restore(self, backup: Path) -> None:
        shutil.rmtree(self.path)
        shutil.copytree(backup, self.path)


def node(name: str, index: IndexSettings, **more: Any) -> Service:
    """One index node, with more settings where there are any."""
    url = index.urls[name]
    told = RliSettings(node=name, listen=url.removeprefix("http://"), index=index, matrix_bytes_max=1 << 30, **more)
    return Service(rli.server.compose, told, url)


class Grid:
    """Index nodes `n0`, `n1`, … and sites by name, with a client of the index."""

    def __init__(self, path: Path, index: IndexSettings) -> None:
        self.index = index
        self.client = RliClient(list(index.urls.values()))
        self.nodes = {name: node(name, index) for name in index.urls}
        self.sites: dict[str, Site] = {}
        self._path = path

    async def site(self, name: str, lfns: Iterable[str] = ()) -> Site:
        """A new site, started and filled."""
        site = self.sites[name] = Site(name, self._path / name, self.index)
        await site.start()
        await site.put(lfns)
        return site

    async def stop(self) -> None:
        await self.client.close()
        for each in [*self.sites.values(), *self.nodes.values()]:
            await each.stop()

    # ---- what must hold ------------------------------------------------------------------------------------------

    def truth(self, lfns: Iterable[str]) -> dict[str, set[str]]:
        """The PFNs of each LFN."""
        return {lfn: {site.pfn(lfn) for site in self.sites.values() if lfn in site.held} for lfn in lfns}

    async def settled(self, lfns: Iterable[str]) -> Lookup:
        """Waits until a lookup of these LFNs is complete and right."""
        asked = list(lfns)
        truth = self.truth(asked)

        def holds(said: Lookup) -> bool:
            return said.complete and pfns(said) == truth

        return await until(lambda: self.client.lookup(asked), holds, f"{len(asked)} lookups are complete and right")

    async def told(self) -> None:
        """Waits until every node has taken what each site holds; it need not know yet that there is no other site."""
        for site in self.sites.values():
            async with LrcClient(site.url) as lrc:
                await until(lrc.soft_state, _is_told, f"every node has the news of {site.name}")

    async def everywhere(self) -> None:
        """Waits until every node has all that every site tells it, so that each can be asked or stand in for another:
        those of which a lookup that is right was the answer need not be all."""
        await self.told()
        for name, each in self.nodes.items():
            async with RliNodeClient(each.url) as rli:
                await until(rli.status, lambda said: said.slots_complete == said.slots_owned, f"{name} is complete")

    async def right(self, lfns: Iterable[str]) -> Lookup:
        """Looks up now: every copy that is there is found, and none that is not."""
        asked = list(lfns)
        said = await self.client.lookup(asked)
        assert pfns(said) == self.truth(asked), f"complete: {said.complete}, missing: {said.missing}"
        return said


def _is_told(said: SenderStatus) -> bool:
    return all(each.state == "current" and each.lag_s == 0 for each in said.nodes)


def pfns(said: Lookup) -> dict[str, set[str]]:
    """All PFNs of each LFN, whatever the site."""
    return {lfn: {pfn for copy in copies for pfn in copy.pfns} for lfn, copies in said.replicas.items()}


@asynccontextmanager
async def grid(
    path: Path, nodes: int = 3, *, index: IndexSettings | None = None, **changes: Any
) -> AsyncIterator[Grid]:
    """A grid whose nodes are running, and which has no sites yet; of these settings, or of short ones with changes."""
    made = Grid(path, index or index_settings(nodes, **changes))
    try:
        for node in made.nodes.values():
            await node.start()
        yield made
    finally:
        await made.stop()
