"""PostgreSQL as a peer of the catalog: a cluster of its own with default durability, and its protocol as bytes.

Debian's server, by `initdb` in a temporary directory, on a port of the loopback, as a user without rights where this
runs as root (PostgreSQL refuses root). fsync and synchronous_commit are as by default: on. Requests are messages of the
protocol, version 3, with prepared statements, so that the client is the one that asks us (`exchange.py`).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import pack, unpack_from

from loadtests.answers import Answers, AnswerWrong
from loadtests.exchange import Load, exchanged
from loadtests.servers import PeerMissing
from reploc.demo.ports import free_port

INSTALLED = "/usr/lib/postgresql"
#: Memory for its own cache, as its handbook advises: the default is for the smallest machines.
SHARED_BUFFERS = "1GB"
#: Seconds that it may take to start.
START_S = 30.0
_PROTOCOL = 3 << 16
_TEXT_OID = 25
_BINARY = 1
_READY = b"Z\x00\x00\x00\x05I"


class PostgresMissing(PeerMissing):
    """PostgreSQL's server is not installed."""


class PostgresAnswers(Answers):
    """Whatever comes until the server is ready for the next query."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._tail = b""

    def feed(self, data: bytes) -> bytes | None:
        self._pieces.append(data)
        self._tail = (self._tail + data)[-len(_READY) :]
        if self._tail != _READY:
            if b"SFATAL\0" in data:
                raise AnswerWrong(repr(data[:300]))
            return None
        answer, self._tail = b"".join(self._pieces), b""
        self._pieces.clear()
        if b"SERROR\0" in answer:
            raise AnswerWrong(repr(answer[:300]))
        return answer


def query(text: str) -> bytes:
    """A query by itself."""
    return _message(b"Q", _text(text))


def prepare(name: str, text: str) -> bytes:
    """Prepares a statement for the connection."""
    return _message(b"P", _text(name) + _text(text) + pack("!h", 0)) + _message(b"S", b"")


def execute(name: str, *parameters: bytes, binary: bool = False) -> bytes:
    """Executes a prepared statement; its parameters are text, or binary."""
    bound = b"".join(pack("!i", len(one)) + one for one in parameters)
    head = _text("") + _text(name) + pack("!hh", 1, _BINARY if binary else 0)
    bind = _message(b"B", head + pack("!h", len(parameters)) + bound + pack("!h", 0))
    return bind + _message(b"E", _text("") + pack("!i", 0)) + _message(b"S", b"")


def texts(names: Sequence[str]) -> bytes:
    """An array of texts as a binary parameter."""
    parts = [name.encode() for name in names]
    head = pack("!iiiii", 1, 0, _TEXT_OID, len(parts), 1)
    return head + b"".join(pack("!i", len(part)) + part for part in parts)


def copy_in(table: str, lines: Iterable[str]) -> bytes:
    """Copies tab-separated lines into a table: the fastest way in that it has."""
    data = "".join(f"{line}\n" for line in lines).encode()
    return query(f"COPY {table} FROM STDIN") + _message(b"d", data) + _message(b"c", b"")


def rows(answer: bytes) -> list[list[bytes]]:
    """The rows in an answer."""
    found, at = [], 0
    while at < len(answer):
        kind, length = unpack_from("!ci", answer, at)
        if kind == b"D":
            found.append(_columns(answer, at + 5))
        at += 1 + length
    return found


def _columns(answer: bytes, at: int) -> list[bytes]:
    (count,) = unpack_from("!h", answer, at)
    at += 2
    columns = []
    for _ in range(count):
        (length,) = unpack_from("!i", answer, at)
        columns.append(answer[at + 4 : at + 4 + length])
        at += 4 + length
    return columns


@dataclass(frozen=True)
class Postgres:
    """A running cluster."""

    port: int
    pid: int
    user: str

    @property
    def hello(self) -> bytes:
        """What a connection begins with."""
        body = pack("!i", _PROTOCOL) + _text("user") + _text(self.user) + _text("database") + _text("postgres") + b"\0"
        return pack("!i", len(body) + 4) + body

    def load(self, requests: Sequence[bytes], connections: int, *prepared: bytes, seconds: float | None = None) -> Load:
        """Requests to it, on connections that have prepared these statements."""
        return Load(self.port, requests, connections, seconds, PostgresAnswers, (self.hello, *prepared), self.pid)

    def do(self, *texts_of_queries: str) -> None:
        """Runs queries one after the other."""
        exchanged(self.load([query(text) for text in texts_of_queries], 1))


@contextmanager
def running(*, durable: bool = True) -> Iterator[Postgres]:
    """A new cluster while the context lasts; one that is not durable waits for no disk. Raises PostgresMissing."""
    binaries = installed()
    if binaries is None:
        raise PostgresMissing("PostgreSQL's server is not installed; it is the Debian package postgresql")
    user = _user()
    with tempfile.TemporaryDirectory(prefix="reploc-postgres-") as folder:
        if user:
            shutil.chown(folder, user)
        data, port = Path(folder) / "data", free_port()
        made = [str(binaries / "initdb"), "--pgdata", str(data), "--username", "postgres", "--auth", "trust"]
        subprocess.run([*made, "--no-locale", "--encoding", "UTF8"], user=user, check=True, stdout=subprocess.DEVNULL)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": folder,
            "shared_buffers": SHARED_BUFFERS,
            "fsync": "on" if durable else "off",
        }
        command = [str(binaries / "postgres"), "-D", str(data)]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, user=user, stdout=log, stderr=log, start_new_session=True)
        try:
            started = Postgres(port, process.pid, "postgres")
            _await(started, process, Path(folder) / "log")
            yield started
        finally:
            # The fast way to stop: connections are closed, nothing is waited for.
            process.send_signal(signal.SIGINT)
            process.wait()


def _await(started: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            started.do("SELECT 1")
            return
        except (OSError, AnswerWrong):
            assert process.poll() is None and time.monotonic() < until, log.read_text(errors="replace")[-1000:]
            time.sleep(0.1)


def installed() -> Path | None:
    """The directory of the newest server that is installed: Debian's is not on the path."""
    found = sorted(Path(INSTALLED).glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _user() -> str | None:
    """Whom to run it as: somebody without rights where this is root, else oneself."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + pack("!i", len(body) + 4) + body


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
