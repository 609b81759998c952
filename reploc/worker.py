"""The life of a worker: it takes its brief, answers until its input ends, and says what it has counted when asked.

See `reploc/workers.py` for the main process's side.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

import msgspec
import uvloop
from msgspec import structs

from reploc import service, telemetry, witness
from reploc.relay import Relay
from reploc.security.settings import AuditSettings
from reploc.service import Daemon, DaemonSettings
from reploc.workers import LINE_BYTES_MAX, Brief, Word

S = TypeVar("S", bound=DaemonSettings)

_brief = msgspec.json.Decoder(Brief).decode
_word = msgspec.json.Decoder(Word).decode

#: Composes what a worker serves: of the settings, and of the memory that its brief names.
Compose = Callable[[S, int], AbstractAsyncContextManager[Daemon]]


def run(compose: Compose[S], kind: type[S]) -> None:
    """Serves what `compose` makes, at the socket that the brief names, until there is no more input.

    SIGHUP is the main process's, which passes on what it has read, even where all of a service's processes get it.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as told:  # what follows the brief stays in the pipe
        brief = _brief(told.readline())
    settings = _settings(brief.settings, kind)
    service.set_up(settings)
    uvloop.run(_work(compose, settings, brief))


async def _work(compose: Compose[S], settings: S, brief: Brief) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    relay = Relay(brief.relay)
    try:
        async with compose(settings, brief.memory) as daemon, witness.telling(brief.relay) as tell:
            daemon.relay = relay
            async with service.listening(daemon, settings, [socket.socket(fileno=brief.listen)]):
                assert daemon.guard is not None
                daemon.guard.arrivals.keeper = tell
                service.settle_collector()
                heeding = asyncio.create_task(_heed(daemon, type(settings)))
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait([heeding, stopping], return_when=asyncio.FIRST_COMPLETED)
                for task in (heeding, stopping):
                    task.cancel()
                for wrong in await asyncio.gather(heeding, stopping, return_exceptions=True):
                    if isinstance(wrong, Exception):
                        telemetry.failure("worker.broke", wrong)
    finally:
        await relay.close()


async def _heed(daemon: Daemon, kind: type[Any]) -> None:
    """Does what the main process says, a line after the other, up to the last."""
    reader = asyncio.StreamReader(LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        word = _word(line)
        if word.refused:
            assert daemon.guard is not None
            daemon.guard.arrivals.refuse(word.refused)
        elif not bytes(word.settings):
            _say(msgspec.json.encode(daemon.metrics.counted()) + b"\n")
        else:
            daemon.reload(partial(_settings, word.settings, kind))


def _settings(told: msgspec.Raw, kind: type[S]) -> S:
    """A worker's settings. What changes something is the main process's, and so is the log of it."""
    return structs.replace(msgspec.json.decode(told, type=kind), audit=AuditSettings())


def _say(line: bytes) -> None:
    """Writes to the main process, which has asked and reads."""
    while line:
        line = line[os.write(sys.stdout.fileno(), line) :]
