"""The frame of a daemon: settings that all share, periodic duties, listening, signals, health and drain.

A daemon is composed by an async context manager that opens its resources and yields a `Daemon`; `serve` runs it until
SIGTERM or SIGINT, then answers `/readyz` with "draining", finishes what is under way and closes everything in turn.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import uvloop
from aiohttp import web
from msgspec import Meta

from reploc import errors, openapi, supervisor, telemetry, witness
from reploc.actions import Action
from reploc.client.transport import HttpTransport
from reploc.config import Settings
from reploc.connection import Server
from reploc.relay import Relay
from reploc.reload import Reloadable
from reploc.routes import JSON, Also, Call, NoQuery, Reply, Route, Router, get
from reploc.security import answers, credentials
from reploc.security.credentials import Credentials
from reploc.security.guard import Guard, guarding
from reploc.security.settings import (
    AuditSettings,
    AuthorizationSettings,
    CredentialSettings,
    LimitSettings,
    TlsSettings,
    TokenSettings,
)
from reploc.status import Health
from reploc.workers import Crew, Workers, working

#: Seconds that requests under way may take once a daemon was told to stop.
DRAIN_S = 5.0
#: Seconds of a stop in which bodies that are on their way may arrive; requests that have theirs are waited for then.
DRAIN_BODIES_S = 3.0
#: More processes than this would wait for each other on any machine that there is.
WORKERS_MAX = 256
#: Seconds before a duty that broke is tried again.
DUTY_RETRY_S = 1.0
#: New objects after which the collector of cycles looks at the youngest, and how many of its rounds precede one over
#: older ones. Messages and records hold no cycles, and a bulk request is thousands of objects that all live until its
#: answer: at Python's 700 the collector takes a third of a bulk write. 50,000 are a few megabytes and two milliseconds.
COLLECT_AFTER = (50_000, 20, 100)
#: Seconds after which a thread that computes, a catalog's writer or a builder of summaries, lets the event loop go on:
#: at Python's 5 ms every question that arrives meanwhile waits as long.
SWITCH_S = 0.0005


S = TypeVar("S", bound="DaemonSettings")


class DaemonSettings(Settings, frozen=True):
    """What every daemon is told."""

    listen: Annotated[str, Meta(description="HOST:PORT to listen on; port 0 takes a free one.")] = "127.0.0.1:0"
    insecure: Annotated[
        bool,
        Meta(description="Allow listening beyond loopback without TLS and rules, behind what adds them."),
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least level that is logged.")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Meta(description="Log lines for people or for programs.")] = "text"
    tls: TlsSettings = TlsSettings()
    credentials: CredentialSettings = CredentialSettings()
    tokens: TokenSettings = TokenSettings()
    authorization: AuthorizationSettings = AuthorizationSettings()
    limits: LimitSettings = LimitSettings()
    audit: AuditSettings = AuditSettings()

    @property
    def guarded(self) -> bool:
        """Whether nobody can listen in, and nobody may what no rule allows."""
        return bool(self.tls.certificate and self.authorization.rules)

    @property
    def shown(self) -> Credentials:
        """What the daemon shows to other services."""
        return Credentials(self.tls, self.credentials, now)

    @property
    def processes(self) -> int:
        """How many processes share the port."""
        return 1


class SharedDaemonSettings(DaemonSettings, frozen=True):
    """What a daemon with workers is told."""

    workers: Annotated[
        int, Meta(description="Processes that answer questions, the main one among them.", ge=1, le=WORKERS_MAX)
    ] = 1

    @property
    def processes(self) -> int:
        return self.workers


@dataclass(frozen=True)
class Duty:
    """Something done again and again: `run_once` does it and says in how many seconds it is due next."""

    name: str
    run_once: Callable[[], Awaitable[float]]


@dataclass
class Daemon:
    """What is served: routes, duties, metrics, and why it is not ready yet (empty text: it is)."""

    name: str
    routes: list[Route[Any]]
    metrics: telemetry.Metrics
    duties: list[Duty] = field(default_factory=list)
    not_ready: Callable[[], str] = str
    on_listening: Callable[[str], object] = str
    #: Ports of other protocols, served behind the guard while the daemon listens.
    ports: list[Callable[[Guard], AbstractAsyncContextManager[object]]] = field(default_factory=list)
    draining: bool = False
    #: What SIGHUP may change in the settings; files of certificates, keys and rules are read again anyhow.
    reloadable: Reloadable[Any] | None = None
    #: The guard in front of the routes, while they are served.
    guard: Guard | None = None
    #: Who answers beside this process, and, while the daemon listens, those who do.
    workers: Workers | None = None
    crew: Crew | None = None
    #: Where a worker sends what it has no route for.
    relay: Relay | None = None
    _telling: asyncio.Task[None] | None = None

    async def counted(self) -> Sequence[Sequence[telemetry.Family]]:
        """What the processes beside this one have counted."""
        return await self.crew.counted() if self.crew else ()

    def reload(self, load: Callable[[], Any]) -> None:
        """Takes over what has changed in the settings and in the files that they name, here and in the workers."""
        if self.reloadable is not None:
            self.reloadable.reload(load)
        if self.guard is not None:
            self.guard.reload()
        if self.crew and self.reloadable:  # the workers look at the files too
            self._telling = asyncio.create_task(self.crew.take(self.reloadable.settings))


def address(listen: str, *, insecure: bool, what: str = "listen") -> tuple[str, int]:
    """HOST:PORT as (host, port). Raises ConfigInvalid: malformed, or beyond loopback without being told so."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise errors.ConfigInvalid(f"{what}: {listen!r} is not HOST:PORT")
    if not insecure and not _loopback(host):
        raise errors.ConfigInvalid(
            f"{what}: {listen!r} is beyond loopback, where everyone may listen in and everything",
            hint="set tls.certificate and authorization.rules, listen on 127.0.0.1, or set insecure = true",
        )
    return host, int(port)


def is_everywhere(listen: str) -> bool:
    """Whether HOST:PORT stands for all addresses of the machine, so that nobody can be sent there."""
    try:
        return ipaddress.ip_address(listen.rpartition(":")[0].strip("[]")).is_unspecified
    except ValueError:
        return False


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(compose: Callable[[S], AbstractAsyncContextManager[Daemon]], load: Callable[[], S]) -> None:
    """Composes the daemon of the settings that `load` gives, and serves it until told to stop.

    On SIGHUP they are loaded again. Raises what keeps the daemon from starting; the port is taken first, so that one
    that cannot have it leaves everything as it was.
    """
    settings = load()
    set_up(settings)
    uvloop.run(_until_signalled(compose, settings, load))


def set_up(settings: DaemonSettings) -> None:
    """What a process is told once: how it logs, and how long a thread may compute."""
    telemetry.set_up(settings.log_level, settings.log_format)
    credentials.use(lambda: settings.shown)
    sys.setswitchinterval(SWITCH_S)


async def _until_signalled(
    compose: Callable[[S], AbstractAsyncContextManager[Daemon]], settings: S, load: Callable[[], S]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    told_early = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, told_early.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # it may have been held back since the entry point
    with _bound(settings) as ports:
        async with compose(settings) as daemon, listening(daemon, settings, ports):
            loop.add_signal_handler(signal.SIGHUP, daemon.reload, load)
            if told_early.is_set():
                daemon.reload(load)
            settle_collector()
            supervisor.tell(supervisor.READY)
            await stop.wait()
            supervisor.tell(supervisor.STOPPING)
            telemetry.event("daemon.stopping", daemon=daemon.name)


def settle_collector() -> None:
    """Take what was composed, which lives as long as the process, out of the collector's sight; see COLLECT_AFTER."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@asynccontextmanager
async def listening(
    daemon: Daemon, settings: DaemonSettings, ports: Sequence[socket.socket] = ()
) -> AsyncIterator[str]:
    """Serves a composed daemon while the context lasts, on a port taken before if there is one; the base URL.

    Of several sockets that have the port the first is this process's, and the others are its workers'.

    Raises ConfigInvalid: the port is in use, or the address is none of this machine's.
    """
    keys = HttpTransport(Credentials(settings.tls, settings.credentials, now, also_system=True))
    with guarding(settings, daemon.metrics, keys, now, time.time) as guard:
        daemon.guard = guard
        routes = daemon.routes if daemon.relay else _routes(daemon, guard)
        router = Router(routes, daemon.metrics, guard, daemon.relay)
        server = router.server()
        runner = web.ServerRunner(server, shutdown_timeout=DRAIN_S)
        await runner.setup()
        try:
            with refusals(settings.listen):
                ours, *of_workers = ports or _bound_ports(settings)
                await _Site(runner, ours, guard).start()
            url = _url(settings, runner.addresses[0][1])
            daemon.on_listening(url)
            telemetry.event("daemon.listening", daemon=daemon.name, url=url)
            async with AsyncExitStack() as stack, _performing([*daemon.duties, *_duties(guard, server)]):
                if daemon.workers:
                    relay = stack.enter_context(_private_path())
                    await web.UnixSite(runner, relay).start()
                    arrivals = guard.arrivals
                    await stack.enter_async_context(witness.listening(relay, arrivals.note))
                    crew = working(daemon.workers, settings, of_workers, relay, arrivals.refused)
                    daemon.crew = await stack.enter_async_context(crew)
                    arrivals.on_refusal = daemon.crew.refuse
                for port_of_other in daemon.ports:
                    await stack.enter_async_context(port_of_other(guard))
                yield url
                daemon.draining = True
        finally:
            for site in list(runner.sites):
                await site.stop()
            await router.bodies.drain(DRAIN_BODIES_S)
            await runner.cleanup()
            await keys.close()


class _Site(web.SockSite):
    """A listening socket, over TLS where the guard has certificates, whose handshakes are bounded in time."""

    def __init__(self, runner: web.ServerRunner, sock: socket.socket, guard: Guard) -> None:
        super().__init__(runner, sock, ssl_context=guard.tls.context if guard.tls else None)
        self._handshake_s = guard.arrivals.settings.head_s if guard.tls else None

    async def start(self) -> None:
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=self._handshake_s,
        )


def _duties(guard: Guard, server: Server) -> list[Duty]:
    """What every daemon does unasked: looks at changed files and at idle connections, and fetches keys of tokens."""
    duties = [Duty("files", guard.look), Duty("connections", server.look)]
    return [*duties, Duty("keys", guard.tokens.refresh)] if guard.tokens.remote else duties


def _url(settings: DaemonSettings, port: int) -> str:
    host, _ = address(settings.listen, insecure=settings.insecure or settings.guarded)
    scheme = "https" if settings.tls.certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def _private_path() -> Iterator[str]:
    """A path for a socket that only this user's processes can reach."""
    with tempfile.TemporaryDirectory(prefix="reploc-") as folder:
        yield str(Path(folder) / "main.socket")


@contextmanager
def _bound(settings: DaemonSettings) -> Iterator[list[socket.socket]]:
    """The sockets of a daemon and of its workers, closed in the end."""
    ports = _bound_ports(settings)
    try:
        yield ports
    finally:
        for port in ports:
            port.close()


def _bound_ports(settings: DaemonSettings) -> list[socket.socket]:
    """A socket for each process, all with the address of the settings; none listens yet."""
    host, port = address(settings.listen, insecure=settings.insecure or settings.guarded)
    with refusals(settings.listen):
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        alone = _bound_to(family, found, shared=False)
        if settings.processes == 1:
            return [alone]
        # Sockets that share a port would share it with another daemon of this user too. One that does not share it has
        # found out that there is none.
        found = alone.getsockname()
        alone.close()
        return [_bound_to(family, found, shared=True) for _ in range(settings.processes)]


def _bound_to(family: int, found: Any, *, shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(found)
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def refusals(listen: str, what: str = "listen") -> Iterator[None]:
    """What the system says against an address, as an error of the settings."""
    try:
        yield
    except OSError as wrong:
        said = wrong.strerror or str(wrong)
        raise errors.ConfigInvalid(f"{what}: cannot listen on {listen}: {said}") from wrong


@asynccontextmanager
async def _performing(duties: list[Duty]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(again_and_again(duty), name=duty.name) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def again_and_again(duty: Duty) -> None:
    """Does a duty until it is cancelled; what goes wrong is logged, and tried again after a pause."""
    while True:
        try:
            pause = await duty.run_once()
        except errors.ReplocError as wrong:
            telemetry.event("duty.failed", duty=duty.name, code=wrong.code, detail=wrong.detail)
            pause = DUTY_RETRY_S
        except Exception as wrong:
            telemetry.failure("duty.broke", wrong, duty=duty.name)
            pause = DUTY_RETRY_S
        await asyncio.sleep(max(pause, 0.0))


def _routes(daemon: Daemon, guard: Guard) -> list[Route[Any]]:
    """All routes of a daemon, those of its guard, and the one that describes them."""

    async def described(_: Call[NoQuery]) -> Reply:
        return Reply(msgspec.json.encode(openapi.document(daemon.name, routes)))

    also = Also("This document", media=JSON)
    summary = "The OpenAPI document of this service"
    routes = [*daemon.routes, *_common_routes(daemon)]
    routes.append(get("/openapi.json", described, NoQuery, summary, also, action=Action.PUBLIC))
    routes += answers.routes(guard, daemon.metrics, [route.path for route in routes], daemon.counted)
    return routes


def _common_routes(daemon: Daemon) -> list[Route[Any]]:
    """What every daemon answers: is it alive, is it ready, what does it count."""

    async def healthz(_: Call[NoQuery]) -> Health:
        return Health("draining" if daemon.draining else "ok")

    async def readyz(_: Call[NoQuery]) -> Health | Reply:
        reason = "told to stop" if daemon.draining else daemon.not_ready()
        if not reason:
            return Health("ok")
        waiting = Health("draining" if daemon.draining else "starting", reason)
        return Reply(msgspec.json.encode(waiting), status=503)

    async def metrics(_: Call[NoQuery]) -> Reply:
        body, media = daemon.metrics.exposition(await daemon.counted())
        return Reply(body, media)

    return [
        get("/healthz", healthz, NoQuery, "Whether the process is alive", action=Action.PUBLIC),
        get(
            "/readyz",
            readyz,
            NoQuery,
            "Whether the service can do its work",
            Also("It cannot yet, or no longer, and says why", 503, JSON, Health),
            action=Action.PUBLIC,
        ),
        get(
            "/metrics",
            metrics,
            NoQuery,
            "Prometheus metrics",
            Also("Counts and times", media="text/plain"),
            action=Action.MONITOR,
        ),
    ]


def now() -> float:
    """Monotonic seconds: the clock that every rule is given."""
    return time.monotonic()
