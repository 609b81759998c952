"""An index node over HTTP: its routes, its duties, and the daemon composed of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any
from urllib.parse import urlencode

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from reploc import __version__, digest, metalink, names, service, telemetry
from reploc.actions import Action, all_lfns, one_lfn
from reploc.client import demands, locations, resolve
from reploc.client.catalogs import ask_catalogs
from reploc.client.concurrency import side_by_side
from reploc.client.descent import Descent
from reploc.client.locations import Located, View
from reploc.client.nearness import Nearness
from reploc.client.node import HOP_HEADER, RING_HEADER
from reploc.client.transport import HttpTransport, Transport
from reploc.errors import ReplocError
from reploc.hierarchy import teller
from reploc.members import RING_KEYS
from reploc.membership import Membership, described
from reploc.partition import Partition
from reploc.questions import Demand, LocateBody, LocateQuery, ResolveBody, ResolveQuery
from reploc.reload import Reloadable
from reploc.rls.port import RlsPort
from reploc.routes import Also, Call, Done, NoQuery, Reply, Route, get, post
from reploc.service import Daemon, Duty
from reploc.status import RliStatus
from reploc.telemetry import Metrics
from reploc.turn import Turn
from reploc.wire import (
    DEADLINE_S,
    Existence,
    FormerRing,
    Location,
    Locations,
    Member,
    Members,
    Resolved,
    ResolvedMany,
    SoftState,
    SoftStateAnswer,
)
from reploc.workers import Workers
from rli.below import Below
from rli.collection_routes import CollectionRoutes
from rli.completeness import Flags, runs
from rli.foreign import ForeignCatalogs
from rli.forward import Forward
from rli.index import LOOKS, Index
from rli.listing import Listing
from rli.reading import begin, routes_of, suffices
from rli.refresh import Refresh
from rli.rls import RliMethods
from rli.scratch import ScratchTexts
from rli.settings import RliSettings
from rli.shared import Shared
from rli.upward import Upward, parents_of

#: Seconds between two looks for senders without news: expiry is promised to the second or so.
EXPIRE_S = 0.5
#: Seconds between two questions to the other owners while this node does not know all senders yet.
LEARN_S = 1.0
#: The part of a resolved lookup's time that other nodes may take; the catalogs have the rest.
INDEX_SHARE = 0.5

#: What an index node takes over from a changed file on SIGHUP.
RELOADABLE = frozenset(
    {
        *(f"index.{key}" for key in RING_KEYS),
        *(f"parents.{key}" for key in RING_KEYS),
        "distance",
        "log_level",
        "log_format",
        "children",
        "registered_children",
    }
)

REDIRECT = Also(
    "The copy to take; other copies are in Link headers (RFC 6249)",
    307,
    "text/plain",
    headers=(("Location", "The best copy"), ("Link", "All copies, and the Metalink document that describes them")),
)


class RliServer:
    """The handlers of an index node's routes, and its duties."""

    def __init__(
        self,
        index: Index,
        settings: RliSettings,
        membership: Membership,
        above: Membership,
        transport: Transport,
        metrics: Metrics,
    ) -> None:
        self._index = index
        self._membership = membership
        self.reloadable = Reloadable(settings, RELOADABLE, self.take, metrics)
        settings = replace(settings, index=membership.over(settings.index))
        self._foreign = ForeignCatalogs(settings.rls.stale_s)
        self._settings = settings
        self._transport = transport
        self._turn = Turn(lambda lfns: index.each_location(lfns, service.now()))
        self._forward = Forward(settings.index, settings.node, transport)
        self._listing = Listing(index, self._forward)
        methods = RliMethods(index, self._foreign, self.locate, self._listing.everywhere, settings.rls).methods()
        self.rls = RlsPort(methods, settings.rls, metrics)
        self._refresh = Refresh(index, transport)
        self._below = Below(index.registry, settings, membership, metrics)
        told = settings.has_parents
        self._upward = Upward(index, settings, above, self.not_ready, transport, metrics) if told else None
        self._collections = CollectionRoutes(index, self._forward, settings.node)
        self._nearness = Nearness(settings.distance)
        self._started = service.now()
        membership.on_change = lambda: self.take(self.reloadable.settings)
        self._taken = metrics.counter("reploc_softstate_summaries", "Summaries that senders sent, by site", "site")
        self._asked_again = metrics.counter("reploc_softstate_refused_summaries", "Summaries that are asked for again")
        self._forwarded = metrics.counter("reploc_forwarded_lfns", "LFNs that another owner was asked about")
        metrics.watch("reploc_sites_live", "Sites whose news is in use", lambda: self._states().count("live"))
        metrics.watch("reploc_sites_silent", "Sites that are remembered, but silent", self._silent)
        metrics.watch("reploc_totals_bytes", "Bytes of all totals of collections", self._totals_bytes)
        metrics.watch("reploc_matrix_bytes", "Bytes of all filters", lambda: index.matrix.memory().allocated)

    def routes(self) -> list[Route[Any]]:
        """Every route of an index node."""
        return [*self._asking(), *self._listing.routes(), *self._collections.routes(), *self._about()]

    def _asking(self) -> list[Route[Any]]:
        may = Action.READ_INDEX
        metalink4 = Also("The same as a Metalink 4 document", media=metalink.MEDIA)
        one, many = "Verified copies of one LFN", "Verified copies of many LFNs"
        return [
            *routes_of(self),
            get("/v1/replicas", self.replica, ResolveQuery, one, metalink4, action=may, acts_on=one_lfn),
            post("/v1/replicas", self.replicas, ResolveBody, many, action=may, acts_on=all_lfns),
            get(
                "/v1/redirect",
                self.redirect,
                ResolveQuery,
                "The best copy of one LFN",
                REDIRECT,
                action=may,
                acts_on=one_lfn,
            ),
        ]

    def _about(self) -> list[Route[Any]]:
        return [
            post(
                "/v1/softstate",
                self.soft_state,
                SoftState,
                "A sender's news",
                action=Action.SEND_SOFT_STATE,
                acts_on=lambda message: (teller(message.site),),
                announces=lambda message: (message.url,),
            ),
            get(
                "/v1/members",
                self.members,
                NoQuery,
                "The index, its nodes, and the senders this node knows",
                action=Action.READ_INDEX,
            ),
            get("/v1/status", self.status, NoQuery, "What the node is and holds", action=Action.MONITOR),
        ]

    def duties(self) -> list[Duty]:
        """What a node does unasked."""
        told = [] if self._upward is None else self._upward.duties()
        return [Duty("expire", self.expire), Duty("learn", self.learn), *told, *self._membership.duties()]

    async def close(self) -> None:
        """Gives up what is under way to parents."""
        if self._upward is not None:
            await self._upward.close()

    # ---- questions -----------------------------------------------------------------------------------------------

    async def location(self, call: Call[LocateQuery]) -> Location:
        lfn = names.require(call.what.lfn)
        if self._is_simple(call):
            found = await self._turn.ask(lfn)
            if suffices(found, call):
                return found
        return Located(await self._asked([lfn], call), frozenset([lfn]), {}).of(lfn)

    def begin_location(self, call: Call[LocateQuery], done: Done) -> None:
        """The same, where this node alone can answer."""
        begin(self._turn, call, done, simple=self._is_simple(call))

    def _is_simple(self, call: Call[LocateQuery]) -> bool:
        """Whether what this node knows is the answer, as good as demanded: one of many of its turn."""
        alone = self._index.answers_alone() or HOP_HEADER in call.headers
        return alone and call.what.demand.is_none and call.what.collection is UNSET

    async def locations(self, call: Call[LocateBody]) -> Locations:
        names.require_all(call.what.lfns)
        return await self._asked(call.what.lfns, call)

    async def exists(self, call: Call[LocateBody]) -> Existence:
        names.require_all(call.what.lfns)
        return demands.existence(await self._asked(call.what.lfns, call))

    async def replica(self, call: Call[ResolveQuery]) -> Resolved | Reply:
        lfn = names.require(call.what.lfn)
        found = (await self._resolved([lfn], call)).of(lfn)
        return (
            Reply(metalink.document(found), metalink.MEDIA)
            if metalink.MEDIA in call.headers.get("Accept", "")
            else found
        )

    async def redirect(self, call: Call[ResolveQuery]) -> Reply:
        lfn = names.require(call.what.lfn)
        headers = metalink.redirect(
            (await self._resolved([lfn], call)).of(lfn), "/v1/replicas?" + urlencode({"lfn": lfn})
        )
        return Reply(headers["Location"].encode() + b"\n", "text/plain", 307, headers)

    async def replicas(self, call: Call[ResolveBody]) -> ResolvedMany:
        names.require_all(call.what.lfns)
        return (await self._resolved(call.what.lfns, call)).message()

    async def locate(self, lfns: Sequence[str]) -> Locations:
        """The sites that this node, the other owners and all below know to have some valid LFNs."""
        said = await self._located(lfns, Demand(), inf, None)
        return await Descent(self._transport, _time() + DEADLINE_S).followed(said)

    async def _asked(self, lfns: Sequence[str], call: Call[LocateQuery] | Call[LocateBody]) -> Locations:
        demand = call.what.demand
        until = inf if demand.is_none else _time() + call.what.deadline_s
        return await self._located(lfns, demand, until, _collection(call.what), _share(call))

    async def _located(
        self, lfns: Sequence[str], demand: Demand, until: float, collection: str | None, share: str | None = None
    ) -> Locations:
        """As good as demanded by the moment `until` of the loop's clock: from what is held here, and of slots that
        nothing is held of, from other owners too; or of this node's share alone by the ring of a version, of which
        empty text is the present one's."""
        digests = digest.of(lfns)
        helpless = self._index.helpless(self._index.slots_of(lfns, digests, collection))
        if share is not None or not helpless.any():
            known = self._index.locations(lfns, digests, service.now(), collection, share or "")
            return await self._refresh.located(known, demand, until)
        elsewhere = [lfns[at] for at in np.flatnonzero(helpless).tolist()]
        here = [lfns[at] for at in np.flatnonzero(~helpless).tolist()]
        self._forwarded.inc(len(elsewhere))
        known = self._index.locations(here, digests[~helpless], service.now(), collection)
        part = self._index.locations(elsewhere, digests[helpless], service.now(), collection)
        ours, theirs = await asyncio.gather(
            self._refresh.located(known, demand, until), self._shared(part, demand, until, collection)
        )
        return locations.joined([ours, theirs])

    async def _shared(self, share: Locations, demand: Demand, until: float, collection: str | None) -> Locations:
        """What is known here of a share, made complete by what the owners of the other shares say."""
        ours = await self._refresh.located(share, demand, until)
        return await self._forward.locations(ours, demand, until, collection)

    async def _resolved(self, lfns: Sequence[str], call: Call[ResolveQuery] | Call[ResolveBody]) -> resolve.Lookup:
        now, deadline_s = _time(), call.what.deadline_s
        until = now + deadline_s * INDEX_SHARE
        located = await self._located(lfns, call.what.demand, until, _collection(call.what), _share(call))
        descent = Descent(self._transport, until, call.what.demand)
        located = await descent.followed(located)
        trips = self._nearness.trips
        said = await ask_catalogs(self._transport, resolve.asks(located), now + deadline_s, trips)
        found = resolve.lookup(located, said)
        return self._nearness.nearest_first(found, call.what.client_site or None)

    # ---- soft state ----------------------------------------------------------------------------------------------

    async def soft_state(self, call: Call[SoftState]) -> SoftStateAnswer:
        message = call.what
        self._below.believe(message)
        answer = await self._index.receive(message, service.now())
        self._taken.labels(message.site).inc(len(message.summaries))
        refused = [slot for slot in answer.slots if slot.status == "resend"]
        if refused:
            self._asked_again.inc(len(refused))
            telemetry.event("softstate.resend", site=message.site, slots=len(refused), reason=refused[0].reason)
        return answer

    async def expire(self) -> float:
        """Drops senders that sent nothing for `expiry_s`."""
        for site in self._index.expire(service.now()):
            telemetry.event("site.silent", site=site, expiry_s=self._settings.index.expiry_s)
        for url in self._foreign.expire(service.now()):
            telemetry.event("rls.silent", catalog=url, stale_s=self._settings.rls.stale_s)
        return min(EXPIRE_S, self._settings.index.expiry_s / (2 * LOOKS))

    async def learn(self) -> float:
        """Asks the other owners whom they hear: soon while this node does not know all senders, later as a check."""
        await side_by_side(self._learn_from, list(self._forward.peers(service.now()).values()))
        return self._settings.index.renewal_interval_s if self._index.knows_all() else LEARN_S

    async def _learn_from(self, peer: str) -> None:
        """Whatever ring another node has: of a cell that it vouches for, all senders told it."""
        try:
            members = await self._forward.members(peer)
        except ReplocError:
            return
        index, now = self._settings.index, service.now()
        if members.slots == index.slots:
            self._index.learn(_flags(members, index.partition), members.members, now)
            self._forward.hear(members, index.expiry_s, now)

    def take(self, settings: RliSettings) -> None:
        """Takes over what may change while the node runs."""
        settings = replace(settings, index=self._membership.over(settings.index))
        telemetry.set_up(settings.log_level, settings.log_format)
        now = service.now()
        if settings.index.ring != self._settings.index.ring or settings.index.urls != self._settings.index.urls:
            self._index.change_ring(settings.index, settings.node, now)
            self._forward.change_ring(settings.index, now)
        self._nearness = Nearness(settings.distance, self._nearness.trips)
        self._below.take(settings)
        if self._upward is not None:
            self._upward.take(settings.parents)
        self._settings = settings

    # ---- about the node ------------------------------------------------------------------------------------------

    async def members(self, _: Call[NoQuery]) -> Members:
        index, up = self._settings.index, self._upward
        nodes = [Member("rli", node.name, names.require_url(node.url), "listed") for node in index.nodes]
        return Members(
            node=self._settings.node,
            slots=index.slots,
            redundancy=index.redundancy,
            error_rate=index.error_rate,
            ring=index.ring.version,
            listed=runs(self._index.listed()),
            members=[*nodes, *self._index.members(service.now())],
            expiry_s=index.expiry_s,
            former=_former(self._forward.former(service.now())),
            services=self._membership.services(),
            partition=_told(index.partition),
            parents=[] if up is None else [Member("rli", name, url, "listed") for name, url in up.parents.items()],
        )

    async def status(self, _: Call[NoQuery]) -> RliStatus:
        index, states = self._settings.index, self._states()
        owned = self._index.owned
        return RliStatus(
            node=self._settings.node,
            version=__version__,
            uptime_s=round(service.now() - self._started, 3),
            url=index.urls[self._settings.node],
            slots=index.slots,
            redundancy=index.redundancy,
            error_rate=index.error_rate,
            ring=index.ring.version,
            slots_owned=len(owned),
            slots_complete=int(self._index.registry.complete(owned).sum()),
            sites_live=states.count("live"),
            sites_silent=len(states) - states.count("live"),
            memory_bytes=self._index.memory(),
            reload_error=self.reloadable.error,
            rls_url=self.rls.url,
            parents=[] if self._upward is None else self._upward.progress(),
        )

    def not_ready(self) -> str:
        """Why the node's "nowhere" is not to be believed yet, or empty text. It does not wait for silent sites."""
        registry = self._index.registry
        if not registry.knows_all():
            return "not all senders are known yet"
        silent = {member.name for member in registry.members(service.now()) if member.state == "silent"}
        awaited = [site for site in registry.missing_here(self._index.owned) if site not in silent]
        return f"the news of {len(awaited)} sites is awaited, first {awaited[0]}" if awaited else ""

    def _states(self) -> list[str]:
        return [member.state for member in self._index.registry.members(service.now())]

    def _totals_bytes(self) -> int:
        return 0 if self._index.collections is None else self._index.collections.totals.memory()

    def _silent(self) -> int:
        return self._states().count("silent")


def _collection(asked: LocateQuery | LocateBody | ResolveQuery | ResolveBody) -> str | None:
    """The collection that a question names, which must be a name."""
    return None if asked.collection is UNSET else names.require(asked.collection, "collection")


def _share(call: Call[Any]) -> str | None:
    """The ring by which a node's own share is asked for, empty where none is named; None where all is."""
    return call.headers.get(RING_HEADER, "") if HOP_HEADER in call.headers else None


def _time() -> float:
    """Seconds of the running loop's clock, which deadlines are told in."""
    return asyncio.get_running_loop().time()


def _flags(members: Members, ours: Partition) -> Flags:
    """The cells of an index parted like ours whose senders a node vouches for, shape (slots, parts)."""
    flags = np.zeros(ours.slots * ours.site_parts, dtype=np.bool_)
    if ours.has_parts_of(members.partition or Partition(members.slots)):
        for first, last in members.listed:
            flags[first : last + 1] = True
    return flags.reshape(ours.slots, ours.site_parts)


def _former(view: View | None) -> FormerRing | None:
    if view is None:
        return None
    nodes = [Member("rli", name, url, "listed") for name, url in view.urls.items()]
    return FormerRing(view.ring.redundancy, nodes, _told(view.ring.partition))


def _told(partition: Partition) -> Partition | None:
    """How an index is parted, as a list of members tells it."""
    return None if partition == Partition(partition.slots) else partition


@asynccontextmanager
async def compose(settings: RliSettings) -> AsyncIterator[Daemon]:
    """An index node: the index in memory, its connections to catalogs and other nodes, and the routes over them."""
    metrics = Metrics()
    transport = HttpTransport(settings.shown)
    me = described("rli", settings.node, settings.own_url, settings.index.parameters)
    membership = Membership(settings.membership, settings.index, me, metrics)
    await membership.first()
    over = membership.over(settings.index)
    above = parents_of(settings, metrics)
    await above.first_if_heard()
    several = settings.workers > 1
    shared = Shared.create(settings.index.slots, settings.matrix_bytes_max) if several else None
    texts = ScratchTexts(settings.lists_scratch) if settings.lists_scratch else None
    index = Index(over, settings.node, settings.matrix_bytes_max, service.now(), shared, texts)
    server = RliServer(index, settings, membership, above, transport, metrics)
    try:
        yield Daemon(
            name=f"rli {settings.node}",
            routes=server.routes(),
            metrics=metrics,
            duties=server.duties(),
            not_ready=server.not_ready,
            reloadable=server.reloadable,
            ports=[partial(server.rls.listening, settings)] if settings.rls.listen else [],
            workers=Workers("rli.worker", shared.descriptor) if shared else None,
        )
    finally:
        await server.close()
        await transport.close()
        if shared:
            shared.close()
