"""Sources that misbehave, pulled from by a real XRootD server, and a storage server that is killed in mid-transfer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import xrootd
from aiohttp import web
from carried import Storage, World, adler32, world
from grid import until
from xrootd import XrootdServer

from fileops.carrying import TransferSettings
from fileops.messages import OperationItem, OperationSaid
from reploc.sites import Door

DATA = bytes(range(256)) * 4_096


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    with xrootd.running() as (one,):
        yield one


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """What the path asks for: a status, a body that ends too soon, comes slowly, stands still, or is another one."""
    what = request.path.rpartition("/")[2]
    if what.isdecimal():
        raise (
            web.HTTPException(text="no")
            if int(what) < 400
            else web.HTTPNotFound()
            if what == "404"
            else web.HTTPForbidden()
        )
    if request.method == "HEAD":
        return web.Response(headers={"Content-Length": str(len(DATA))})
    if request.method == "PROPFIND":
        return web.Response(status=207, text=PROPERTIES.format(path=request.path, size=len(DATA)))
    response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
    await response.prepare(request)
    data = DATA[::-1] if what == "wrong" else DATA
    await response.write(data[: len(data) // 2])
    if what == "truncated":
        assert request.transport is not None
        request.transport.abort()
        return response
    if what == "stalled":
        await asyncio.sleep(600)
    if what == "slow":
        await asyncio.sleep(1)
    await response.write(data[len(data) // 2 :])
    return response


PROPERTIES = (
    '<multistatus xmlns="DAV:"><response><href>{path}</href><propstat><prop><getcontentlength>{size}'
    "</getcontentlength><resourcetype/></prop></propstat></response></multistatus>"
)


@asynccontextmanager
async def sources() -> AsyncIterator[str]:
    """The address of the server that misbehaves."""
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def pulled(tmp_path: Path, server: XrootdServer) -> AsyncIterator[World]:
    """Site b is the XRootD server, site a the one that misbehaves."""
    async with sources() as url:
        bad = Storage("a", tmp_path, [Door(protocol="webdav", url=url)])
        good = Storage("b", tmp_path, [Door(protocol="webdav", url=f"{server.http}/{tmp_path.name}")])
        good.root = server.data / tmp_path.name
        async with world(tmp_path, bad, good) as grid:
            await grid.start(transfers=TransferSettings(stall_s=2.0, sweep_s=0.2))
            yield grid


async def outcome(grid: World, what: str) -> OperationSaid:
    item = OperationItem("copy", "b", f"/{what}", ("a",), size=len(DATA), checksum=adler32(DATA))
    (number,) = await grid.submit(item)
    (said,) = await grid.ended([number], "done", "held")
    return said


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("404", "status code 404"),
        ("403", "status code 403"),
        ("wrong", "it has adler32:"),
        ("truncated", "failed 4 times"),
        ("stalled", "nothing arrived for 2 s"),
    ],
)
async def test_a_source_that_misbehaves_leaves_nothing_behind(
    tmp_path: Path, server: XrootdServer, what: str, reason: str
) -> None:
    async with pulled(tmp_path, server) as grid:
        said = await outcome(grid, what)
        assert said.state == "held"
        assert reason in said.reason
        assert await grid.sites["b"].find(f"/{what}") is None
        await grid.sites["b"].swept()  # a server that we left in the middle may be at it a moment longer
        assert not grid.sites["b"].path(f"/{what}").exists()


async def test_a_source_that_is_slow_is_waited_for(tmp_path: Path, server: XrootdServer) -> None:
    async with pulled(tmp_path, server) as grid:
        assert (await outcome(grid, "slow")).state == "done"
        assert grid.sites["b"].path("/slow").read_bytes() == DATA


async def test_a_storage_server_killed_in_mid_transfer_delays_and_loses_nothing(tmp_path: Path) -> None:
    with xrootd.running() as (server,):
        async with pulled(tmp_path, server) as grid:
            (number,) = await grid.submit(
                OperationItem("copy", "b", "/stalled", ("a",), size=len(DATA), checksum=adler32(DATA))
            )
            root = grid.sites["b"].root

            async def arriving() -> list[Path]:
                return list(root.rglob(".reploc-*"))

            await until(arriving, bool, "the copy has begun")
            server.signal(signal.SIGKILL)
            said = await until(
                lambda: grid.operation(number), lambda said: said.operation.state != "active", "the copy has failed"
            )
            assert said.operation.state in ("waiting", "held", "queued")
            server.stop()
            server.start()
            (good,) = await grid.submit(
                OperationItem("copy", "b", "/slow", ("a",), size=len(DATA), checksum=adler32(DATA))
            )
            await grid.ended([good])
            await grid.ended([number], "held")
            assert await grid.sites["b"].find("/stalled") is None
            assert await arriving() == []
