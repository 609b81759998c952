"""File operations over HTTP: routes, duties, and the daemon composed of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fileops import records, remains, submissions
from fileops.carrying import Carrier
from fileops.catalogs import Catalogs
from fileops.doors import Doors
from fileops.fom import Feed, Fom
from fileops.fts import Fts3
from fileops.lane import Wish
from fileops.ledger import Ledger
from fileops.links import Links
from fileops.messages import (
    CarriedOrders,
    CarriedQuery,
    DrainBody,
    DrainSaid,
    FileopsStatus,
    HistoryQuery,
    IdsBody,
    LinkSaid,
    LinksSaid,
    OperationItem,
    OperationQuery,
    OperationsQuery,
    OperationsSaid,
    OutcomeSaid,
    OutcomesSaid,
    StorySaid,
    SubmitBody,
    Submitted,
    Suspects,
    submitted_names,
)
from fileops.runner import Runner
from fileops.schedule import Schedule
from fileops.settings import FileopsSettings, Fts3Settings
from fileops.sweeping import Sweeping
from reploc import __version__, names, service
from reploc.actions import Action, everything
from reploc.client.retry import Retrying
from reploc.client.transport import HttpTransport
from reploc.errors import BodyInvalid, ConfigInvalid, ReplocError
from reploc.members import IndexSettings
from reploc.membership import Membership, described
from reploc.routes import Call, NoQuery, Route, get, post
from reploc.security.credentials import Credentials
from reploc.service import Daemon, Duty
from reploc.sites import Site
from reploc.storage import shelf
from reploc.storage.mover import Mover
from reploc.storage.web import Web
from reploc.telemetry import Metrics
from reploc.wire import PAGE_ITEMS_MAX, Replica

#: Seconds between two writings of what is known of links.
KEEP_S = 5.0
#: Seconds between two looks for history that may be forgotten.
FORGET_S = 3_600.0


class FileopsServer:
    """The handlers of the routes, and the service's own duties."""

    def __init__(
        self,
        carrier: Carrier,
        settings: FileopsSettings,
        runner: Runner | None,
        fom: Fom | None,
        fts3: Fts3 | None,
    ) -> None:
        self._carrier = carrier
        self._ledger = carrier.ledger
        self._settings = settings
        self._runner = runner
        self._fom = fom
        self._fts3 = fts3
        self._started = service.now()

    def routes(self) -> list[Route[Any]]:
        """Every route of file operations."""
        see, act = Action.MONITOR, Action.OPERATE
        return [
            get("/v1/operations", self.operations, OperationsQuery, "Operations", action=see, acts_on=everything),
            get("/v1/operation", self.operation, OperationQuery, "One operation with its story", action=see),
            post(
                "/v1/operations",
                self.submit,
                SubmitBody,
                "Submit operations by hand",
                action=act,
                acts_on=submitted_names,
            ),
            post("/v1/operations/cancel", self.cancel, IdsBody, "Cancel operations", action=act),
            post("/v1/operations/release", self.release, IdsBody, "Try held operations again", action=act),
            get("/v1/links", self.links, NoQuery, "How copies between sites go", action=see),
            get("/v1/carried", self.carried, CarriedQuery, "Orders as they stand here", action=see),
            get("/v1/history", self.history, HistoryQuery, "Operations that ended", action=see),
            get("/v1/suspects", self.suspects, NoQuery, "Copies that turned out bad", action=see),
            post(
                "/v1/drain",
                self.drain,
                DrainBody,
                "Give a site no new operations, or again",
                action=act,
                acts_on=everything,
            ),
            get("/v1/status", self.status, NoQuery, "What the service is and has to do", action=see),
        ]

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def operations(self, call: Call[OperationsQuery]) -> OperationsSaid:
        return await self._ledger.read(records.listed, call.what)

    async def operation(self, call: Call[OperationQuery]) -> StorySaid:
        return await self._ledger.read(records.story, call.what.id)

    async def history(self, call: Call[HistoryQuery]) -> OperationsSaid:
        return await self._ledger.read(records.history, call.what)

    async def links(self, _: Call[NoQuery]) -> LinksSaid:
        known = await self._ledger.read(records.known_links)
        fields = LinkSaid.__struct_fields__
        return LinksSaid([LinkSaid(*(getattr(link, name) for name in fields)) for link in known])

    async def carried(self, call: Call[CarriedQuery]) -> CarriedOrders:
        return CarriedOrders(await self._ledger.read(records.carried, call.what.limit))

    async def suspects(self, _: Call[NoQuery]) -> Suspects:
        return Suspects(await self._ledger.read(records.suspected, PAGE_ITEMS_MAX))

    async def status(self, _: Call[NoQuery]) -> FileopsStatus:
        return FileopsStatus(
            runner=self._ledger.runner,
            version=__version__,
            uptime_s=round(service.now() - self._started, 3),
            parts=self._settings.parts,
            sites=len(self._settings.sites),
            active=self._runner.active if self._runner else 0,
            states=await self._ledger.read(submissions.waiting),
            drained=sorted(await self._ledger.read(submissions.drained)),
            remains=await self._ledger.read(remains.count),
            feed=self._settings.placement,
            feed_error=self._fom.error if self._fom else "",
            fts3=self._fts3.standing if self._fts3 else None,
        )

    # ---- changing ----------------------------------------------------------------------------------------------------

    async def submit(self, call: Call[SubmitBody]) -> Submitted:
        items = call.what.operations
        for index, item in enumerate(items):
            self._check(index, item)
        known = await self._known(items)
        wishes = [_wish(item, known.get((source, item.lfn)) if (source := _first(item)) else None) for item in items]
        ids = await self._ledger.do(submissions.submit, wishes, self._ledger.now())
        self._wake()
        return Submitted(ids)

    async def cancel(self, call: Call[IdsBody]) -> OutcomesSaid:
        return await self._each(call.what.ids, self._cancel_one)

    async def release(self, call: Call[IdsBody]) -> OutcomesSaid:
        return await self._each(call.what.ids, self._release_one)

    async def drain(self, call: Call[DrainBody]) -> DrainSaid:
        site = call.what.site
        if site and site not in self._carrier.sites and not call.what.undo:
            raise BodyInvalid(f"site {site!r} is not defined here")
        await self._ledger.do(submissions.drain, site, self._ledger.now(), on=not call.what.undo)
        self._wake()
        drained = await self._ledger.read(submissions.drained)
        return DrainSaid(sorted(drained), self._runner.active if self._runner else 0)

    async def _cancel_one(self, operation: int) -> str:
        return await self._ledger.do(submissions.cancel, operation, "by hand", self._ledger.now())

    async def _release_one(self, operation: int) -> str:
        await self._ledger.do(submissions.release, operation, self._ledger.now())
        return "queued"

    async def _each(self, ids: list[int], do: Callable[[int], Any]) -> OutcomesSaid:
        outcomes = []
        for operation in ids:
            try:
                outcomes.append(OutcomeSaid(operation, state=await do(operation)))
            except ReplocError as wrong:
                outcomes.append(OutcomeSaid(operation, code=wrong.code, message=wrong.detail))
        self._wake()
        return OutcomesSaid(outcomes)

    def _wake(self) -> None:
        if self._runner is not None:
            self._runner.wake()

    def _check(self, index: int, item: OperationItem) -> None:
        """Raises BodyInvalid or NameInvalid for an operation that cannot be right."""
        names.require(item.lfn, f"operations[{index}].lfn")
        for site in (item.site, *item.sources, *([item.witness] if item.witness else [])):
            if site not in self._carrier.sites:
                raise BodyInvalid(f"operations[{index}]: site {site!r} is not defined here")
        if item.checksum is not None and (wrong := names.checksum_fault(item.checksum)):
            raise BodyInvalid(f"operations[{index}]: {wrong}")
        if item.kind == "copy" and not item.sources:
            raise BodyInvalid(f"operations[{index}]: a copy needs sources")
        if item.kind == "copy" and item.site in item.sources:
            raise BodyInvalid(f"operations[{index}]: {item.site} cannot be the source of a copy to itself")
        if item.kind == "delete" and not item.witness and not item.last_copy:
            raise BodyInvalid(
                f"operations[{index}]: a deletion needs a witness, the site whose copy must survive, or last_copy"
            )

    async def _known(self, items: list[OperationItem]) -> dict[tuple[str, str], Replica]:
        """What the first source's catalog knows of files of which something was not said."""
        asked: dict[str, list[str]] = {}
        for item in items:
            if item.kind == "copy" and (item.size is None or item.checksum is None):
                asked.setdefault(item.sources[0], []).append(item.lfn)
        found: dict[tuple[str, str], Replica] = {}
        for site, lfns in asked.items():
            said = await self._carrier.catalogs.client(site).replicas(lfns)
            found |= {(site, lfn): replica for lfn, replica in said.replicas.items()}
        return found


def _first(item: OperationItem) -> str:
    return item.sources[0] if item.sources else ""


def _wish(item: OperationItem, known: Replica | None) -> Wish:
    def told(name: str) -> Any:
        said = getattr(item, name)
        return getattr(known, name) if said is None and known is not None else said

    return Wish(
        kind=item.kind,
        site=item.site,
        lfn=item.lfn,
        size=told("size"),
        checksum=told("checksum"),
        collection=told("collection"),
        sources=item.sources,
        witness=item.witness,
    )


@dataclass(frozen=True)
class _Keeping:
    """Writes what is known of links, and forgets old history."""

    ledger: Ledger
    links: Links
    history_s: float

    async def keep_links(self) -> float:
        if changed := self.links.changed():
            await self.ledger.do(records.keep_links, changed)
        return KEEP_S

    async def forget(self) -> float:
        forgotten = await self.ledger.do(records.forget, self.ledger.now() - self.history_s)
        return 0.0 if forgotten == records.FORGOTTEN_MAX else FORGET_S


def _delegated(settings: Fts3Settings, credentials: Credentials) -> Fts3 | None:
    """The FTS3 server that copies are delegated to, where one is named."""
    if not settings.url:
        return None
    return Fts3(
        settings.url,
        Web(credentials),
        proxy=settings.proxy,
        token=settings.token,
        files_max=settings.files_max,
        poll_s=settings.poll_s,
    )


def _membership(settings: FileopsSettings, metrics: Metrics) -> Membership:
    """Where others learn of this service. It asks no index, so that it begins without waiting for anybody."""
    parameters: dict[str, str | int | float] = {"parts": ", ".join(settings.parts), "sites": len(settings.sites)}
    me = described("fileops", settings.runner_name, settings.url, parameters)
    return Membership(settings.membership, IndexSettings(nodes=[]), me, metrics)


def _require_movers(sites: Sequence[Site], movers: Collection[str]) -> None:
    for site in sites:
        for door in site.doors:
            if door.protocol not in movers:
                known = ", ".join(sorted(movers))
                why = f"is for tests: its files would be gone with this process; expected {known}"
                raise ConfigInvalid(f"site {site.name}: the door {door.url} {why}")


@asynccontextmanager
async def compose(settings: FileopsSettings, others: Mapping[str, Mover] | None = None) -> AsyncIterator[Daemon]:
    """File operations: the journal, the movers, clients of catalogs and of placement, and the parts that are wanted.

    `others` are movers in the place of those of the same protocols. Raises ConfigInvalid: a door has no mover.
    """
    metrics, transport = Metrics(), Retrying(HttpTransport(settings.shown))
    sites = {site.name: site for site in settings.sites}
    movers = shelf.made(settings.shown) | dict(others or {})
    _require_movers(settings.sites, movers)
    copier = _delegated(settings.fts3, settings.shown)
    ledger = Ledger(settings.journal, settings.runner_name, settings.lease_s)
    try:
        catalogs = Catalogs(sites, transport)
        carrier = Carrier(sites, movers, catalogs, ledger, settings.transfers, Doors(sites, movers), copier)
        links = Links(await ledger.read(records.known_links))
        duties, runner, fom = [], None, None
        if "runner" in settings.parts:
            schedule = Schedule(sites, settings.at_once, links, random.random)
            runner = Runner(carrier, schedule, links, settings.retries, metrics)
            await ledger.start_again()
            keeping = _Keeping(ledger, links, settings.history_s)
            duties += [
                Duty("work", runner.work),
                Duty("renew", runner.renew),
                Duty("sweep", Sweeping(carrier, metrics).run_once),
                Duty("keep links", keeping.keep_links),
                Duty("forget", keeping.forget),
            ]
        if "fom" in settings.parts and settings.placement:
            fom = Fom(Feed(settings.placement, transport), ledger, catalogs, sites, settings.poll_s)
            duties.append(Duty("fom", fom.run_once))
        server = FileopsServer(carrier, settings, runner, fom, copier)
        membership = _membership(settings, metrics)
        yield Daemon(
            name=f"fileops {settings.runner_name}",
            routes=server.routes(),
            metrics=metrics,
            duties=[*duties, *membership.duties()],
            on_listening=lambda url: membership.announce(settings.url or url),
        )
        if runner is not None:
            await runner.stop()
    finally:
        await shelf.closed(movers)
        if copier is not None:
            await copier.close()
        await ledger.close()
        await transport.close()
