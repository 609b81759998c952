"""A wiretap: a TCP proxy on the loopback that counts the bytes which go to the server, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Bytes read at once: a frame of soft state in a few dozen pieces.
_PIECE_BYTES = 1 << 18


class Wiretap:
    """The bytes that went to a server, headers included."""

    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self.sent_bytes = 0
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connected, "127.0.0.1", self.port):
            self._listening.set()
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            await asyncio.gather(self._pass_on(reader, server_writer, sent=True), self._pass_on(server_reader, writer))
        except OSError:
            writer.close()
        finally:
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sent: bool = False) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            if sent:
                self.sent_bytes += len(piece)
            writer.write(piece)
            await writer.drain()
        writer.close()


@contextmanager
def tapped(port: int, server_port: int) -> Iterator[Wiretap]:
    """A proxy from one port to another while the context lasts."""
    wiretap = Wiretap(port, server_port)
    thread = threading.Thread(target=wiretap._run, name="wiretap")
    thread.start()
    try:
        assert wiretap._listening.wait(10), "the proxy does not listen"
        yield wiretap
    finally:
        wiretap._loop.call_soon_threadsafe(wiretap._stop.set)
        thread.join()
