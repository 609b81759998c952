"""Workers: processes that answer what they can beside the main one, behind the same port.

    clients ──▶ port ──┬──▶ main process ◀──┐
                       └──▶ worker ─────────┘  what only the main process can do (`reploc/relay.py`)

Each process accepts from a socket of its own, all of which have the one address, so that the kernel deals connections
out. The main process made them all and keeps them: what reaches the socket of a worker that died waits for the next.

A worker's standard input is a pipe from the main process, and its end tells the worker to finish: so none is left
behind, however the main process ends. Through it the worker is told its brief and whatever changes later, a line each;
through its standard output it says what it has counted, which `/metrics` adds up.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from reploc import telemetry
from reploc.telemetry import Family

#: Seconds that a worker may take to finish once it was told to, a little more than requests under way are given.
STOP_S = 8.0
#: Seconds before a worker that died is started again; so long between two starts of one that dies at once.
RESTART_S = 0.5
#: Seconds in which a worker must say what it has counted, to be counted now.
COUNT_S = 1.0
#: Bytes of one line: what a worker counts is some thousand samples.
LINE_BYTES_MAX = 16 << 20


class Brief(msgspec.Struct, frozen=True):
    """The first line that a worker is told.

    `listen` is the descriptor of its socket, `relay` the path of the main process's; `settings` are the daemon's, and
    `memory` is a descriptor that the service passes on, or none.
    """

    listen: int
    relay: str
    settings: msgspec.Raw
    memory: int = -1


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """A later line: new settings to take over, networks to refuse for so many seconds, or, without either, the
    question what the worker has counted."""

    settings: msgspec.Raw = msgspec.Raw()  # it is empty, and nobody can write to it
    refused: dict[str, float] = {}


_COUNT = msgspec.json.encode(Word())
_families = msgspec.json.Decoder(list[Family]).decode


@dataclass(frozen=True)
class Workers:
    """What a daemon says of its workers: the module that they run (`python -m`), and a descriptor that they inherit.

    `ended` is called after each end of one, before the next is started.
    """

    module: str
    memory: int = -1
    ended: Callable[[], object] = str


@dataclass
class _Worker:
    """One place in the crew: its socket, the process that has it now, and what it and those before it have counted.

    `owed` are answers of the process that were not waited for.
    """

    listen: socket.socket
    process: Process | None = None
    owed: int = 0
    said: list[Family] = field(default_factory=list)
    before: list[Family] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Crew:
    """The workers of a daemon that is listening. Make it with `working`."""

    def __init__(
        self,
        workers: Workers,
        settings: msgspec.Struct,
        sockets: Sequence[socket.socket],
        relay: str,
        refused: Callable[[], dict[str, float]],
    ) -> None:
        self._refused = refused
        self._refusing: set[asyncio.Task[None]] = set()
        self._workers = workers
        self._settings = settings
        self._relay = relay
        self._crew = [_Worker(listen) for listen in sockets]
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in self._crew]

    async def stop(self) -> None:
        """Tells all to finish, and waits for it."""
        self._stopping = True
        await asyncio.gather(*(_finished(worker.process) for worker in self._crew if worker.process))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._crew:
            worker.listen.close()

    async def take(self, settings: msgspec.Struct) -> None:
        """Tells all, and those that are started later, settings that changed."""
        self._settings = settings
        await self._tell_all(Word(msgspec.Raw(msgspec.json.encode(settings))))

    def refuse(self, networks: dict[str, float]) -> None:
        """Tells all to refuse networks for so many seconds. Those that are started later are told of all refusals."""
        telling = asyncio.create_task(self._tell_all(Word(refused=networks)))
        self._refusing.add(telling)
        telling.add_done_callback(self._refusing.discard)

    async def counted(self) -> list[list[Family]]:
        """What each has counted, and those before it. What one had not said when it died is lost."""
        await asyncio.gather(*(self._count(worker) for worker in self._crew))
        return [families for worker in self._crew for families in (worker.said, worker.before)]

    async def _tell_all(self, word: Word) -> None:
        line = msgspec.json.encode(word)
        await asyncio.gather(*(_told(worker.process, line) for worker in self._crew if worker.process))

    async def _keep(self, worker: _Worker) -> None:
        """Keeps one place taken."""
        while not self._stopping:
            try:
                process = await self._started(worker)
            except OSError as wrong:
                telemetry.event("worker.not-started", detail=str(wrong))
                await asyncio.sleep(RESTART_S)
                continue
            status = await process.wait()
            if self._stopping:
                return
            worker.said, worker.before = [], telemetry.summed([worker.said, worker.before])
            telemetry.event("worker.ended", pid=process.pid, status=status)
            self._workers.ended()
            await asyncio.sleep(RESTART_S)

    async def _started(self, worker: _Worker) -> Process:
        """A new process at the place, told its brief before anything else, and from then on whatever changes."""
        inherited = [worker.listen.fileno()] + ([self._workers.memory] if self._workers.memory >= 0 else [])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", self._workers.module),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=inherited,
            start_new_session=True,
            limit=LINE_BYTES_MAX,
        )
        settings = msgspec.Raw(msgspec.json.encode(self._settings))
        brief = Brief(worker.listen.fileno(), self._relay, settings, self._workers.memory)
        worker.process, worker.owed = process, 0
        telemetry.event("worker.started", pid=process.pid)
        await _told(process, msgspec.json.encode(brief))
        if refused := self._refused():
            await _told(process, msgspec.json.encode(Word(refused=refused)))
        return process

    async def _count(self, worker: _Worker) -> None:
        """Asks one what it has counted; where it does not say, what it said before stands."""
        async with worker.lock:
            process = worker.process
            if process is None or process.returncode is not None or process.stdout is None:
                return
            await _told(process, _COUNT)
            worker.owed += 1
            with suppress(TimeoutError, msgspec.MsgspecError, ValueError):
                async with asyncio.timeout(COUNT_S):
                    while worker.owed:
                        line = await process.stdout.readline()
                        if process is not worker.process or process.returncode is not None:
                            return
                        worker.owed -= 1
                        worker.said = _families(line)


@asynccontextmanager
async def working(
    workers: Workers,
    settings: msgspec.Struct,
    sockets: Sequence[socket.socket],
    relay: str,
    refused: Callable[[], dict[str, float]],
) -> AsyncIterator[Crew]:
    """Keeps a worker at each socket while the context lasts.

    `relay` is where the main process listens for them, and `refused` says which networks are refused, in seconds.
    """
    crew = Crew(workers, settings, sockets, relay, refused)
    crew.start()
    try:
        yield crew
    finally:
        await crew.stop()


async def _told(process: Process, line: bytes) -> None:
    """Writes a line to a worker; one that has died meanwhile is told when it is started again."""
    assert process.stdin is not None
    with suppress(ConnectionError):
        process.stdin.write(line + b"\n")
        await process.stdin.drain()


async def _finished(process: Process) -> None:
    """Ends a worker's input, and kills it when that does not end it in time."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
