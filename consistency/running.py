"""A check with everything that it needs, opened and closed: history, catalog, doors, file operations and index."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import polars as pl
from msgspec.structs import replace

from consistency.actions import Actions
from consistency.carriers import Carriers, OpenBlocks
from consistency.catalog import Paths
from consistency.check import Check, Outcome
from consistency.doors import Opened, listers, opened
from consistency.history import History
from consistency.listing import Progress
from consistency.report import ActionReport, Report
from consistency.settings import ConsistencySettings
from consistency.site_catalog import SiteCatalog
from consistency.verdict import confirmed
from reploc.client.index import RliClient
from reploc.client.lrc import LrcClient
from reploc.errors import RunNotHeld
from reploc.security import credentials
from reploc.sites import Site
from reploc.storage import shelf
from reploc.storage.mover import Mover
from reploc.wire import LfnReplica


class Copies:
    """Other copies by the index, verified at their catalogs, and new ones by file operations."""

    def __init__(self, site: str, index: RliClient, carriers: Carriers) -> None:
        self._site = site
        self._index = index
        self._carriers = carriers

    async def sites(self, lfn: str) -> list[str] | None:
        """The other sites whose catalogs name the file now; None where the index could not ask all."""
        found = await self._index.lookup([lfn])
        others = [replica.site for replica in found.replicas[lfn] if replica.site != self._site]
        return others if others or found.complete else None

    async def order(self, file: LfnReplica, sources: Sequence[str]) -> None:
        """Submits a copy to file operations."""
        await self._carriers.copy(
            file.lfn, self._site, sources, size=file.size, checksum=file.checksum, collection=file.collection
        )


@dataclass(frozen=True)
class Opening:
    """What a run works with."""

    site: Site
    settings: ConsistencySettings
    history: History
    client: LrcClient
    movers: dict[str, Mover]
    carriers: Carriers | None
    copies: Copies | None

    @property
    def paths(self) -> Paths:
        return Paths(self.site)

    @property
    def door(self) -> Opened:
        """The door that is acted through."""
        return opened(self.site, self.movers)[0]

    def actions(self) -> Actions:
        """What may be done at the site."""
        return Actions(self.settings, self.history, self.client, self.paths, self.door, self.copies, clock=time.time)


@asynccontextmanager
async def opening(settings: ConsistencySettings, name: str) -> AsyncIterator[Opening]:
    """Everything for the site of a name. Raises ConfigInvalid: there is none, or it has no door that can be used."""
    site = settings.site(name)
    async with AsyncExitStack() as stack:
        history = History(settings.database)
        stack.callback(history.close)
        client = await stack.enter_async_context(LrcClient(site.lrc))
        movers = shelf.made(credentials.own(time.monotonic, os.environ))
        stack.push_async_callback(shelf.closed, movers)
        carriers = await stack.enter_async_context(Carriers(settings.fileops)) if settings.fileops else None
        copies = None
        if carriers is not None and settings.index:
            index = await stack.enter_async_context(RliClient(settings.index))
            copies = Copies(name, index, carriers)
        yield Opening(site, settings, history, client, movers, carriers, copies)


async def checked(opening: Opening, progress: Progress) -> Report:
    """One run, and what it may do about its findings. Raises SiteBusy, and what ends a run."""
    paths, dump = opening.paths, opening.settings.dump(opening.site.name)
    looking = listers(opening.site, opening.movers) if dump is None else []
    busy = await _busy(opening, paths)
    catalog = SiteCatalog(opening.client, paths)
    check = Check(opening.site, opening.settings, opening.history, catalog, looking, time.time, progress, busy, dump)
    try:
        outcome = await check.run()
    finally:
        for lister in looking:
            await lister.close()
    return await _acted(opening, outcome)


async def _busy(opening: Opening, paths: Paths) -> list[bytes]:
    """The paths that file operations are working on, and those of blocks that are still being filled."""
    lfns: list[str] = []
    if opening.carriers is not None:
        lfns += [lfn async for lfn in opening.carriers.under_way(opening.site.name)]
    if opening.settings.placement:
        async with OpenBlocks(opening.settings.placement) as blocks:
            lfns += [lfn async for lfn in blocks.lfns(time.time() - opening.settings.open_grace_s)]
    return [path for lfn in lfns if (path := paths.expected(lfn)) is not None]


async def _acted(opening: Opening, outcome: Outcome) -> Report:
    told = opening.settings.actions
    if outcome.report.state != "done" or not (told.missing or told.orphans or told.empty_directories):
        return outcome.report
    actions = opening.actions()
    await actions.act(outcome)
    report = replace(outcome.report, actions=await actions.empty_trash())
    opening.history.rewrite(report)
    return report


async def released(opening: Opening, run: int, who: str) -> Report:
    """Makes a held run count, as an operator wants it, and does what it may. Raises RunUnknown, RunNotHeld."""
    report = opening.history.report(run)
    if report.state != "held":
        raise RunNotHeld(f"run {run} of {report.site} is {report.state}")
    report = replace(report, state="done", released_by=who)
    opening.history.release(report)
    found: pl.DataFrame = opening.history.findings(run)
    empty = opening.history.held_directories(run)
    return await _acted(opening, Outcome(report, confirmed(found, opening.settings.confirmation), empty))


async def acknowledged(opening: Opening, lfn: str, who: str) -> ActionReport:
    """Takes note that a person knows of a loss, and unregisters the file's mappings to where it was."""
    gone = set(opening.history.acknowledge(opening.site.name, lfn, who))
    return await opening.actions().forget(lfn, gone)
