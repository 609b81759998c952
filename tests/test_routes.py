"""The frame of a daemon over real sockets: what is decoded, what is refused and how, and what every daemon answers."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import msgspec
import pytest

from reploc import service
from reploc.actions import Action
from reploc.errors import ConfigInvalid, LfnUnknown
from reploc.routes import Call, NoQuery, Stream, get, post
from reploc.service import Daemon, DaemonSettings, Duty
from reploc.telemetry import Metrics
from reploc.wire import Body, LfnReplica, Limit


class EchoQuery(Body, frozen=True):
    lfn: str
    limit: Limit = 10


class EchoBody(Body, frozen=True):
    lfns: list[str]


async def echo_query(call: Call[EchoQuery]) -> LfnReplica:
    return LfnReplica(call.what.lfn, call.what.limit, None, None, [])


async def echo_body(call: Call[EchoBody]) -> LfnReplica:
    return LfnReplica("", len(call.what.lfns), None, None, call.what.lfns[:2])


async def unknown(_: Call[NoQuery]) -> LfnReplica:
    raise LfnUnknown("'/a' is not here")


async def broken(_: Call[NoQuery]) -> LfnReplica:
    raise ZeroDivisionError


async def cut(_: Call[NoQuery]) -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"0\n"
        raise ConnectionResetError("the source of the pieces went away")

    return Stream(pieces())


async def broken_lines(_: Call[NoQuery]) -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"0\n"
        raise ZeroDivisionError

    return Stream(pieces())


async def lines(_: Call[NoQuery]) -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number

    return Stream(pieces())


def daemon() -> Daemon:
    routes = [
        get("/v1/echo", echo_query, EchoQuery, "Says what it was asked", action=Action.PUBLIC),
        post("/v1/echo", echo_body, EchoBody, "Says what it was sent", body_bytes_max=10_000, action=Action.PUBLIC),
        post("/v1/hasty", echo_body, EchoBody, "Says what it was sent at once", body_s=0.2, action=Action.PUBLIC),
        get("/v1/unknown", unknown, NoQuery, "Knows nothing", action=Action.PUBLIC),
        get("/v1/broken", broken, NoQuery, "Fails", action=Action.PUBLIC),
        get("/v1/lines", lines, NoQuery, "Streams", action=Action.PUBLIC),
        get("/v1/broken-lines", broken_lines, NoQuery, "Fails on the way", action=Action.PUBLIC),
        get("/v1/cut", cut, NoQuery, "Breaks while it streams", action=Action.PUBLIC),
    ]
    return Daemon("echo", routes, Metrics())


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with service.listening(daemon(), DaemonSettings()) as base:
        yield base


async def ask(url: str, **request: object) -> tuple[int, dict[str, object]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(str(request.pop("method", "GET")), url, **request) as r,
    ):  # type: ignore[arg-type]
        return r.status, json.loads(await r.read())


async def test_a_query_is_decoded_by_its_type(url: str) -> None:
    assert (await ask(url + "/v1/echo?lfn=/a%20b%2Bc+d&limit=7"))[1]["lfn"] == "/a b+c d"
    assert (await ask(url + "/v1/echo?lfn=%C3%A9&limit=7"))[1] == {
        "lfn": "é", "size": 7, "checksum": None, "collection": None, "pfns": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        ("/v1/echo", 400, "query-invalid", "missing required field `lfn`"),
        ("/v1/echo?lfn=a&lfm=b", 400, "query-invalid", "unknown field `lfm`"),
        ("/v1/echo?lfn=a&limit=0", 400, "query-invalid", ">= 1"),
        ("/v1/echo?lfn=a&limit=x", 400, "query-invalid", "Expected `int`"),
        ("/v1/echo?lfn=%ff", 400, "query-invalid", "'lfn' is not UTF-8"),
        ("/v1/echo?lfn=a&lfn=b", 400, "query-invalid", "'lfn' stands twice"),
        ("/v1/echo?lfn", 400, "query-invalid", "'lfn' has no value"),
        ("/v1/echo?" + "&".join(f"a{i}=b" for i in range(17)), 400, "query-invalid", "has 17 fields"),
        ("/nowhere", 404, "route-unknown", "'/nowhere' is no path"),
        ("/v1/unknown", 404, "lfn-unknown", "'/a' is not here"),
        ("/v1/broken", 500, "internal", "log says more"),
    ],
)
async def test_a_query_that_cannot_be_right_is_one_clear_problem(
    url: str, path: str, status: int, code: str, said: str
) -> None:
    found, problem = await ask(url + path)
    assert (found, problem["status"], problem["code"]) == (status, status, code)
    assert said in str(problem["detail"])


@pytest.mark.parametrize(
    ("data", "media", "status", "code", "said"),
    [
        (b"{", "application/json", 400, "body-invalid", "truncated"),
        (b"", "application/json", 400, "body-invalid", "truncated"),
        (b'{"lfns": ["\xff"]}', "application/json", 400, "body-invalid", ""),
        (b'{"lfns": ["\\ud800 and more"]}', "application/json", 400, "body-invalid", "surrogate"),
        (b'{"lfns": [1]}', "application/json", 400, "body-invalid", "`$.lfns[0]`"),
        (b'{"lfns": [], "x": 1}', "application/json", 400, "body-invalid", "unknown field `x`"),
        (b"[" * 9_000, "application/json", 400, "body-invalid", ""),
        (b"\xc1", "application/msgpack", 400, "body-invalid", ""),
        (b"\x81\xa4lfns\xdd\xff\xff\xff\xff", "application/msgpack", 400, "body-invalid", "truncated"),
        (b"a=b", "text/plain", 415, "media-unknown", "'text/plain'"),
        (b'{"lfns": ["' + b"a" * 10_000 + b'"]}', "application/json", 413, "too-large", "at most 10,000"),
    ],
)
async def test_a_body_that_cannot_be_right_is_one_clear_problem(
    url: str, data: bytes, media: str, status: int, code: str, said: str
) -> None:
    found, problem = await ask(url + "/v1/echo", method="POST", data=data, headers={"Content-Type": media})
    assert (found, problem["code"]) == (status, code)
    assert said in str(problem["detail"])


async def test_a_body_that_grows_when_it_is_decompressed_is_bounded(url: str) -> None:
    bomb = gzip.compress(b" " * 5_000_000 + b'{"lfns": []}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    status, problem = await ask(url + "/v1/echo", method="POST", data=bomb, headers=headers)
    assert (status, problem["code"]) == (413, "too-large")


async def test_a_body_cut_short_leaves_the_service_well(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
    writer.close()
    await writer.wait_closed()
    assert (await ask(url + "/healthz"))[1]["status"] == "ok"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n",
        b"GET /v1/echo?lfn=" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http_request_gets_a_problem_document_too(url: str, sent: bytes) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    heading, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    assert heading.split()[1] == b"400", heading
    assert b"application/problem+json" in heading
    assert json.loads(body)["code"] == "request-malformed"
    assert str(json.loads(body)["detail"]).startswith("this is no HTTP request: ")


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/hasty HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 20)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"body-late"' in answer


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_body_that_is_on_its_way_when_the_daemon_stops_is_answered(arrives: bool) -> None:
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(service.listening(daemon(), DaemonSettings()))
        host, port = base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 12\r\n"
        writer.write(head + b"Expect: 100-continue\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 100"), "the body is read from now on"
        await reader.readline()
        writer.write(b'{"lf')
        stopping = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0.05)
        if arrives:
            writer.write(b'ns": []}')
        answer = await asyncio.wait_for(reader.read(), 20)
        await stopping
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200" if arrives else b"HTTP/1.1 408"), answer
    assert arrives or b"and the service stops" in answer


async def test_a_request_line_beyond_its_bound_is_refused(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/echo?lfn={'a' * 17_000}") as response:
        assert response.status == 400
    assert (await ask(f"{url}/v1/echo?lfn={'%C3%A9' * 2048}"))[0] == 200


async def test_a_method_that_a_path_does_not_take_is_named(url: str) -> None:
    status, problem = await ask(url + "/v1/echo", method="DELETE")
    assert (status, problem["detail"]) == (405, "/v1/echo takes GET or HEAD or POST, not DELETE")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/echo", "GET, HEAD, POST"),
        ("POST", "/v1/lines", "GET, HEAD"),
        ("HEAD", "/v1/hasty", "POST"),
        ("DELETE", "/v1/nowhere", None),
    ],
)
async def test_a_method_that_is_not_taken_is_answered_with_those_that_are(
    url: str, method: str, path: str, allowed: str | None
) -> None:
    """RFC 9110, section 15.5.6: the answer names them."""
    async with aiohttp.ClientSession() as session, session.request(method, url + path) as response:
        assert (response.status, response.headers.get("Allow")) == (405 if allowed else 404, allowed)


@pytest.mark.parametrize("path", ["/v1/echo?lfn=/a", "/v1/unknown", "/v1/lines", "/healthz", "/openapi.json"])
async def test_whatever_can_be_read_tells_its_headers_alone(url: str, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(url + path) as whole, session.head(url + path) as head:
            assert (head.status, head.headers.get("Content-Type")) == (whole.status, whole.headers.get("Content-Type"))
            assert head.headers.get("Content-Length") == whole.headers.get("Content-Length")
            assert (await whole.read(), await head.read())[1] == b""
        async with session.head(url + path) as again:
            assert again.status == whole.status, "the connection is in order"


async def test_of_a_key_that_stands_twice_the_last_one_counts(url: str) -> None:
    sent = {"data": b'{"lfns": ["a"], "lfns": ["b", "c"]}', "headers": {"Content-Type": "application/json"}}
    status, said = await ask(url + "/v1/echo", method="POST", **sent)
    assert (status, said["pfns"]) == (200, ["b", "c"])


async def test_messagepack_goes_both_ways(url: str) -> None:
    headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    data = msgspec.msgpack.encode({"lfns": ["a", "b", "c"]})
    async with aiohttp.ClientSession() as session, session.post(url + "/v1/echo", data=data, headers=headers) as r:
        assert msgspec.msgpack.decode(await r.read(), type=LfnReplica).pfns == ["a", "b"]


async def test_a_stream_arrives_piece_by_piece(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url + "/v1/lines") as response:
        assert (await response.read(), response.content_type) == (b"0\n1\n2\n", "application/x-ndjson")


async def test_a_slow_reader_holds_up_the_stream_and_takes_no_memory() -> None:
    """An endless stream goes on only as fast as it is read: what is made ahead fits the buffers of the sockets."""
    piece, made = b"x" * (64 << 10), 0

    async def endless(_: Call[NoQuery]) -> Stream[LfnReplica]:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal made
            while True:
                made += 1
                yield piece

        return Stream(pieces())

    async with service.listening(
        Daemon("endless", [get("/v1/endless", endless, NoQuery, "Never ends", action=Action.PUBLIC)], Metrics()),
        DaemonSettings(),
    ) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 16)
        writer.write(b"GET /v1/endless HTTP/1.1\r\nHost: a\r\n\r\n")
        seen = -1
        while seen != made or not made:
            seen = made
            await asyncio.sleep(0.3)
        assert made * len(piece) < 32 << 20
        for _ in range(2 * made):
            await reader.readexactly(len(piece))
        assert made > seen
        writer.close()
        await writer.wait_closed()


async def test_a_stream_that_breaks_does_not_look_whole(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            async with session.get(url + "/v1/cut") as response:
                await response.read()


async def test_a_stream_that_fails_on_the_way_does_not_look_whole(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url + "/v1/broken-lines") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert (await ask(url + "/healthz"))[1]["status"] == "ok"


async def test_who_asks_before_sending_a_body_is_told_to_go_on(url: str) -> None:
    """Tools wait a second for it before they send a large body."""
    async with aiohttp.ClientSession() as session:
        async with session.post(url + "/v1/echo", json={"lfns": ["a"]}, expect100=True) as response:
            assert response.status == 200
        async with session.post(url + "/v1/echo", data=b"a" * 10_001, expect100=True) as response:
            assert response.status == 413


async def test_every_daemon_answers_for_its_health_and_counts(url: str) -> None:
    await ask(url + "/v1/echo?lfn=a")
    assert await ask(url + "/healthz") == (200, {"status": "ok", "reason": ""})
    assert await ask(url + "/readyz") == (200, {"status": "ok", "reason": ""})
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as response:
        assert 'reploc_request_seconds_count{route="/v1/echo",status="200"} 1.0' in await response.text()


async def test_a_daemon_that_is_not_ready_says_why() -> None:
    waiting = daemon()
    waiting.not_ready = lambda: "two slots are missing"
    async with service.listening(waiting, DaemonSettings()) as url:
        assert await ask(url + "/readyz") == (503, {"status": "starting", "reason": "two slots are missing"})


async def test_a_duty_that_fails_is_done_again() -> None:
    runs: list[int] = []
    done = asyncio.Event()

    async def run_once() -> float:
        runs.append(len(runs))
        if len(runs) == 2:
            done.set()
        if len(runs) == 1:
            raise LfnUnknown("not yet")
        return 60.0

    busy = daemon()
    busy.duties.append(Duty("test", run_once))
    async with service.listening(busy, DaemonSettings()):
        await asyncio.wait_for(done.wait(), 10)
    assert runs == [0, 1]


async def test_a_port_in_use_is_said_so(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"cannot listen on 127\.0\.0\.1"):
        async with service.listening(daemon(), DaemonSettings(listen=url.removeprefix("http://"))):
            pass


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "example.org:80"])
def test_nothing_listens_beyond_loopback_unless_told(listen: str) -> None:
    with pytest.raises(ConfigInvalid, match="beyond loopback"):
        service.address(listen, insecure=False)
    assert service.address(listen, insecure=True)


@pytest.mark.parametrize("listen", ["", "localhost", "127.0.0.1:", ":80", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigInvalid, match="is not HOST:PORT"):
        service.address(listen, insecure=True)
