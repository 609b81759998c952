"""Sites with real catalogs and storage, and file operations over them, in this process."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from grid import Service, until

import fileops.server
import lrc.server
from fileops.carrying import TransferSettings
from fileops.messages import OperationSaid, OperationsSaid, StorySaid, SubmitBody, Submitted
from fileops.retries import RetrySettings
from fileops.settings import FileopsSettings
from lrc.settings import LrcSettings
from reploc.client.lrc import LrcClient
from reploc.client.retry import Retrying
from reploc.client.transport import HttpTransport, Request
from reploc.demo.ports import free_port
from reploc.members import IndexSettings
from reploc.sites import Door, Site
from reploc.storage.mover import Mover
from reploc.wire import MappingItem, Replica


def adler32(data: bytes) -> str:
    return f"adler32:{zlib.adler32(data):08x}"


class Storage:
    """A site: its catalog, and its storage behind one posix door."""

    def __init__(self, name: str, path: Path, doors: list[Door] | None = None, **changes: Any) -> None:
        self.name = name
        self.root = path / name / "storage"
        self.root.mkdir(parents=True)
        port = free_port()
        told = LrcSettings(
            site=name, store=str(path / name / "catalog"), listen=f"127.0.0.1:{port}", index=IndexSettings(nodes=[])
        )
        self.service = Service(lrc.server.compose, told, f"http://127.0.0.1:{port}")
        self.settings = Site(
            name=name,
            lrc=self.service.url,
            doors=doors or [Door(protocol="posix", url=self.root.as_uri())],
            **changes,
        )

    def pfn(self, lfn: str) -> str:
        return self.settings.mapping(self.settings.doors[0]).pfn(lfn)

    def path(self, lfn: str) -> Path:
        return self.root / lfn.lstrip("/")

    def write(self, lfn: str, data: bytes) -> None:
        self.path(lfn).parent.mkdir(parents=True, exist_ok=True)
        self.path(lfn).write_bytes(data)

    async def hold(self, files: dict[str, bytes], collection: str | None = None) -> None:
        """Writes files and registers them."""
        items = []
        for lfn, data in files.items():
            self.write(lfn, data)
            items.append(MappingItem(lfn, self.pfn(lfn), len(data), adler32(data), collection))
        await self.register(items)

    async def register(self, items: list[MappingItem]) -> None:
        async with LrcClient(self.service.url) as client:
            assert (await client.put(items)).errors == []

    async def find(self, lfn: str) -> Replica | None:
        async with LrcClient(self.service.url) as client:
            return (await client.replicas([lfn])).replicas.get(lfn)

    def read(self, lfn: str) -> bytes:
        return self.path(lfn).read_bytes()

    async def check(self) -> None:
        """No catalog entry without its whole file; no debris of copies."""
        async with LrcClient(self.service.url) as client:
            held = [item async for item in client.dump()]
        for item in held:
            data = self.read(item.lfn)
            assert (len(data), adler32(data)) == (item.size, item.checksum), item.lfn

    def debris(self) -> list[Path]:
        return list(self.root.rglob(".reploc-*"))

    async def swept(self) -> None:
        """Waits until nothing is left of copies."""

        async def left() -> list[Path]:
            return self.debris()

        await until(left, lambda found: not found, "nothing is left of copies")


class World:
    """Sites by name, and file operations over them."""

    def __init__(self, path: Path, sites: dict[str, Storage]) -> None:
        self.path = path
        self.sites = sites
        self.transport = Retrying(HttpTransport())
        self.fileops: Service | None = None
        self.url = ""

    def settings(self, **changes: Any) -> FileopsSettings:
        told: dict[str, Any] = {
            "listen": f"127.0.0.1:{free_port()}",
            "journal": f"sqlite:///{self.path / 'journal.db'}",
            "sites": [site.settings for site in self.sites.values()],
            "retries": RetrySettings(attempts_max=4, pause_s=0.05, pause_s_max=0.2),
            "transfers": TransferSettings(stall_s=5.0, storage_s=10.0, sweep_s=0.2),
            "lease_s": 2.0,
            "poll_s": 0.1,
        }
        return FileopsSettings(**told | changes)

    async def start(self, others: Mapping[str, Mover] | None = None, **changes: Any) -> None:
        settings = self.settings(**changes)
        self.url = f"http://{settings.listen}"
        self.fileops = Service(partial(fileops.server.compose, others=others), settings, self.url)
        await self.fileops.start()

    async def stop(self) -> None:
        if self.fileops is not None:
            await self.fileops.stop()

    async def ask(self, method: Any, path: str, kind: Any, body: Any = None, **query: Any) -> Any:
        request = Request(method, self.url, path, kind, {key: str(value) for key, value in query.items()}, body)
        return await self.transport.ask(request, asyncio.get_running_loop().time() + 30)

    async def submit(self, *items: Any) -> list[int]:
        said: Submitted = await self.ask("POST", "/v1/operations", Submitted, SubmitBody(list(items)))
        return said.ids

    async def operation(self, number: int) -> StorySaid:
        said: StorySaid = await self.ask("GET", "/v1/operation", StorySaid, id=number)
        return said

    async def operations(self, **query: Any) -> list[OperationSaid]:
        said: OperationsSaid = await self.ask("GET", "/v1/operations", OperationsSaid, **query)
        return said.operations

    async def ended(self, ids: Iterable[int], *states: str) -> list[OperationSaid]:
        """Waits until these operations are in one of the states (done)."""
        wanted, expected = list(ids), set(states or ("done",))

        async def look() -> list[OperationSaid]:
            return [(await self.operation(number)).operation for number in wanted]

        return await until(look, lambda said: {each.state for each in said} <= expected, f"{wanted} are {expected}")


@asynccontextmanager
async def world(path: Path, *sites: Storage) -> AsyncIterator[World]:
    """Sites whose catalogs run; file operations are not started yet. At the end every catalog tells the truth."""
    made = World(path, {site.name: site for site in sites})
    async with AsyncExitStack() as stack:
        for site in sites:
            await site.service.start()
            stack.push_async_callback(site.service.stop)
        stack.push_async_callback(made.transport.close)
        stack.push_async_callback(made.stop)
        yield made
        for site in sites:
            await site.check()
