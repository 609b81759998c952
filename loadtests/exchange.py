"""Requests over raw sockets: prebuilt bytes on keep-alive connections, one in flight on each, in an own process.

A client library in Python costs more than the servers do. So requests are bytes that were made before the clock runs,
and of an answer only its end is looked for while the clock runs. Before, every request is asked once and its answer
checked whole. The protocol is that of the load's `answers`, so that a peer is asked by the same client as we are.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from typing import TypeVar, cast

import numpy as np
import uvloop

from loadtests.answers import Answers, AnswerWrong, HttpAnswers
from loadtests.servers import cpu_s_of

T = TypeVar("T")

JSON = "application/json"
MSGPACK = "application/msgpack"
#: Seconds beyond the time given after which a run is broken off.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Load:
    """Requests to one port, dealt to connections in turn; without `seconds` each once, else round and round.

    `greeting` is asked once on each connection, before the clock runs. `server` is the process that answers, if what it
    uses of the machine shall be known.
    """

    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float | None = None
    answers: Callable[[], Answers] = HttpAnswers
    greeting: tuple[bytes, ...] = ()
    server: int = 0


@dataclass(frozen=True)
class Answered:
    """How many answers came in how many seconds, and how long each took, in milliseconds.

    `client` is the share of a core that the client used: near 1 it may have set the pace. `server_s` are the processor
    seconds of the server and of the processes that it started.
    """

    answers: int
    seconds: float
    mean_ms: float
    p99_ms: float
    worst_ms: float
    client: float
    server_s: float = 0.0
    bodies: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def post(path: str, body: bytes, media: str = JSON) -> bytes:
    """A POST whose body is of a media type and whose answer shall be of the same."""
    head = f"POST {path} HTTP/1.1\r\nHost: loopback\r\nContent-Type: {media}\r\nAccept: {media}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str) -> bytes:
    """A GET whose answer shall be JSON."""
    return f"GET {path} HTTP/1.1\r\nHost: loopback\r\nAccept: {JSON}\r\n\r\n".encode()


def exchanged(load: Load, *, keep: bool = False) -> Answered:
    """Runs a load in a process of its own; with `keep` the bodies come back, in the order of the requests.

    Raises AnswerWrong for an answer that says that it failed, a connection that closed, or no end in time.
    """
    return in_a_process(_run, load, keep)


def in_a_process(work: Callable[..., T], *arguments: object) -> T:
    """A function's value, computed in a fresh process that shares nothing with this one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _run(load: Load, keep: bool) -> Answered:
    return uvloop.run(_exchange(load, keep))


async def _exchange(load: Load, keep: bool) -> Answered:
    lanes = [_Lane(load, number, keep) for number in range(min(load.connections, len(load.requests)))]
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S + (load.seconds or 0)):
        for lane in lanes:
            await loop.create_connection(lambda lane=lane: lane, "127.0.0.1", load.port)  # type: ignore[misc]
            await lane.greet()
        servers_before = _server_s(load)
        used, started = time.process_time(), time.perf_counter()
        until = None if load.seconds is None else started + load.seconds
        await asyncio.gather(*(lane.start(until) for lane in lanes))
    seconds, used = time.perf_counter() - started, time.process_time() - used
    servers = _server_s(load) - servers_before
    for lane in lanes:
        lane.close()
    took = np.array([one for lane in lanes for one in lane.took]) * 1e3
    bodies = {number: body for lane in lanes for number, body in lane.bodies}
    kept = tuple(bodies[number] for number in range(len(bodies)))
    mean, p99, worst = float(took.mean()), float(np.quantile(took, 0.99)), float(took.max())
    return Answered(len(took), seconds, mean, p99, worst, used / seconds, servers, kept)


def _server_s(load: Load) -> float:
    return cpu_s_of(load.server, children=True) if load.server else 0.0


class _Lane(asyncio.Protocol):
    """One connection with its share of the requests."""

    def __init__(self, load: Load, number: int, keep: bool) -> None:
        share = range(number, len(load.requests), load.connections)
        self._requests = load.requests
        self._greeting = load.greeting
        self._turns = iter(share) if load.seconds is None else cycle(share)
        self._keep = keep
        self._answers = load.answers()
        self._greeted: asyncio.Future[None] | None = None
        self._sent_at = 0.0
        self._turn = 0
        self._until: float | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.took: list[float] = []
        self.bodies: list[tuple[int, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(AnswerWrong(f"the connection closed: {exc}"))

    def close(self) -> None:
        self._transport.close()

    async def greet(self) -> None:
        """Asks what a connection begins with."""
        for request in self._greeting:
            self._greeted = asyncio.get_running_loop().create_future()
            self._transport.write(request)
            await self._greeted
        self._greeted = None

    def start(self, until: float | None) -> asyncio.Future[None]:
        self._until = until
        self._send()
        return self._done

    def _send(self) -> None:
        if self._done.done():
            return
        turn = next(self._turns, None)
        now = time.perf_counter()
        if turn is None or (self._until is not None and now >= self._until):
            self._done.set_result(None)
            return
        self._turn, self._sent_at = turn, now
        self._transport.write(self._requests[turn])

    def data_received(self, data: bytes) -> None:
        try:
            answer = self._answers.feed(data)
        except AnswerWrong as wrong:
            self._fail(wrong)
            return
        if answer is None:
            return
        if self._greeted is not None:
            self._greeted.set_result(None)
            return
        self.took.append(time.perf_counter() - self._sent_at)
        if self._keep:
            self.bodies.append((self._turn, answer))
        self._send()

    def _fail(self, wrong: AnswerWrong) -> None:
        waits = self._greeted if self._greeted is not None else self._done
        if not waits.done():
            waits.set_exception(wrong)
