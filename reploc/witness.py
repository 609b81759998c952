"""What workers see of calls in vain and of offences, told to the main process, which keeps count for all of them.

A worker writes a line for each to a socket in the directory that no other user can enter. The main process says who is
refused on the worker's standard input (`reploc/workers.py`). So an offender is refused by all processes after as many
offences as one alone would bear.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from reploc import telemetry
from reploc.security.arrivals import Seen

#: Bytes of lines that wait for the main process. A flood is known long before so many; what comes then is not told.
WAITING_BYTES_MAX = 1 << 20
#: Bytes of one line: what was asked and the words of an error.
LINE_BYTES_MAX = 1 << 20
#: The socket's name, beside the one for requests that are handed on.
NAME = "witness.socket"

_seen = msgspec.json.Decoder(Seen).decode


@asynccontextmanager
async def listening(relay: str, note: Callable[[Seen], object]) -> AsyncIterator[None]:
    """Hears what workers have seen while the context lasts; `relay` is the path of the main process's other socket."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                note(_seen(line))
        except (msgspec.MsgspecError, ValueError, ConnectionError) as wrong:
            telemetry.failure("witness.broke", wrong)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(hear, Path(relay).with_name(NAME), limit=LINE_BYTES_MAX)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def telling(relay: str) -> AsyncIterator[Callable[[Seen], None]]:
    """What tells the main process something that was seen. Raises OSError: it does not listen."""
    _, writer = await asyncio.open_unix_connection(Path(relay).with_name(NAME))

    def tell(seen: Seen) -> None:
        if not writer.is_closing() and writer.transport.get_write_buffer_size() < WAITING_BYTES_MAX:
            writer.write(msgspec.json.encode(seen) + b"\n")

    try:
        yield tell
    finally:
        writer.close()
