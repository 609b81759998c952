"""What a daemon says about who asks it, and about what is asked in vain: the two routes of the guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from reploc.actions import Action
from reploc.routes import Call, NoQuery, Route, get
from reploc.security.arrivals import Asked
from reploc.security.guard import Guard
from reploc.telemetry import Family, Metrics
from reploc.wire import Answer


class Allowed(Answer, frozen=True):
    """An action, and what names must begin with on which it is allowed; an empty text is every name."""

    action: Action
    names: list[str]


class WhoAmI(Answer, frozen=True):
    """Who a service takes the client for, and what that one may. `guarded` is false where everyone may everything."""

    guarded: bool
    kind: str
    subject: str
    issuer: str
    groups: list[str]
    matched: list[str] = []
    allowed: list[Allowed] = []
    sites: list[str] = []
    nodes: list[str] = []
    addresses: list[str] = []


class RouteCount(Answer, frozen=True):
    """How often a route was asked since the start, whatever came of it."""

    route: str
    times: int


class Requests(Answer, frozen=True):
    """What users ask for: valid calls by route, those that nobody makes among them, and calls in vain by what they
    asked, the most frequent first (the Dynamo paper, section 4.5)."""

    routes: list[RouteCount]
    in_vain: list[Asked]


def routes(
    guard: Guard, metrics: Metrics, paths: list[str], counted: Callable[[], Awaitable[Sequence[Sequence[Family]]]]
) -> list[Route[Any]]:
    """The routes of the guard, over the paths of all others; `counted` is what other processes of the daemon say."""

    async def whoami(call: Call[NoQuery]) -> WhoAmI:
        who, rights = call.who, guard.rights(call.who)
        about = WhoAmI(rights is not None, who.kind, who.subject, who.issuer, list(who.groups))
        if rights is None:
            return about
        allowed = [
            Allowed(action, sorted({reason.prefix for reason in reasons})) for action, reasons in rights.reasons.items()
        ]
        return msgspec.structs.replace(
            about,
            matched=rights.matched,
            allowed=allowed,
            sites=rights.sites,
            nodes=rights.nodes,
            addresses=rights.addresses,
        )

    async def requests(_: Call[NoQuery]) -> Requests:
        asked = dict.fromkeys(paths, 0)
        for path, times in metrics.requests(await counted()):
            if path in asked:
                asked[path] += times
        counts = [RouteCount(path, times) for path, times in asked.items()]
        return Requests(sorted(counts, key=lambda one: (-one.times, one.route)), guard.arrivals.asked())

    return [
        get("/v1/whoami", whoami, NoQuery, "Who the service takes you for, and what you may", action=Action.PUBLIC),
        get("/v1/requests", requests, NoQuery, "What users ask for, also in vain", action=Action.MONITOR),
    ]
