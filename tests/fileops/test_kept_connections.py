"""Connections that a mover keeps, and that a server ends just when the next request is on its way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from reploc.storage.faults import StorageFault
from reploc.storage.web import Web
from reploc.storage.webdav import WebdavMover

BODY = (
    b'<multistatus xmlns="DAV:"><response><href>/f</href><propstat><prop><getcontentlength>7</getcontentlength>'
    b"<resourcetype/></prop></propstat></response></multistatus>"
)
ANSWER = b"HTTP/1.1 207 Multi-Status\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection so that the other end hears of it as an error."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def close(writer: asyncio.StreamWriter) -> None:
    writer.close()


class Fickle:
    """Answers the first request of each connection; at the second it ends that connection, as `ends` does."""

    def __init__(self, answers: int, ends: Callable[[asyncio.StreamWriter], None]) -> None:
        self.answers = answers
        self.ends = ends
        self.url = ""
        #: Set when as many first requests are there as are to be answered together.
        self.together = asyncio.Barrier(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self.answers):
            await reader.readuntil(b"\r\n\r\n")
            await self.together.wait()
            writer.write(ANSWER)
        await reader.read(1)
        self.ends(writer)


@asynccontextmanager
async def fickle(
    answers: int, ends: Callable[[asyncio.StreamWriter], None]
) -> AsyncIterator[tuple[Fickle, WebdavMover]]:
    made, mover = Fickle(answers, ends), WebdavMover(Web())
    server = await asyncio.start_server(made.serve, "127.0.0.1")
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/f"
    try:
        yield made, mover
    finally:
        await mover.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("ends", [reset, close])
async def test_a_question_over_a_kept_connection_that_ends_is_asked_again(
    ends: Callable[[asyncio.StreamWriter], None],
) -> None:
    async with fickle(1, ends) as (server, mover):
        for _ in range(5):
            assert (await mover.stat(server.url)).size == 7


@pytest.mark.parametrize("ends", [reset, close])
async def test_it_is_asked_over_a_new_one_though_several_were_kept(
    ends: Callable[[asyncio.StreamWriter], None],
) -> None:
    async with fickle(1, ends) as (server, mover):
        server.together = asyncio.Barrier(8)
        await asyncio.gather(*(mover.stat(server.url) for _ in range(8)))
        server.together = asyncio.Barrier(1)
        for _ in range(8):
            assert (await mover.stat(server.url)).size == 7


@pytest.mark.parametrize(
    "ask", [lambda mover, url: mover.stat(url), lambda mover, url: mover.write(url, pieces(), 3)], ids=["stat", "write"]
)
async def test_a_server_that_ends_every_connection_is_a_fault_that_may_pass(
    ask: Callable[[WebdavMover, str], Awaitable[object]],
) -> None:
    async with fickle(0, reset) as (server, mover):
        with pytest.raises(StorageFault, match="reset") as caught:
            await ask(mover, server.url)
        assert caught.value.blame == "transient"


async def pieces() -> AsyncIterator[bytes]:
    yield b"abc"


async def test_a_mover_that_was_closed_opens_nothing_any_more() -> None:
    """A copy that is tidied up behind while its runner stops may ask so late."""
    async with fickle(1, close) as (server, mover):
        await mover.close()
        with pytest.raises(StorageFault, match="closed"):
            await mover.stat(server.url)
