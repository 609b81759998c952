"""Plain catalogs and index nodes for tests: dictionaries behind the real daemon frame, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from reploc import service
from reploc.actions import Action
from reploc.errors import LfnUnknown, Unavailable
from reploc.questions import Demand, LocateBody
from reploc.ring import Ring
from reploc.routes import Call, NoQuery, Reply, Route, Stream, get, post
from reploc.service import Daemon, DaemonSettings
from reploc.status import LrcStatus, RliStatus
from reploc.telemetry import Metrics
from reploc.wire import (
    Body,
    DeleteBody,
    Exists,
    ItemError,
    LfnReplica,
    LfnsBody,
    Locations,
    MappingsBody,
    Member,
    Members,
    Names,
    RenameBody,
    Replica,
    Replicas,
    SiteNews,
    Written,
)

#: How a service can fail: before it answers, it does this.
Trouble = Callable[[], Any]


class LfnQuery(Body, frozen=True):
    lfn: str


class NamesQuery(Body, frozen=True):
    pattern: str | None = None
    pfn: str | None = None
    limit: int = 1000
    after: str | None = None


@asynccontextmanager
async def serving(routes: list[Route[Any]], listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """The routes behind the daemon frame; the value is the base URL."""
    async with service.listening(Daemon("double", routes, Metrics()), DaemonSettings(listen=listen)) as url:
        try:
            yield url
        finally:
            while _stalled:
                _stalled.pop().set()


#: Released when services close, so that no drain waits for them.
_stalled: set[asyncio.Event] = set()


async def stall() -> None:
    """The trouble of a service that takes a question and does not answer as long as it runs."""
    event = asyncio.Event()
    _stalled.add(event)
    await event.wait()


async def draining() -> None:
    """The trouble of a service that asks for patience."""
    raise Unavailable("being restarted")


async def nonsense() -> Reply:
    """The trouble of a service that is something else."""
    return Reply(b"<html>hello</html>", "text/html")


async def no_trouble() -> None:
    return None


@dataclass
class CatalogDouble:
    """A site's catalog: LFN → PFNs. `asked` remembers the batches that it was asked about."""

    mappings: dict[str, list[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    trouble: Trouble = no_trouble
    asked: list[list[str]] = field(default_factory=list)
    written: list[msgspec.Struct] = field(default_factory=list)
    site: str = "site"

    def routes(self) -> list[Route[Any]]:
        return [
            get("/v1/replicas", self.replica, LfnQuery, "", action=Action.PUBLIC),
            post("/v1/replicas", self.replicas, LfnsBody, "", action=Action.PUBLIC),
            post("/v1/exists", self.exists, LfnsBody, "", action=Action.PUBLIC),
            get("/v1/lfns", self.lfns, NamesQuery, "", action=Action.PUBLIC),
            get("/v1/dump", self.dump, NoQuery, "", action=Action.PUBLIC),
            post("/v1/mappings", self.write, MappingsBody, "", action=Action.PUBLIC),
            post("/v1/mappings/delete", self.delete, DeleteBody, "", action=Action.PUBLIC),
            post("/v1/mappings/rename", self.rename, RenameBody, "", action=Action.PUBLIC),
            get("/v1/status", self.status, NoQuery, "", action=Action.PUBLIC),
        ]

    async def replica(self, call: Call[LfnQuery]) -> LfnReplica:
        await self.trouble()
        if call.what.lfn not in self.mappings:
            raise LfnUnknown(f"{call.what.lfn!r} is not here")
        return LfnReplica(call.what.lfn, 1, None, None, self.mappings[call.what.lfn])

    async def replicas(self, call: Call[LfnsBody]) -> Any:
        self.asked.append(call.what.lfns)
        if said := await self.trouble():
            return said
        known = {lfn: Replica(1, None, None, self.mappings[lfn]) for lfn in call.what.lfns if lfn in self.mappings}
        return Replicas(known, [lfn for lfn in call.what.lfns if lfn not in known])

    async def exists(self, call: Call[LfnsBody]) -> Any:
        self.asked.append(call.what.lfns)
        if said := await self.trouble():
            return said
        known = [lfn for lfn in call.what.lfns if lfn in self.mappings]
        return Exists(known, [lfn for lfn in call.what.lfns if lfn not in self.mappings])

    async def lfns(self, call: Call[NamesQuery]) -> Names:
        found = sorted(lfn for lfn in self.mappings if lfn > (call.what.after or ""))[:2]
        return Names(found, found[-1] if len(found) == 2 else None)

    async def dump(self, _: Call[NoQuery]) -> Stream:
        async def pieces() -> AsyncIterator[bytes]:
            for lfn, pfns in self.mappings.items():
                yield msgspec.json.encode(LfnReplica(lfn, None, None, None, pfns)) + b"\n"
                await self.trouble()

        return Stream(pieces())

    async def write(self, call: Call[MappingsBody]) -> Written:
        self.written.append(call.what)
        await self.trouble()
        for item in call.what.mappings:
            if item.lfn not in self.refused:
                self.mappings.setdefault(item.lfn, []).append(item.pfn)
        return self._outcome([item.lfn for item in call.what.mappings])

    async def delete(self, call: Call[DeleteBody]) -> Written:
        self.written.append(call.what)
        await self.trouble()
        return self._outcome([item.lfn for item in call.what.mappings])

    async def rename(self, call: Call[RenameBody]) -> Written:
        self.written.append(call.what)
        return self._outcome([item.old for item in call.what.names])

    async def status(self, _: Call[NoQuery]) -> LrcStatus:
        return LrcStatus(self.site, "0", 1.0, "http://site", 1, 7, len(self.mappings), 0, 0, 16, 4096)

    def _outcome(self, lfns: list[str]) -> Written:
        errors = [ItemError(at, "lfn-exists", f"{lfn} exists") for at, lfn in enumerate(lfns) if lfn in self.refused]
        return Written(len(lfns) - len(errors), errors, len(self.written))


@dataclass
class NodeDouble:
    """An index node: LFN → sites, and what it is not complete for."""

    name: str
    held: dict[str, list[str]] = field(default_factory=dict)
    sites: dict[str, str] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    trouble: Trouble = no_trouble
    asked: list[list[str]] = field(default_factory=list)
    demanded: list[Demand] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    redundancy: int = 2
    slots: int = 16
    age_s: float = 1.0
    expiry_s: float = 90.0

    @property
    def ring(self) -> Ring:
        return Ring(tuple(self.urls), self.slots, self.redundancy)

    def routes(self) -> list[Route[Any]]:
        return [
            post("/v1/locations", self.locations, LocateBody, "", action=Action.PUBLIC),
            get("/v1/members", self.members, NoQuery, "", action=Action.PUBLIC),
            get("/v1/status", self.status, NoQuery, "", action=Action.PUBLIC),
        ]

    async def locations(self, call: Call[LocateBody]) -> Any:
        self.demanded.append(Demand(call.what.max_age_s, call.what.verify))
        self.asked.append(call.what.lfns)
        if said := await self.trouble():
            return said
        found = {lfn: self.held.get(lfn, []) for lfn in call.what.lfns}
        incomplete = [lfn for lfn in call.what.lfns if lfn in self.incomplete]
        sites = {site: SiteNews(self.sites[site], self.age_s) for named in found.values() for site in named}
        return Locations(found, incomplete, self.missing if incomplete else [], sites, self.stale if incomplete else [])

    async def members(self, _: Call[NoQuery]) -> Members:
        members = [Member("rli", name, url, "listed") for name, url in self.urls.items()]
        return Members(self.name, self.slots, self.redundancy, 1e-5, self.ring.version, [], members, self.expiry_s)

    async def status(self, _: Call[NoQuery]) -> RliStatus:
        url = self.urls[self.name]
        return RliStatus(self.name, "0", 1.0, url, self.slots, self.redundancy, 1e-5, "", 8, 8, 3, 0, 1 << 20)
