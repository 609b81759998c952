"""The RLS port: connections that speak the protocol of the Globus RLS, in front of what a service answers.

There is no HTTP under it, so that a lookup costs microseconds. What a service can answer at once is asked for as one
array over all connections: the requests that arrived in one turn of the event loop. Replies leave in the order of the
requests of their connection; behind a request that takes time, a write or a long listing, the next of its connection
wait for it, so that a read sees the writes before it.

The protocol knows neither encryption nor identities. With `tls` the port has both, for clients behind something that
adds TLS; without it everyone is nobody, whom rules seldom allow anything, and the port opens on loopback only, unless
the daemon is `insecure`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, TypeAlias, cast

from msgspec import Meta

from reploc import telemetry
from reploc.actions import EVERYTHING
from reploc.config import Settings
from reploc.errors import ConfigInvalid, ReplocError
from reploc.rls.access import action_of
from reploc.rls.protocol import CLOSE, DONE, GREETING, Admin, Code, Refused, Request, RequestReader, number, refusal
from reploc.security.audit import CHANGES, Audit
from reploc.security.guard import Guard
from reploc.security.identity import NOBODY
from reploc.security.tls import Peer
from reploc.service import DaemonSettings, address, refusals
from reploc.telemetry import Metrics

#: Requests of one connection that wait before no more are read: original clients send one at a time.
PIPELINE_MAX = 1_000
#: Requests of one connection that are answered in one turn, so that one that pipelines thousands does not hold up all.
TURN_REQUESTS_MAX = 100
#: Seconds between two looks for connections that have been idle for too long.
IDLE_LOOK_S = 5.0
#: Seconds that requests under way may take once the port closes.
DRAIN_S = 5.0

#: Answers of many requests of one method: for each a reply, a refusal, or None where it takes time after all.
InstantAnswers = Callable[[Sequence[Request]], Sequence[bytes | Refused | None]]
#: A reply, and the code that it begins with.
Reply: TypeAlias = tuple[int, bytes]
#: The reply to one request; raises Refused or what `reploc/errors.py` has.
SlowAnswer = Callable[[Request], Awaitable[bytes]]


class RlsSettings(Settings, frozen=True):
    """The port for clients and servers of the Globus RLS."""

    listen: Annotated[
        str, Meta(description="HOST:PORT of the RLS port; empty: there is none. The usual port is 39281.")
    ] = ""
    connections_max: Annotated[int, Meta(description="Connections at one time; more are told so.", ge=1)] = 1_000
    idle_s: Annotated[float, Meta(description="A connection that is idle for so long is closed.", gt=0)] = 900.0
    tls: Annotated[
        bool, Meta(description="Speak TLS with the daemon's certificates; its rules then know who asks.")
    ] = False
    admin: Annotated[
        bool, Meta(description="Let clients of this port, whom it cannot know, stop the daemon and clear the catalog.")
    ] = False


@dataclass(frozen=True)
class Methods:
    """What a service answers: method → answers. A method that is in neither belongs to the other kind of server.

    One that is in both is answered at once where that is possible.
    """

    instant: Mapping[bytes, InstantAnswers]
    slow: Mapping[bytes, SlowAnswer]
    #: What a client is told that asks for a method of the other kind: "not LRC server" or "not RLI server".
    other_role: str


class RlsPort:
    """All connections of one port."""

    def __init__(self, methods: Methods, settings: RlsSettings, metrics: Metrics) -> None:
        self.methods = methods
        #: Where it listens; empty while it does not.
        self.url = ""
        self._settings = settings
        self._guard: Guard | None = None
        self._connections: set[Connection] = set()
        self._ready: list[Connection] = []
        self._requests = metrics.counter("reploc_rls_requests", "Requests at the RLS port", "method", "code")
        self._counts: dict[tuple[bytes, int], Callable[[], None]] = {}
        metrics.watch("reploc_rls_connections", "Connections to the RLS port", lambda: len(self._connections))

    @asynccontextmanager
    async def listening(self, daemon: DaemonSettings, guard: Guard) -> AsyncIterator[str]:
        """Serves behind the guard while the context lasts; the base URL. Raises ConfigInvalid: the address is not to be
        had, or beyond loopback without TLS and rules or being told so."""
        safe = daemon.insecure or (daemon.guarded and self._settings.tls)
        host, port = address(self._settings.listen, insecure=safe, what="rls.listen")
        if self._settings.tls and guard.tls is None:
            raise ConfigInvalid("rls.tls: is true, but tls.certificate names no certificate")
        context = guard.tls.context if guard.tls and self._settings.tls else None
        handshake_s = guard.arrivals.settings.head_s if context else None
        with refusals(self._settings.listen, what="rls.listen"):
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self), host, port, ssl=context, ssl_handshake_timeout=handshake_s
            )
        self._guard = None if guard.idle else guard
        watching = asyncio.create_task(self._watch_idle())
        try:
            scheme = "rls" if context else "rlsn"
            self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.sockets[0].getsockname()[1]}"
            telemetry.event("rls.listening", url=self.url)
            yield self.url
        finally:
            self.url = ""
            watching.cancel()
            server.close()
            await self._drained()

    def allowed(self, connection: Connection, request: Request) -> Request | Refused:
        """The request, or a refusal in its place where the rules do not allow it to who asks."""
        if self._guard is None or request.method == CLOSE:
            return request
        try:
            action = action_of(request.method)
            connection.who = self._guard.admit_at_once(connection, connection.address, None)
            self._guard.require(self._guard.rights(connection.who), action, EVERYTHING)
        except ReplocError as wrong:
            self._guard.arrivals.in_vain(connection.address, wrong, request.method.decode(errors="replace"))
            return Refused(Code.NOT_ALLOWED, f"{wrong.code}: {wrong.detail}")
        return request

    def audit_of(self, method: bytes) -> Audit | None:
        """The log that wants to know of a method, if there is one."""
        return self._guard.audit if self._guard is not None and action_of(method) in CHANGES else None

    def admit(self, connection: Connection) -> bool:
        """Whether a new connection may stay."""
        self._connections.add(connection)
        return len(self._connections) <= self._settings.connections_max

    @property
    def connections_max(self) -> int:
        return self._settings.connections_max

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def wake(self, connection: Connection) -> None:
        """The connection has requests that can be answered at the end of this turn."""
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._turn)
        self._ready.append(connection)

    def count(self, method: bytes, code: int) -> None:
        """One request more."""
        step = self._counts.get((method, code))
        if step is None:
            step = self._counts[method, code] = self._requests.labels(method.decode(), str(code)).inc
        step()

    def _turn(self) -> None:
        """Answers what the connections have ready, a method at a time over all of them."""
        ready, self._ready = self._ready, []
        by_method: dict[bytes, list[tuple[Connection, int, Request]]] = {}
        for connection in ready:
            for place, request in enumerate(connection.take_instant()):
                by_method.setdefault(request.method, []).append((connection, place, request))
        for method, asked in by_method.items():
            answers = self._answered(method, [request for _, _, request in asked])
            for (connection, place, _), answer in zip(asked, answers, strict=True):
                connection.answers[place] = answer
        for connection in ready:
            connection.send_taken()

    def _answered(self, method: bytes, requests: Sequence[Request]) -> list[Reply | None]:
        """A reply for each request of one method; where all together break, each is asked alone."""
        try:
            return [None if answer is None else _reply(answer) for answer in self.methods.instant[method](requests)]
        except Exception as wrong:
            if len(requests) > 1:
                return [answer for request in requests for answer in self._answered(method, [request])]
            return [_reply(as_refused(wrong, method))]

    async def _watch_idle(self) -> None:
        while True:
            await asyncio.sleep(min(IDLE_LOOK_S, self._settings.idle_s))
            before = asyncio.get_running_loop().time() - self._settings.idle_s
            for connection in list(self._connections):
                connection.close_if_idle_since(before)

    async def _drained(self) -> None:
        """Closes every connection, those that wait for an answer when they have it or `DRAIN_S` later."""
        for connection in list(self._connections):
            connection.finish()
        waiting = [connection.task for connection in self._connections if connection.task]
        if waiting:
            await asyncio.wait(waiting, timeout=DRAIN_S)
        for connection in list(self._connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """One connection: what it asked and has no answer yet, in order."""

    def __init__(self, port: RlsPort) -> None:
        self._port = port
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request | Refused] = deque()
        self._woken = False
        self._reading = True
        self._writable = True
        self._last = 0.0
        #: What `take_instant` gave out last and was not answered yet, and the replies, None for what takes time.
        self._taken: list[Request] = []
        self.answers: list[Reply | None] = []
        #: The request that takes time, while it is answered.
        self.task: asyncio.Task[None] | None = None
        #: Who asks and from where, and what the guard keeps of the other end's certificate.
        self.who = NOBODY
        self.address = ""
        self.looked = False
        self.peer: Peer | None = None
        self.counted = False

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._transport

    # ---- the transport's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.address = (transport.get_extra_info("peername") or ("",))[0]
        self._last = asyncio.get_running_loop().time()
        if self._port.admit(self):
            self._transport.write(GREETING)
        else:
            self._transport.write(refusal(Refused(Code.TOO_MANY_CONNECTIONS, str(self._port.connections_max))))
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._last = asyncio.get_running_loop().time()
        try:
            self._waiting.extend(self._port.allowed(self, request) for request in self._reader.feed(data))
        except Refused as wrong:
            self._waiting.append(wrong)
            self._pause_reading()
        if len(self._waiting) > PIPELINE_MAX:
            self._pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Who asks and closes its side gets its answers, then the connection ends."""
        self._waiting.append(Request(CLOSE, ()))
        self._wake()
        return True

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        self._waiting.clear()
        self._transport = None
        self._port.leave(self)

    # ---- the port's side ---------------------------------------------------------------------------------------------

    def take_instant(self) -> Sequence[Request]:
        """The requests at the front that can be answered at once; their replies go to the same places of `answers`."""
        self._woken = False
        instant, waiting = self._port.methods.instant, self._waiting
        self._taken = []
        while waiting and len(self._taken) < TURN_REQUESTS_MAX:
            request = waiting[0]
            if isinstance(request, Refused) or request.method not in instant:
                break
            self._taken.append(request)
            waiting.popleft()
        self.answers = [None] * len(self._taken)
        return self._taken

    def send_taken(self) -> None:
        """Sends the replies of this turn, up to one that takes time, and goes on with what comes next."""
        if self._transport is None:
            return
        answers, taken = self.answers, self._taken
        self.answers, self._taken = [], []
        late = next((at for at, answer in enumerate(answers) if answer is None), len(answers))
        ready = [answer for answer in answers[:late] if answer is not None]
        for request, (code, _) in zip(taken, ready, strict=False):
            self._port.count(request.method, code)
        if ready:
            self._transport.write(b"".join([reply for _, reply in ready]))
        if late == len(answers):
            self._next()
        else:
            self._waiting.extendleft(reversed(taken[late + 1 :]))
            self._begin(taken[late])

    def close_if_idle_since(self, moment: float) -> None:
        if self._last < moment and not self._waiting and self.task is None and self._transport:
            self._transport.close()

    def finish(self) -> None:
        """Answers no more than what is being answered."""
        self._waiting.clear()
        if self.task is None and self._transport:
            self._transport.close()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()

    # ---- one after the other -----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._waiting and not self._woken and self.task is None and self._writable and self._transport:
            self._woken = True
            self._port.wake(self)

    def _next(self) -> None:
        """What stands at the front now: a refusal ends the connection, a slow request is begun, others wait a turn."""
        if self._waiting and not (
            isinstance(self._waiting[0], Request) and self._waiting[0].method in self._port.methods.instant
        ):
            self._begin(self._waiting.popleft())
        if not self._reading and len(self._waiting) < PIPELINE_MAX // 2 and self._transport:
            self._reading = True
            self._transport.resume_reading()
        self._wake()

    def _begin(self, request: Request | Refused) -> None:
        assert self._transport is not None
        if isinstance(request, Refused):
            self._port.count(b"unknown", request.code)
            self._transport.write(refusal(request))
            self._transport.close()
        elif request.method == CLOSE:
            self._transport.close()
        else:
            self.task = asyncio.create_task(self._perform(request))

    async def _perform(self, request: Request) -> None:
        audit = self._port.audit_of(request.method)
        try:
            if audit is not None:
                audit.require_writable()
            slow = self._port.methods.slow.get(request.method)
            if slow is None:
                raise Refused(Code.WRONG_ROLE, self._port.methods.other_role)
            code, reply = _reply(await slow(request))
        except Exception as wrong:
            code, reply = _reply(as_refused(wrong, request.method))
        if audit is not None:
            said = [parameter.decode(errors="replace") for parameter in request.parameters]
            audit.record(
                self.who, self.address, action_of(request.method), f"rls {request.method.decode()}", said, code
            )
        self._port.count(request.method, code)
        self.task = None
        self._last = asyncio.get_running_loop().time()
        if self._transport is not None:
            self._transport.write(reply)
            self._next()

    def _pause_reading(self) -> None:
        if self._reading and self._transport:
            self._reading = False
            self._transport.pause_reading()


def _reply(answer: bytes | Refused) -> Reply:
    return (answer.code, refusal(answer)) if isinstance(answer, Refused) else (Code.DONE, answer)


def administer(request: Request, settings: RlsSettings, update: Callable[[], object] | None = None) -> bytes:
    """`admin` command: 0 is a ping, 1 stops the daemon, 2 calls `update`, which a server of the other kind has not."""
    match number(request.parameters[0], "command") if request.parameters[0] else None:
        case Admin.PING:
            return DONE
        case Admin.QUIT:
            require_admin(settings)
            os.kill(os.getpid(), signal.SIGTERM)
            return DONE
        case Admin.UPDATE:
            if update is None:
                raise Refused(Code.WRONG_ROLE, "not LRC server")
            update()
            return DONE
    raise Refused(Code.BAD_ARGUMENT, request.parameters[0].decode(errors="replace"))


def require_admin(settings: RlsSettings) -> None:
    """Raises Refused unless clients of the port may administer."""
    if not settings.admin:
        raise Refused(Code.NOT_ALLOWED, "this port administers only with admin = true in its settings")


#: The code of each error; all others are the database's, after which original senders try again.
_CODES = {
    "name-invalid": Code.BAD_ARGUMENT,
    "body-invalid": Code.BAD_ARGUMENT,
    "too-large": Code.BAD_ARGUMENT,
    "lfn-unknown": Code.LFN_UNKNOWN,
    "pfn-unknown": Code.PFN_UNKNOWN,
    "mapping-unknown": Code.MAPPING_UNKNOWN,
    "lfn-exists": Code.LFN_EXISTS,
    "pfn-exists": Code.PFN_EXISTS,
    "mapping-exists": Code.MAPPING_EXISTS,
    "rls-index-exists": Code.RLI_EXISTS,
    "rls-index-unknown": Code.RLI_UNKNOWN,
    "rls-index-unfit": Code.UNSUPPORTED,
    "rls-port-closed": Code.UNSUPPORTED,
    "attribute-unknown": Code.ATTRIBUTE_UNKNOWN,
    "attribute-exists": Code.ATTRIBUTE_EXISTS,
    "attribute-in-use": Code.ATTRIBUTE_EXISTS,
    "attributes-full": Code.BAD_ARGUMENT,
    "value-invalid": Code.BAD_ARGUMENT,
    "value-exists": Code.ATTRIBUTE_EXISTS,
    "value-unknown": Code.VALUE_UNKNOWN,
}


def as_refused(wrong: Exception, method: bytes) -> Refused:
    """An error as the refusal that it becomes on the wire; one that nobody expected is logged."""
    if isinstance(wrong, Refused):
        return wrong
    if isinstance(wrong, ReplocError):
        return Refused(code_of(wrong.code), f"{wrong.code}: {wrong.detail}")
    telemetry.failure("rls.broke", wrong, method=method.decode())
    return Refused(Code.DATABASE_ERROR, "the service failed; its log says how")


def code_of(code: str) -> Code:
    """The protocol's code for one of `reploc/errors.py`."""
    return _CODES.get(code, Code.DATABASE_ERROR)
