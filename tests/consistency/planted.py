"""A site with a real catalog and a real tree, in which differences of every kind are planted and known."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from grid import Service

import lrc.server
from consistency.catalog import Paths
from consistency.check import Check, Outcome
from consistency.compare import FINDINGS
from consistency.dumped import DumpSettings
from consistency.history import History
from consistency.listers.lister import Lister
from consistency.listers.posix import PosixLister
from consistency.settings import ConsistencySettings
from consistency.site_catalog import SiteCatalog
from lrc.settings import LrcSettings
from reploc.client.lrc import LrcClient
from reploc.demo.ports import free_port
from reploc.members import IndexSettings
from reploc.sites import Door, Site
from reploc.wire import DeleteItem, MappingItem

#: The checker's day: everything that the tests write is older.
NOW = 2_000_000_000.0
DAY = 86_400.0
OLD = int(NOW - 30 * DAY)
#: Components that break what splits, strips, folds or decodes names. Those that are no UTF-8 can only be orphans.
AWKWARD = ("a b", " lead", "trail ", "f", "f+1", "f%20", "x,y", "ä", "n" * 255, "quote'\"", "semi;colon", "#hash", "?q")
UNDECODABLE = (b"\xff\xfe", b"line\nbreak", b"tab\there", b"\x01")


def adler32(data: bytes) -> str:
    return f"adler32:{zlib.adler32(data):08x}"


@dataclass
class Planted:
    """The site, and what a check must find there: paths by kind."""

    root: Path
    site: Site
    settings: ConsistencySettings
    client: LrcClient
    service: Service
    expected: dict[str, set[bytes]] = field(default_factory=lambda: {kind: set() for kind in FINDINGS})
    busy: list[bytes] = field(default_factory=list)

    def pfn(self, lfn: str) -> str:
        return self.site.mapping(self.site.doors[0]).pfn(lfn)

    def write(self, path: bytes, data: bytes, mtime: int = OLD) -> None:
        full = os.fsencode(self.root) + path
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
        os.utime(full, (mtime, mtime))

    def remove(self, path: bytes) -> None:
        os.unlink(os.fsencode(self.root) + path)

    async def register(self, files: dict[str, bytes]) -> None:
        items = [MappingItem(lfn, self.pfn(lfn), len(data), adler32(data)) for lfn, data in files.items()]
        assert (await self.client.put(items)).errors == []

    async def unregister(self, *lfns: str) -> None:
        assert (await self.client.delete([DeleteItem(lfn) for lfn in lfns])).errors == []

    async def hold(self, files: dict[str, bytes]) -> None:
        """Files that are there and in the catalog."""
        for lfn, data in files.items():
            self.write(lfn.encode(), data)
        await self.register(files)

    async def lose(self, files: dict[str, bytes]) -> None:
        await self.register(files)
        self.expected["missing"] |= {lfn.encode() for lfn in files}

    def orphan(self, path: bytes) -> None:
        self.write(path, b"orphan")
        self.expected["orphan"].add(path)

    async def damage(self, lfn: str) -> None:
        await self.register({lfn: b"as it was"})
        self.write(lfn.encode(), b"as it is now")
        self.expected["damaged"].add(lfn.encode())

    def dump(self, path: Path, moment: float, pack: Callable[[bytes], bytes] = bytes) -> None:
        """Writes a dump of the storage as it is now, as of a moment."""
        lines = []
        for folder, _, names in os.walk(os.fsencode(self.root)):
            for name in names:
                found = os.stat(full := os.path.join(folder, name))
                there = full.removeprefix(os.fsencode(self.root))
                if b"\n" not in there and b"\t" not in there:
                    lines.append(b"%s\t%d\t\t%d\n" % (there, found.st_size, found.st_mtime))
        path.write_bytes(pack(b"".join(lines)))
        os.utime(path, (moment, moment))

    async def check(
        self,
        now: float = NOW,
        listers: list[Lister] | None = None,
        dump: DumpSettings | None = None,
        **changes: Any,
    ) -> Outcome:
        """One run at a moment of the checker's clock."""
        settings = msgspec.structs.replace(self.settings, **changes)
        history = History(settings.database)
        doors = listers or [PosixLister(self.root)]
        catalog = SiteCatalog(self.client, Paths(self.site))
        check = Check(self.site, settings, history, catalog, doors, lambda: now, lambda *_: None, self.busy, dump)
        try:
            return await check.run()
        finally:
            history.close()
            for door in doors:
                await door.close()

    def found(self, run: int) -> dict[str, set[bytes]]:
        """The paths that a run reported, by kind."""
        history = History(self.settings.database)
        try:
            rows = history.findings(run)
        finally:
            history.close()
        kinds: dict[str, set[bytes]] = {kind: set() for kind in FINDINGS}
        for path, kind, seen in rows.select("path", "kind", "seen").iter_rows():
            if seen:
                kinds[kind].add(path)
        return kinds


@asynccontextmanager
async def planted(folder: Path, **changes: Any) -> AsyncIterator[Planted]:
    """A site without anything, as long as the context lasts."""
    root = folder / "storage"
    root.mkdir()
    port = free_port()
    told = LrcSettings(
        site="site", store=str(folder / "catalog"), listen=f"127.0.0.1:{port}", index=IndexSettings(nodes=[])
    )
    service = Service(lrc.server.compose, told, f"http://127.0.0.1:{port}")
    await service.start()
    site = Site(name="site", lrc=service.url, doors=[Door(protocol="posix", url=root.as_uri())])
    settings = ConsistencySettings(
        state=str(folder / "state"), database=f"sqlite:///{folder / 'history.db'}", sites=[site], **changes
    )
    try:
        async with LrcClient(service.url) as client:
            yield Planted(root, site, settings, client, service)
    finally:
        await service.stop()


async def plant(site: Planted, rng: random.Random, files: int) -> None:
    """Differences of every kind among many files with awkward names, in directories whose names begin alike."""
    directories = ["/store", "/store/run", "/store/run+1", "/store/run 2", "/other/deep/er"]
    directories += [f"/{name}" for name in AWKWARD]
    good, lost = {}, {}
    for number in range(files):
        lfn = f"{rng.choice(directories)}/{rng.choice(AWKWARD)[:200]}-{number}"
        data = b"x" * rng.randrange(50)
        fate = rng.random()
        if fate < 0.8:
            good[lfn] = data
        elif fate < 0.9:
            lost[lfn] = data
        elif fate < 0.95:
            site.orphan(lfn.encode())
        else:
            await site.damage(lfn)
    for number, name in enumerate(UNDECODABLE):
        site.orphan(b"/store/%d-" % number + name)
    await site.hold(good)
    await site.lose(lost)


async def plant_protected(site: Planted) -> dict[str, int]:
    """What no check may report beside the findings, with how many files of each kind there are; `/bad` is what the
    lister cannot list, `/scratch` what is excluded, and `/churn` where the catalog changes meanwhile."""
    await site.hold({f"/bad/{number}": b"1" for number in range(3)} | {"/churn/stays": b"1", "/churn/goes": b"1"})
    await site.register({"/bad/lost": b"1"})
    site.write(b"/bad/orphan", b"1")
    for name in AWKWARD:
        site.write(b"/young/" + name.encode(), b"1", mtime=int(NOW))
    for name in (b"/scratch/x", b"/scratch/deep/y"):
        site.write(name, b"1")
    await site.register({"/scratch/z": b"1", "/busy/leaves": b"1"})
    site.write(b"/busy/arrives", b"1")
    site.busy += [b"/busy/leaves", b"/busy/arrives"]
    for name in (b"/void/deep", b"/void"):
        os.makedirs(full := os.fsencode(site.root) + name, exist_ok=True)
        os.utime(full, (OLD, OLD))
    return {"unknown": 4, "young": len(AWKWARD), "excluded": 1, "busy": 2, "in-flux": 2}


async def churn(site: Planted) -> None:
    """What happens at `/churn` just after it was listed: one file comes, one goes, on storage and in the catalog."""
    await site.hold({"/churn/comes": b"1"})
    await site.unregister("/churn/goes")
    site.remove(b"/churn/goes")
