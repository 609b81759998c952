"""An open loop: requests leave when they are due, whatever became of those before, and latency runs from that moment.

A client that waits for an answer before it asks again leaves out just the requests that a slow server would have
delayed (Gil Tene, "How NOT to measure latency"). Here each request has a moment at which it is due; one that finds all
connections to its server taken waits, and its wait counts. Every latency is kept, so that percentiles are exact.

One thread in a process of its own on blocking sockets: `select` wakes within a tenth of a millisecond, where an event
loop's timers are good to one.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtests.answers import Answers, AnswerWrong, HttpAnswers
from loadtests.exchange import in_a_process

#: Connections to each server: as many requests as may be under way there before the next one waits in the client.
CONNECTIONS = 16
#: Seconds without any answer after which a run is broken off.
PATIENCE_S = 30.0
#: Seconds between the connections being made and the first moment.
_LEAD_S = 0.1
_READ_BYTES = 1 << 18


@dataclass(frozen=True)
class Due:
    """A request to the server on a port, so many seconds after the start; `expected` must be part of its answer."""

    at_s: float
    port: int
    request: bytes
    expected: bytes
    kind: str


@dataclass(frozen=True)
class Timed:
    """Latencies in milliseconds, in the order of what was due, and how late the client itself sent each."""

    took_ms: NDArray[np.float64]
    late_ms: NDArray[np.float64]
    seconds: float


def sent(dues: Sequence[Due]) -> Timed:
    """Sends everything at its moment, from a process of its own. `dues` are in order of time. Raises AnswerWrong."""
    return in_a_process(_send, tuple(dues))


def percentiles(took_ms: NDArray[np.float64]) -> str:
    """The shape of a distribution, in milliseconds."""
    points = ((50, "p50"), (90, "p90"), (99, "p99"), (99.9, "p99.9"))
    return ", ".join(f"{name} {np.percentile(took_ms, at):.2f}" for at, name in points)


class _Connection:
    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers: Answers = HttpAnswers()
        self.turn = 0

    def fileno(self) -> int:
        return self.socket.fileno()


class _Loop:
    """The state of one run."""

    def __init__(self, dues: Sequence[Due]) -> None:
        self._dues = dues
        ports = {due.port for due in dues}
        #: Taken in turn, so that each says something soon: a server closes a connection that says nothing.
        self._free = {port: deque(_Connection(port) for _ in range(CONNECTIONS)) for port in ports}
        self._waiting: dict[int, deque[int]] = {port: deque() for port in ports}
        self._busy: set[_Connection] = set()
        self._started = time.perf_counter() + _LEAD_S
        self._answered = 0
        self.took = np.zeros(len(dues))
        self.late = np.zeros(len(dues))

    def run(self) -> float:
        """Sends and receives everything; the seconds that it took."""
        dues, turn = self._dues, 0
        while self._answered < len(dues):
            while turn < len(dues) and dues[turn].at_s <= self._now():
                self.late[turn] = self._now() - dues[turn].at_s
                self._due(turn)
                turn += 1
            wait = max(0.0, dues[turn].at_s - self._now()) if turn < len(dues) else PATIENCE_S
            readable, _, _ = select.select(self._busy, (), (), wait)
            if not readable and turn == len(dues):
                raise AnswerWrong(f"{len(dues) - self._answered} answers did not come within {PATIENCE_S:.0f} s")
            self._read(readable)
        return self._now()

    def _now(self) -> float:
        return time.perf_counter() - self._started

    def _due(self, turn: int) -> None:
        port = self._dues[turn].port
        if self._free[port]:
            self._send(self._free[port].popleft(), turn)
        else:
            self._waiting[port].append(turn)

    def _send(self, connection: _Connection, turn: int) -> None:
        connection.turn = turn
        self._busy.add(connection)
        connection.socket.sendall(self._dues[turn].request)

    def _read(self, readable: Iterable[_Connection]) -> None:
        for connection in readable:
            data = connection.socket.recv(_READ_BYTES)
            if not data:
                raise AnswerWrong(f"the server on port {connection.port} closed a connection")
            answer = connection.answers.feed(data)
            if answer is not None:
                self._take(connection, answer)

    def _take(self, connection: _Connection, answer: bytes) -> None:
        due = self._dues[connection.turn]
        self.took[connection.turn] = self._now() - due.at_s
        if due.expected not in answer:
            raise AnswerWrong(f"{due.kind}: expected {due.expected!r} in {answer[:300]!r}")
        self._answered += 1
        self._busy.discard(connection)
        if waiting := self._waiting[connection.port]:
            self._send(connection, waiting.popleft())
        else:
            self._free[connection.port].append(connection)


def _send(dues: Sequence[Due]) -> Timed:
    # What is collected here is the client's own affair, and its pauses would count as the servers'.
    gc.disable()
    loop = _Loop(dues)
    seconds = loop.run()
    return Timed(loop.took * 1e3, loop.late * 1e3, seconds)
