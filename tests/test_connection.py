"""Requests of known heads over real sockets: answered byte for byte as the common way answers, and in order."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from reploc import service
from reploc.actions import Action
from reploc.connection import HELD_BYTES_MAX, Server
from reploc.errors import LfnUnknown, Unavailable
from reploc.routes import Call, Done, get, post
from reploc.security.arrivals import Arrivals
from reploc.security.settings import LimitSettings
from reploc.service import Daemon, DaemonSettings
from reploc.telemetry import Metrics
from reploc.wire import LfnQuery, LfnReplica, LfnsBody

JSON, MSGPACK = "application/json", "application/msgpack"
GET = "GET /v1/{path}?lfn={lfn} HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n\r\n"
POST = "POST /v1/{path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nAccept: {accept}\r\n\r\n{body}"


class Oracle:
    """Knows LFNs that begin with a slash, and holds back what it was asked for until it is told to speak."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.ways: list[str] = []
        self.holding = False
        self.held: list[Callable[[], None]] = []

    def speak(self) -> None:
        self.holding = False
        for say in self.held:
            say()
        self.held.clear()

    async def one(self, call: Call[LfnQuery]) -> LfnReplica:
        self.ways.append("common")
        return self._about(call.what.lfn)

    def begin_one(self, call: Call[LfnQuery], done: Done) -> None:
        self._begin(call.what.lfn, done)

    async def many(self, call: Call[LfnsBody]) -> LfnReplica:
        self.ways.append("common")
        return self._about(call.what.lfns[0])

    def begin_many(self, call: Call[LfnsBody], done: Done) -> None:
        self._begin(call.what.lfns[0], done)

    def _begin(self, lfn: str, done: Done) -> None:
        self.ways.append("known")
        if lfn == "/elsewhere":
            done(None)
        elif self.holding:
            self.held.append(lambda: done(self._about(lfn)))
        else:
            try:
                done(self._about(lfn))
            except (LfnUnknown, Unavailable, ZeroDivisionError) as wrong:
                done(wrong)

    @staticmethod
    def _about(lfn: str) -> LfnReplica:
        match lfn:
            case "/broken":
                raise ZeroDivisionError
            case "/late":
                raise Unavailable("not now")
        if not lfn.startswith("/"):
            raise LfnUnknown(f"{lfn!r} is not here")
        return LfnReplica(lfn, 7, None, "ä", ["a:1"])

    def daemon(self) -> Daemon:
        return Daemon(
            "oracle",
            [
                get("/v1/one", self.one, LfnQuery, "One", action=Action.PUBLIC, begin=self.begin_one),
                post("/v1/many", self.many, LfnsBody, "Many", action=Action.PUBLIC, begin=self.begin_many),
                get("/v1/common", self.one, LfnQuery, "One", action=Action.PUBLIC),
            ],
            self.metrics,
        )


class Wire:
    """One connection to the oracle, and what it says byte for byte, but for the date."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: str) -> bytes:
        await self.send(request)
        return await self.answer()

    async def send(self, request: str) -> None:
        self._writer.write(request.encode())
        await self._writer.drain()

    async def answer(self) -> bytes:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        return re.sub(rb"Date: [^\r]*", b"Date: then", head) + await self._reader.readexactly(int(length[1]))

    async def end(self) -> bytes:
        return await asyncio.wait_for(self._reader.read(), 20)


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
async def url(oracle: Oracle) -> AsyncIterator[str]:
    async with service.listening(oracle.daemon(), DaemonSettings()) as base:
        yield base


def one(lfn: str, path: str = "one", accept: str = JSON) -> str:
    return GET.format(path=path, lfn=lfn, accept=accept)


def many(lfn: str, accept: str = JSON) -> str:
    body = f'{{"lfns": ["{lfn}"]}}'
    return POST.format(path="many", length=len(body), body=body, accept=accept)


@pytest.mark.parametrize("accept", [JSON, MSGPACK])
@pytest.mark.parametrize("form", [one, many])
@pytest.mark.parametrize("lfn", ["/a", "/a%20b", "unknown", "/late", "/broken", "/elsewhere"])
async def test_both_ways_give_the_same_bytes(
    oracle: Oracle, url: str, form: Callable[..., str], lfn: str, accept: str
) -> None:
    async with wire(url) as fresh:
        common = await fresh.ask(form(lfn, accept=accept))
    async with wire(url) as learning:
        for _ in range(3):
            await learning.ask(form("/first", accept=accept))
        oracle.ways.clear()
        assert await learning.ask(form(lfn, accept=accept)) == common
    assert oracle.ways == (["known", "common"] if lfn == "/elsewhere" else ["known"])


@pytest.mark.parametrize("wrong", ["lfn=/%FF", "lfm=/a", "lfn=/a&lfn=/b", "lfn"])
async def test_what_is_wrong_is_said_by_the_common_way_and_the_connection_goes_on(
    oracle: Oracle, url: str, wrong: str
) -> None:
    async with wire(url) as fresh:
        common = await fresh.ask(one("/a").replace("lfn=/a", wrong))
    async with wire(url) as learning:
        for _ in range(3):
            await learning.ask(one("/first"))
        assert await learning.ask(one("/a").replace("lfn=/a", wrong)) == common
        assert b'"lfn":"/next"' in await learning.ask(one("/next"))


async def test_all_are_counted(oracle: Oracle, url: str) -> None:
    async with wire(url) as client:
        for lfn in ("/a", "/b", "/c", "/d", "unknown"):
            await client.ask(one(lfn))
    said = oracle.metrics.exposition()[0].decode()
    assert 'reploc_request_seconds_count{route="/v1/one",status="200"} 4.0' in said
    assert 'reploc_request_seconds_count{route="/v1/one",status="404"} 1.0' in said
    assert "known" in oracle.ways


async def test_answers_leave_in_the_order_of_the_requests_whatever_way_they_take(oracle: Oracle, url: str) -> None:
    async with wire(url) as client:
        for _ in range(3):
            await client.ask(one("/first"))
        oracle.holding = True
        await client.send(one("/slow"))
        while not oracle.held:
            await asyncio.sleep(0.001)
        for number in range(20):
            await client.send(one(f"/{number}", path="common" if number % 2 else "one"))
        await asyncio.sleep(0.01)
        oracle.speak()
        expected = ["/slow", *(f"/{number}" for number in range(20))]
        for lfn in expected:
            assert f'"lfn":"{lfn}"'.encode() in await client.answer()
        assert b'"lfn":"/last"' in await client.ask(one("/last"))


async def test_what_comes_behind_a_request_is_read_only_up_to_a_bound(oracle: Oracle, url: str) -> None:
    many_requests = HELD_BYTES_MAX // len(one("/0000")) * 3
    async with wire(url) as client:
        for _ in range(3):
            await client.ask(one("/first"))
        oracle.holding = True
        await client.send(one("/slow"))
        while not oracle.held:
            await asyncio.sleep(0.001)
        sending = asyncio.create_task(client.send("".join(one(f"/{number:04}") for number in range(many_requests))))
        await asyncio.sleep(0.01)
        oracle.speak()
        assert b'"lfn":"/slow"' in await client.answer()
        for number in range(many_requests):
            assert f'"lfn":"/{number:04}"'.encode() in await client.answer()
        await sending


async def test_other_headers_are_learnt_anew_and_mean_what_they_say(oracle: Oracle, url: str) -> None:
    async with wire(url) as client:
        for accept in (JSON, MSGPACK, JSON, MSGPACK):
            for lfn in ("/a", "/b", "/c"):
                assert f"Content-Type: {accept}".encode() in await client.ask(one(lfn, accept=accept))


async def test_a_head_is_never_learnt_from_another_request_that_came_with_it(oracle: Oracle, url: str) -> None:
    """Two requests at once, the second of another kind: what is learnt from the first is not said of the second."""
    async with wire(url) as client:
        await client.ask(one("/a"))
        await client.send(one("/b") + one("/c", accept=MSGPACK))
        assert b"json" in await client.answer()
        assert b"msgpack" in await client.answer()
        assert b"json" in await client.ask(one("/d"))
        assert b"msgpack" in await client.ask(one("/e", accept=MSGPACK))


async def test_head_requests_have_no_body(oracle: Oracle, url: str) -> None:
    async with wire(url) as client:
        for _ in range(4):
            await client.send(one("/a").replace("GET", "HEAD"))
            await client.send(one("/b").replace("Host: h", "Host: h\r\nConnection: keep-alive"))
        async with asyncio.timeout(20):
            for _ in range(4):
                head = await client._reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK")
                assert b'"lfn":"/b"' in await client.answer()


async def test_a_request_under_way_is_answered_before_the_service_stops(oracle: Oracle) -> None:
    async with wire_of(oracle) as (client, stop):
        for _ in range(3):
            await client.ask(one("/first"))
        oracle.holding = True
        await client.send(one("/slow"))
        while not oracle.held:
            await asyncio.sleep(0.001)
        stopping = asyncio.create_task(stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        oracle.speak()
        assert b'"lfn":"/slow"' in await client.answer()
        await stopping
        assert await client.end() == b""


async def test_who_goes_away_disturbs_nobody(oracle: Oracle, url: str) -> None:
    async with wire(url) as leaving:
        for _ in range(3):
            await leaving.ask(one("/first"))
        oracle.holding = True
        await leaving.send(one("/gone"))
        while not oracle.held:
            await asyncio.sleep(0.001)
    async with wire(url) as staying:
        await staying.ask(one("/a"))
        oracle.speak()
        assert b'"lfn":"/b"' in await staying.ask(one("/b"))


async def test_a_connection_that_is_made_when_all_were_ended_is_ended_too() -> None:
    """It was accepted in the turn in which the service stopped listening, and nobody would ever end it."""

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError("nothing is asked any more")

    server = Server(handler, Arrivals(LimitSettings(), Metrics(), service.now))
    await server.shutdown()
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1")
    async with listening:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        assert not server.connections


@asynccontextmanager
async def wire_of(oracle: Oracle) -> AsyncIterator[tuple[Wire, Callable[[], object]]]:
    """A connection to a service of its own, and what stops that service."""
    listening = service.listening(oracle.daemon(), DaemonSettings())
    url = await listening.__aenter__()
    async with wire(url) as client:
        yield client, lambda: listening.__aexit__(None, None, None)
