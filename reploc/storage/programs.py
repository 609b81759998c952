"""Command-line programs that movers run: their output bounded, their end certain, and no shell between.

A program in a process of its own can be killed when it hangs, which no library in ours can, and its crash is a fault
like another: so `xrootd` and `gfal` use the command lines that every grid site has.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reploc.storage.faults import StorageFault
from reploc.storage.mover import PIECE_BYTES

#: Bytes of what a program says that are kept: a listing of some hundred thousand names.
OUTPUT_BYTES_MAX = 64 << 20
#: Seconds that a program gets to tidy up when it is told to end.
END_S = 3.0
#: Bytes of what it says on standard error that are kept, the last ones.
SAID_BYTES_MAX = 4_096


@dataclass(frozen=True)
class Ended:
    """How a program ended: its status, its output, and what it said on standard error."""

    status: int
    output: bytes
    said: str


async def run(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    pieces: AsyncIterator[bytes] | None = None,
) -> Ended:
    """Runs a program to its end, fed with `pieces` where there are any. Cancelled, the program is ended first.

    Raises StorageFault: it is not installed.
    """
    process = await _started(command, environ, fed=pieces is not None)
    try:
        feeding = asyncio.ensure_future(_feed(process, pieces))
        assert process.stdout is not None and process.stderr is not None
        output, said, fed = await asyncio.gather(
            _bounded(process.stdout), _last(process.stderr), feeding, return_exceptions=True
        )
        status = await process.wait()
        for outcome in (fed, output, said):
            if isinstance(outcome, BaseException) and not isinstance(outcome, BrokenPipeError | ConnectionResetError):
                raise outcome
        assert isinstance(output, bytes) and isinstance(said, str)
        return Ended(status, output, said)
    finally:
        await _end(process)


async def output(command: Sequence[str], environ: Mapping[str, str] | None = None) -> AsyncGenerator[bytes, None]:
    """A program's output in pieces; StorageFault (transient) with what it said, behind the last one, where it fails."""
    process = await _started(command, environ, fed=False)
    try:
        assert process.stdout is not None and process.stderr is not None
        listening = asyncio.ensure_future(_last(process.stderr))
        while piece := await process.stdout.read(PIECE_BYTES):
            yield piece
        said = await listening
        if await process.wait():
            raise ProgramFailed(process.returncode or 0, said)
    finally:
        await _end(process)


class ProgramFailed(Exception):
    """A program whose output was read as it came did not succeed."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.ended = Ended(status, b"", said)


async def _started(
    command: Sequence[str], environ: Mapping[str, str] | None, *, fed: bool
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if fed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
    except FileNotFoundError as wrong:
        raise StorageFault("permanent", f"{command[0]} is not installed on this machine") from wrong


async def _feed(process: asyncio.subprocess.Process, pieces: AsyncIterator[bytes] | None) -> None:
    if pieces is None or process.stdin is None:
        return
    try:
        async for piece in pieces:
            process.stdin.write(piece)
            await process.stdin.drain()
    except BaseException:
        _signal(process, signal.SIGKILL)  # else it would take the end of what came for the end of the file
        raise
    finally:
        process.stdin.close()


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    data = b""
    while piece := await stream.read(PIECE_BYTES):
        data += piece
        if len(data) > OUTPUT_BYTES_MAX:
            raise StorageFault("permanent", f"a program said over {OUTPUT_BYTES_MAX:,} bytes")
    return data


async def _last(stream: asyncio.StreamReader) -> str:
    said = b""
    while piece := await stream.read(SAID_BYTES_MAX):
        said = (said + piece)[-SAID_BYTES_MAX:]
    return said.decode(errors="replace").strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends a program and all that it started."""
    if process.returncode is not None:
        return
    _signal(process, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            await process.wait()
            return
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
