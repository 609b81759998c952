"""Redis as a peer of the catalog: a server of its own whose log is synced before each answer, and its protocol.

Debian's server, in a temporary directory, on a port of the loopback, with `appendfsync always` and no snapshots.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import hiredis

from loadtests.answers import Answers, AnswerWrong
from loadtests.exchange import Load, exchanged
from loadtests.servers import PeerMissing
from reploc.demo.ports import free_port

#: Seconds that it may take to start.
START_S = 30.0


class RedisMissing(PeerMissing):
    """Redis is not installed."""


class RedisAnswers(Answers):
    """As many replies as a request has commands."""

    def __init__(self, commands: int) -> None:
        self._commands = commands
        self._reader = hiredis.Reader()
        self._replies = 0
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes | None:
        self._pieces.append(data)
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                raise AnswerWrong(str(reply))
            self._replies += 1
        if self._replies < self._commands:
            return None
        answer = b"".join(self._pieces)
        self._pieces.clear()
        self._replies = 0
        return answer


def command(*words: str) -> bytes:
    """One command; several are one request when they are joined."""
    parts = (word.encode() for word in words)
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def replies(answer: bytes) -> list[object]:
    """What an answer says."""
    reader = hiredis.Reader()
    reader.feed(answer)
    return list(iter(reader.gets, False))


@dataclass(frozen=True)
class Redis:
    """A running server."""

    port: int
    pid: int

    def load(self, requests: Sequence[bytes], connections: int, commands: int, seconds: float | None = None) -> Load:
        """Requests to it of so many commands each."""
        return Load(self.port, requests, connections, seconds, partial(RedisAnswers, commands), server=self.pid)

    def do(self, *words: str) -> None:
        """Runs one command."""
        exchanged(self.load([command(*words)], 1, 1))


@contextmanager
def running() -> Iterator[Redis]:
    """A new server while the context lasts. Raises RedisMissing."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise RedisMissing("redis-server is not installed; it is the Debian package redis-server")
    with tempfile.TemporaryDirectory(prefix="reploc-redis-") as folder:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no", "--logfile", "log"]
        process = subprocess.Popen([binary, *options], start_new_session=True)
        try:
            started = Redis(port, process.pid)
            _await(started, process)
            yield started
        finally:
            process.terminate()
            process.wait()


def _await(started: Redis, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            started.do("PING")
            return
        except (OSError, AnswerWrong):
            assert process.poll() is None and time.monotonic() < until, "redis-server did not start"
            time.sleep(0.1)
