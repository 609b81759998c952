"""Questions about LFNs that what is held here answers, without a demand and without another node: a worker's routes.

All others, of which the answer would take more than that, are the main process's.
"""

from __future__ import annotations

from typing import Any, Protocol

from reploc import digest, names, service
from reploc.actions import Action, all_lfns, one_lfn
from reploc.client import demands
from reploc.client.node import HOP_HEADER
from reploc.questions import LocateBody, LocateQuery
from reploc.routes import Call, Done, Elsewhere, Route, get, post
from reploc.turn import Turn
from reploc.wire import Existence, Location, Locations
from rli.seen import Seen
from rli.shared import Changing


class Answers(Protocol):
    """Who says where LFNs may be: a worker from what it sees, the node itself from all that it can ask."""

    async def location(self, call: Call[LocateQuery]) -> Location: ...

    def begin_location(self, call: Call[LocateQuery], done: Done) -> None: ...

    async def locations(self, call: Call[LocateBody]) -> Locations: ...

    async def exists(self, call: Call[LocateBody]) -> Existence: ...


def routes_of(answers: Answers) -> list[Route[Any]]:
    """The routes that a worker has too: a request finds the same ones whichever process takes it."""
    may = Action.READ_INDEX
    each, where = "Which sites may hold one LFN", "Which sites may hold each of many LFNs"
    which, begin_one = "Which of many LFNs any site may hold", answers.begin_location
    return [
        get("/v1/locations", answers.location, LocateQuery, each, action=may, acts_on=one_lfn, begin=begin_one),
        post("/v1/locations", answers.locations, LocateBody, where, action=may, acts_on=all_lfns),
        post("/v1/exists", answers.exists, LocateBody, which, action=may, acts_on=all_lfns),
    ]


class Reading:
    """The handlers of a worker."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._turn = Turn(lambda lfns: seen.each_location(lfns, service.now()))

    def routes(self) -> list[Route[Any]]:
        """Every route of a worker."""
        return routes_of(self)

    async def location(self, call: Call[LocateQuery]) -> Location:
        lfn = names.require(call.what.lfn)
        if call.what.demand.is_none:
            try:
                found = await self._turn.ask(lfn)
            except Changing as changing:
                raise Elsewhere(call) from changing
            if suffices(found, call):
                return found
        raise Elsewhere(call)

    def begin_location(self, call: Call[LocateQuery], done: Done) -> None:
        begin(self._turn, call, done, simple=call.what.demand.is_none)

    async def locations(self, call: Call[LocateBody]) -> Locations:
        lfns = call.what.lfns
        names.require_all(lfns)
        digests = digest.of(lfns)
        try:
            if not call.what.demand.is_none or (HOP_HEADER not in call.headers and self._seen.helpless(digests)):
                raise Elsewhere(call)
            return self._seen.locations(lfns, digests, service.now())
        except Changing as changing:
            raise Elsewhere(call) from changing

    async def exists(self, call: Call[LocateBody]) -> Existence:
        return demands.existence(await self.locations(call))


def suffices(found: Location, call: Call[LocateQuery]) -> bool:
    """Whether no other node could say more, or none is to be asked."""
    return found.complete or bool(found.sites) or HOP_HEADER in call.headers


def begin(turn: Turn[Location], call: Call[LocateQuery], done: Done, *, simple: bool) -> None:
    """Begins to answer for one LFN, where what is held here suffices; it cannot where the question is not `simple`."""

    def end(found: Location | Exception) -> None:
        ours = suffices(found, call) if isinstance(found, Location) else not isinstance(found, Changing)
        done(found if ours else None)

    if simple:
        turn.begin(names.require(call.what.lfn), end)
    else:
        done(None)
