"""Routes to handlers over HTTP: the one place where a server meets aiohttp.

A route names its path, the type of its query or body, and a handler that takes a `Call` and returns a message, a
`Reply` or a `Stream`. Here the query or body is bounded, decoded and validated, the answer is encoded as JSON or
MessagePack as asked, and an error of the tree becomes a problem document. Nothing is matched by pattern: every path is
exact, so that finding a route is one look into a dictionary.

A route that is asked very often has a second way, `begin`, on which a request has no task: it begins to answer, and
says later what the answer is, or that this request must go the common way. The connection takes it for requests whose
heads it knows again (`reploc/connection.py`); what is answered is the same, byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar, cast
from urllib.parse import unquote_plus

import msgspec
from aiohttp import web
from aiohttp.http import HttpVersion11

from reploc import errors, expected, telemetry
from reploc.actions import Action
from reploc.bodies import Bodies
from reploc.connection import PROBLEM, Connection, Server, answer_bytes, problem
from reploc.hot import Send
from reploc.introduction import Introduction
from reploc.relay import Relay, introduced
from reploc.security.audit import CHANGES
from reploc.security.guard import Guard
from reploc.security.identity import NOBODY, Identity
from reploc.wire import BODY_BYTES_MAX, Body

T = TypeVar("T")
L = TypeVar("L")

JSON = "application/json"
MSGPACK = "application/msgpack"
NDJSON = "application/x-ndjson"

#: Fields of one query string: the route with the most takes four.
QUERY_FIELDS_MAX = 16
#: Bytes of a request line: the longest name, percent-encoded, with its path.
LINE_BYTES_MAX = 16 << 10
#: Seconds in which a body must have arrived: the largest at a megabyte a second, twice over.
BODY_S = 60.0

Decoder: TypeAlias = msgspec.json.Decoder[Any] | msgspec.msgpack.Decoder[Any]

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class NoQuery(Body, frozen=True):
    """The query of a route that takes none."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request: its decoded query or body, its headers, the peer's address, and who asks."""

    what: T
    headers: Mapping[str, str]
    peer: str
    who: Identity = NOBODY


class Elsewhere(Exception):
    """A worker's route has no answer for this call; the main process has."""

    def __init__(self, call: Call[Any]) -> None:
        super().__init__("only the main process can answer")
        self.call = call


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is more than a message with status 200."""

    body: bytes
    media: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream(Generic[L]):
    """An answer of lines of type L, sent piece by piece; the next piece is made when the last one has been taken."""

    pieces: AsyncIterator[bytes]
    media: str = NDJSON


@dataclass(frozen=True)
class Also:
    """An answer that a `Reply` gives beside the handler's messages, for the OpenAPI document.

    `kind` is the type of a body that is a message, `headers` are (name, what it says).
    """

    summary: str
    status: int = 200
    media: str = ""
    kind: type[msgspec.Struct] | None = None
    headers: tuple[tuple[str, str], ...] = ()


Outcome: TypeAlias = msgspec.Struct | Reply | Stream[Any]
Handler: TypeAlias = Callable[[Call[T]], Awaitable[Outcome]]
#: The names that a decoded query or body acts on (`reploc/actions.py`).
ActsOn: TypeAlias = Callable[[T], Iterable[str]]
#: Takes what an answer is, an error of the tree among them; None: this request must go the common way.
Done: TypeAlias = Callable[[msgspec.Struct | Exception | None], None]
#: Begins to answer a request, and calls once what takes the answer, at once or later. What it raises instead has begun
#: nothing.
Begin: TypeAlias = Callable[[Call[T], Done], None]


@dataclass(frozen=True)
class Route(Generic[T]):
    """A path with its method, what it takes, who answers, and what who asks must be allowed to do.

    Without `acts_on` the action itself is enough, whatever names it is allowed on. `announces` are addresses in the
    body to which others will be sent: they must be of who asks.
    """

    method: str
    path: str
    kind: type[T]
    handler: Handler[T]
    summary: str
    takes_body: bool
    action: Action
    acts_on: ActsOn[T] | None = None
    announces: ActsOn[T] | None = None
    body_bytes_max: int = BODY_BYTES_MAX
    body_s: float = BODY_S
    also: tuple[Also, ...] = ()
    begin: Begin[T] | None = None

    def allow(self, guard: Guard, who: Identity, what: T) -> None:
        """Raises Forbidden unless who asks may do this with the names, and announce the addresses, of the request."""
        guard.require(
            guard.rights(who),
            self.action,
            None if self.acts_on is None else self.acts_on(what),
            () if self.announces is None else self.announces(what),
        )


def get(
    path: str,
    handler: Handler[T],
    kind: type[T],
    summary: str,
    *also: Also,
    action: Action,
    acts_on: ActsOn[T] | None = None,
    begin: Begin[T] | None = None,
) -> Route[T]:
    """A route that is read with a query string of the given type."""
    return Route(
        "GET",
        path,
        kind,
        handler,
        summary,
        takes_body=False,
        action=action,
        acts_on=acts_on,
        also=also,
        begin=begin,
    )


def post(
    path: str,
    handler: Handler[T],
    kind: type[T],
    summary: str,
    *,
    action: Action,
    acts_on: ActsOn[T] | None = None,
    announces: ActsOn[T] | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
    body_s: float = BODY_S,
    begin: Begin[T] | None = None,
) -> Route[T]:
    """A route that takes a body of the given type, as JSON or MessagePack, of so many bytes and within so long."""
    return Route(
        "POST",
        path,
        kind,
        handler,
        summary,
        takes_body=True,
        action=action,
        acts_on=acts_on,
        announces=announces,
        body_bytes_max=body_bytes_max,
        body_s=body_s,
        begin=begin,
    )


class Router:
    """All routes of a daemon behind its guard; `answer` is the handler that aiohttp calls."""

    def __init__(
        self, routes: list[Route[Any]], metrics: telemetry.Metrics, guard: Guard, relay: Relay | None = None
    ) -> None:
        """With a `relay`, what no route answers goes on to another process."""
        self.routes = routes
        self._guard = guard
        self._relay = relay
        self.bodies = Bodies()
        self._entries: dict[str, dict[str, _Entry]] = {}
        for route in routes:
            self._entries.setdefault(route.path, {})[route.method] = _Entry(route, metrics, self.bodies)
        self._stray = metrics.seconds

    def server(self) -> Server:
        """The aiohttp server over these routes."""
        return Server(
            self.answer,
            self._guard.arrivals,
            access_log=None,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            auto_decompress=True,
        )

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        try:
            entry = self._entry(path, request.method)
        except errors.ReplocError as wrong:
            if self._relay is not None:
                return await self._relayed(self._relay, request)
            self._stray.labels("unknown", wrong.status).observe(0)
            self._guard.arrivals.in_vain(_peer(request), wrong, f"{request.method} {path}")
            allowed = self._allowed(path)
            return problem(wrong, {"Allow": ", ".join(allowed)} if allowed else None)
        started = time.perf_counter()
        response = await self._respond(entry, request, query)
        entry.done(response.status, time.perf_counter() - started)
        if response.status == 200 and entry.route.begin and isinstance(request.protocol, Connection):
            self._learn(entry, request, request.protocol)
        return response

    def _learn(self, entry: _Entry, request: web.BaseRequest, connection: Connection) -> None:
        """What the connection needs to answer requests like this one itself, if they are of the plain kind.

        What the audit log wants to know of goes the common way.
        """
        if introduced(request) or (self._guard.audit is not None and entry.route.action in CHANGES):
            return
        usual = not any(name in request.headers for name in ("Expect", "Upgrade", "Content-Encoding"))
        plain = request.method == entry.route.method and request.version == HttpVersion11 and request.keep_alive
        if usual and plain and (request.content_length is not None) == entry.route.takes_body:
            connection.learn(_Hot(entry, request, connection, self._guard).answer)

    async def _who(self, request: web.BaseRequest) -> Identity:
        """Who asks for something. Raises what is wrong with what they show."""
        authorization = request.headers.get("Authorization")
        return await self._guard.admit(cast(Connection, request.protocol), request.remote or "", authorization)

    async def _relayed(self, relay: Relay, request: web.BaseRequest) -> web.StreamResponse:
        """The answer of the process that has a route for a request, which is told who asks."""
        try:
            who = NOBODY if self._guard.idle else await self._who(request)
        except errors.ReplocError as wrong:
            self._guard.arrivals.in_vain(request.remote or "", wrong, f"{request.method} {request.path}")
            return problem(wrong)
        return await relay.answer(request, Introduction(request.remote or "", who))

    def _entry(self, path: str, method: str) -> _Entry:
        methods = self._entries.get(path)
        if methods is None:
            raise errors.RouteUnknown(f"{path[:200]!r} is no path of this service")
        entry = methods.get("GET" if method == "HEAD" else method)
        if entry is None:
            raise errors.MethodUnknown(f"{path} takes {' or '.join(self._allowed(path))}, not {method}")
        return entry

    def _allowed(self, path: str) -> list[str]:
        """The methods that a path takes: where GET is, HEAD is too (RFC 9110, section 9.3.2)."""
        methods = self._entries.get(path, {})
        return sorted([*methods, "HEAD"] if "GET" in methods else methods)

    async def _respond(self, entry: _Entry, request: web.BaseRequest, query: str) -> web.StreamResponse:
        path = entry.route.path
        try:
            outcome = await self._outcome(entry, request, query)
            if isinstance(outcome, Stream):
                return await _stream(request, outcome, path)
            return _encoded(outcome, request.headers)
        except Elsewhere as further:
            assert self._relay is not None, f"{path} has no answer, and there is no other process"
            body = _json.encode(further.call.what) if entry.route.takes_body else None
            return await self._relay.answer(request, Introduction(request.remote or "", further.call.who), body)
        except Exception as broke:
            wrong = _told(broke, path)
            self._guard.arrivals.in_vain(_peer(request), wrong, f"{request.method} {path}")
            return problem(wrong)

    async def _outcome(self, entry: _Entry, request: web.BaseRequest, query: str) -> Outcome:
        """What the handler says, to someone who may have it: whether at all is known before the body is read."""
        guard, route, by_worker = self._guard, entry.route, introduced(request)
        peer = _peer(request)
        if guard.idle:
            return await route.handler(Call(await entry.decode(request, query), request.headers, peer))
        who = by_worker.who if by_worker else await self._who(request)
        guard.require(guard.rights(who), route.action)
        what = await entry.decode(request, query)
        route.allow(guard, who, what)
        call = Call(what, request.headers, peer, who)
        if guard.audit is None or route.action not in CHANGES or not route.takes_body:
            return await route.handler(call)
        guard.audit.require_writable()
        said: object = "broke"
        try:
            outcome = await route.handler(call)
            said = outcome if isinstance(outcome, msgspec.Struct) else getattr(outcome, "status", 200)
        except errors.ReplocError as wrong:
            said = wrong.problem()
            raise
        finally:
            guard.audit.record(who, peer, route.action, route.path, what, said)
        return outcome


class _Entry:
    """A route with its decoders and metrics, made once."""

    def __init__(self, route: Route[Any], metrics: telemetry.Metrics, bodies: Bodies) -> None:
        self.route = route
        self._bodies = bodies
        self._json = msgspec.json.Decoder(route.kind)
        self._msgpack = msgspec.msgpack.Decoder(route.kind)
        self._seconds = metrics.seconds
        self._ok = metrics.seconds.labels(route.path, 200)

    def done(self, status: int, seconds: float) -> None:
        (self._ok if status == 200 else self._seconds.labels(self.route.path, status)).observe(seconds)

    async def decode(self, request: web.BaseRequest, query: str) -> Any:
        if not self.route.takes_body:
            return self.decode_query(query)
        if query:
            raise errors.QueryInvalid(f"{self.route.path} takes a body and no query string")
        body = await self._bodies.read(request, self.route.body_bytes_max, self.route.body_s)
        return self.decode_body(body, self.decoder(request.headers))

    def decode_body(self, body: bytes, decoder: Decoder) -> Any:
        try:
            return decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as wrong:
            raise errors.BodyInvalid(expected.in_words(wrong, self.route.kind)) from wrong

    def decoder(self, headers: Mapping[str, str]) -> Decoder:
        media = headers.get("Content-Type", JSON).partition(";")[0].strip().lower()
        if media == JSON:
            return self._json
        if media == MSGPACK:
            return self._msgpack
        raise errors.MediaUnknown(f"Content-Type is {media[:100]!r}; expected {JSON} or {MSGPACK}")

    def decode_query(self, query: str) -> Any:
        try:
            return msgspec.convert(_fields(query), self.route.kind, strict=False)
        except msgspec.ValidationError as wrong:
            raise errors.QueryInvalid(expected.in_words(wrong, self.route.kind)) from wrong


class _Hot:
    """The route of a request whose head is known again, with what its headers say.

    Who asks, and what they may, is asked anew for each request: certificates and tokens end, and rules change.
    """

    def __init__(self, entry: _Entry, request: web.BaseRequest, connection: Connection, guard: Guard) -> None:
        headers = request.headers
        self._entry = entry
        self._begin = entry.route.begin
        self._headers = headers
        self._peer = request.remote or ""
        self._authorization = headers.get("Authorization")
        self._connection = connection
        self._guard = guard
        self._decoder = entry.decoder(headers) if entry.route.takes_body else None
        self._form = _form(headers)

    def answer(self, query: bytes, body: bytes, send: Send) -> None:
        """Answers one request, now or later."""
        started = time.perf_counter()
        assert self._begin is not None
        try:
            what = self._entry.decode_body(body, self._decoder) if self._decoder else self._decoded(query)
            self._begin(Call(what, self._headers, self._peer, self._who(what)), partial(self._end, started, send))
        except Exception:  # what is wrong is found out again, and said, on the common way
            send(None)

    def _who(self, what: Any) -> Identity:
        """Who asks. Raises whatever is wrong with it, or Unavailable where it cannot be known at once."""
        if self._guard.idle:
            return NOBODY
        who = self._guard.admit_at_once(self._connection, self._peer, self._authorization)
        self._entry.route.allow(self._guard, who, what)
        return who

    def _decoded(self, query: bytes) -> Any:
        return self._entry.decode_query(query.decode())

    def _end(self, started: float, send: Send, outcome: msgspec.Struct | Exception | None) -> None:
        if outcome is None:
            send(None)
            return
        if isinstance(outcome, Exception):
            wrong = _told(outcome, self._entry.route.path)
            status, media, body = wrong.status, PROBLEM, _json.encode(wrong.problem())
        else:
            (media, encoder), status = self._form, 200
            body = encoder.encode(outcome)
        self._entry.done(status, time.perf_counter() - started)
        send(answer_bytes(status, media, body))


def _peer(request: web.BaseRequest) -> str:
    """The address that a request came from."""
    by_worker = introduced(request)
    return by_worker.address if by_worker else request.remote or ""


def _told(wrong: Exception, path: str) -> errors.ReplocError:
    """The error that a client is told; one of the service is logged."""
    if not isinstance(wrong, errors.ReplocError):
        telemetry.failure("request.broke", wrong, route=path)
        return errors.Internal("the service's log says more")
    if wrong.status >= 500:
        telemetry.event("request.failed", route=path, code=wrong.code, detail=wrong.detail)
    return wrong


def _fields(query: str) -> dict[str, str]:
    """The fields of a form-encoded query string. Much shorter than the library's for one field, which most have."""
    parts = query.split("&") if query else []
    if len(parts) > QUERY_FIELDS_MAX:
        raise errors.QueryInvalid(f"the query string has {len(parts)} fields; at most {QUERY_FIELDS_MAX} are taken")
    fields: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or key in fields:
            raise errors.QueryInvalid(f"query field {key[:80]!r} {'stands twice' if equals else 'has no value'}")
        try:
            fields[key] = unquote_plus(value, errors="strict")
        except UnicodeDecodeError as wrong:
            raise errors.QueryInvalid(f"query field {key[:80]!r} is not UTF-8: {wrong.reason}") from wrong
    return fields


def _encoded(outcome: msgspec.Struct | Reply, headers: Mapping[str, str]) -> web.Response:
    if isinstance(outcome, Reply):
        return web.Response(
            body=outcome.body, status=outcome.status, headers={"Content-Type": outcome.media, **outcome.headers}
        )
    media, encoder = _form(headers)
    return web.Response(body=encoder.encode(outcome), headers={"Content-Type": media})


def _form(headers: Mapping[str, str]) -> tuple[str, msgspec.json.Encoder | msgspec.msgpack.Encoder]:
    """The media type that an answer shall have, and what encodes it."""
    return (MSGPACK, _msgpack) if MSGPACK in headers.get("Accept", "") else (JSON, _json)


async def _stream(request: web.BaseRequest, outcome: Stream[Any], path: str) -> web.StreamResponse:
    """The response, sent. One that fails on the way breaks the connection: its end must not look like the end."""
    response = web.StreamResponse(headers={"Content-Type": outcome.media})
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            async for piece in outcome.pieces:
                await response.write(piece)
        await response.write_eof()
    except Exception as wrong:
        if request.transport is not None and not request.transport.is_closing():  # else who asked has gone away
            telemetry.failure("stream.broke", wrong, route=path)
            request.transport.abort()
    return response
