"""Those who do not want an answer: slow, many, large, deep, malformed, and never tired. The service stays well."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from grid import until
from parties import Parties, ask, catalog

from reploc import digest
from reploc.security.settings import LimitSettings
from reploc.service import Daemon

#: The end of a request's head, after a line of it.
HOST = b"Host: a\r\n"


@asynccontextmanager
async def bounded(path: Path, **limits: Any) -> AsyncIterator[tuple[str, Daemon]]:
    """A catalog without rules and with these bounds, to which the loopback is an address like others."""
    async with catalog(path, limits=LimitSettings(**{"exempt": []} | limits)) as found:
        yield found


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def sent(url: str, data: bytes) -> bytes:
    """All that the service says to some bytes until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def metric(url: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


# ---- slow ------------------------------------------------------------------------------------------------------------


async def test_who_sends_a_head_byte_by_byte_is_not_waited_for(tmp_path: Path) -> None:
    async with bounded(tmp_path, head_s=0.5) as (url, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))

        async def drip() -> None:
            for byte in b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"a" * 10_000:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 20)
        dripping.cancel()
        writer.close()
        assert (await ask(url + "/healthz"))[0] == 200


async def test_who_connects_and_says_nothing_is_let_go(tmp_path: Path) -> None:
    async with bounded(tmp_path, head_s=0.3) as (url, _):
        assert await sent(url, b"") == b""


async def test_who_begins_a_handshake_and_does_not_go_on_is_let_go(parties: Parties, tmp_path: Path) -> None:
    async with catalog(tmp_path, limits=LimitSettings(head_s=0.3), **parties.guarded()) as (url, _):
        assert await sent(url, b"\x16\x03\x01\x02\x00\x01") == b""
        assert (await ask(url + "/healthz", parties.context()))[0] == 200


async def test_a_connection_between_two_requests_is_kept_only_so_long(tmp_path: Path) -> None:
    async with bounded(tmp_path, idle_s=0.5) as (url, _):
        answer = await sent(url, b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        slow_second = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /healthz HT"
        assert (await sent(url, slow_second)).count(b"HTTP/1.1 200") == 1


async def test_who_asks_for_much_and_takes_nothing_is_let_go(tmp_path: Path) -> None:
    """Answers of megabytes that wait for a reader who does not read would be memory that anyone can take."""
    async with bounded(tmp_path, idle_s=1.0) as (url, _):
        lfns = [f"/{number:05d}/" + "a" * 200 for number in range(5_000)]
        body = json.dumps({"lfns": lfns}).encode()
        head = f"POST /v1/replicas HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.socket() as taking_nothing:
            taking_nothing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            taking_nothing.setblocking(False)
            await asyncio.get_running_loop().sock_connect(taking_nothing, ("127.0.0.1", port_of(url)))
            with suppress(ConnectionError):
                for _ in range(10):
                    await asyncio.get_running_loop().sock_sendall(taking_nothing, head + body)
            await until(lambda: metric(url, "reploc_connections "), lambda now: now == 1, "it is let go")


# ---- many ------------------------------------------------------------------------------------------------------------


async def test_an_address_has_only_so_many_connections(tmp_path: Path) -> None:
    async with bounded(tmp_path, connections_per_address=5) as (url, _):
        opened = [await asyncio.open_connection("127.0.0.1", port_of(url)) for _ in range(8)]
        for reader, _ in opened[5:]:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 20)
        for _, writer in opened:
            writer.close()

        async def turned_away() -> float:
            try:
                return await metric(url, 'reploc_connections_refused_total{reason="connections-of-address"}')
            except aiohttp.ClientError:
                return 0.0

        await until(turned_away, lambda count: count >= 3, "there is room again, and those without were counted")


async def test_requests_of_an_address_and_of_an_identity_are_bounded(parties: Parties, tmp_path: Path) -> None:
    limits = LimitSettings(exempt=[], rate_per_identity=0.001, burst_s=5_000.0)
    async with catalog(tmp_path, limits=limits, **parties.guarded()) as (url, _):
        for _ in range(5):
            assert (await ask(url + "/v1/whoami", parties.context("reader")))[0] == 200
        status, said = await ask(url + "/v1/whoami", parties.context("reader"))
        assert (status, said["code"], said["retryable"]) == (429, "too-many-requests", True)
        assert (await ask(url + "/v1/whoami", parties.context("writer")))[0] == 200
    async with bounded(tmp_path, rate_per_address=0.001, burst_s=3_000.0) as (url, _):
        said = [(await ask(url + "/healthz"))[0] for _ in range(4)]
        assert said == [200, 200, 200, 429]


async def test_who_is_told_to_wait_is_told_how_long(tmp_path: Path) -> None:
    async with (
        bounded(tmp_path, rate_per_address=0.001, burst_s=1_000.0) as (url, _),
        aiohttp.ClientSession() as session,
    ):
        begun = asyncio.get_running_loop().time()
        async with session.get(url + "/healthz") as answer:
            assert answer.status == 200
        async with session.get(url + "/healthz") as answer:
            passed = asyncio.get_running_loop().time() - begun
            assert answer.status == 429
            assert 1_000 - passed <= int(answer.headers["Retry-After"]) <= 1_000


async def test_who_waits_as_long_as_told_is_taken_again(tmp_path: Path) -> None:
    async with bounded(tmp_path, rate_per_address=0.5, burst_s=2.0) as (url, _), aiohttp.ClientSession() as session:
        waits = 0
        while waits < 2:
            async with session.get(url + "/healthz") as answer:
                told = answer.headers.get("Retry-After")
            if told:
                waits += 1
                await asyncio.sleep(int(told))
                async with session.get(url + "/healthz") as answer:
                    assert answer.status == 200


async def test_who_offends_again_and_again_is_not_listened_to_for_a_while(tmp_path: Path) -> None:
    async with bounded(tmp_path, offences=5, refused_s=1.0) as (url, _):
        for _ in range(5):
            assert (await ask(url + "/nowhere"))[0] == 404
        with pytest.raises(aiohttp.ClientError):
            await ask(url + "/healthz")

        async def answered() -> bool:
            try:
                return (await ask(url + "/healthz"))[0] == 200
            except aiohttp.ClientError:
                return False

        await until(answered, bool, "it is listened to again")
        assert await metric(url, "reploc_connections_refused_total") >= 1


async def test_calls_in_vain_are_told_apart_and_counted_by_what_they_asked(tmp_path: Path) -> None:
    log = tmp_path / "refused.jsonl"
    async with catalog(tmp_path, limits=LimitSettings(refused_log=str(log))) as (url, _):
        for path in ("/v2/replicas", "/v2/replicas", "/v1/replicas?lfm=/a", "/healthz"):
            await ask(url + path)
        await sent(url, b"hello\r\n\r\n")
        await ask(url + "/v1/dump", method="POST")
        _, said = await ask(url + "/v1/requests")
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["event"] for one in told].count("request.unknown") == 3
    assert {one["event"] for one in told} == {"request.unknown", "request.refused", "request.malformed"}
    assert said["in_vain"][0] == {"code": "route-unknown", "what": "GET /v2/replicas", "times": 2}
    counts = {one["route"]: one["times"] for one in said["routes"]}
    assert (counts["/healthz"], counts["/v1/replicas"], counts["/v1/exists"]) == (1, 1, 0)


# ---- large, deep, and meant to be read in two ways -------------------------------------------------------------------

SMUGGLED = {
    "two lengths": b"POST /v1/exists HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 60\r\n\r\n",
    "length and chunks": b"POST /v1/exists HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n",
    "length that is none": b"POST /v1/exists HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
    "length beyond numbers": b"POST /v1/exists HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",
    "chunks not last": b"POST /v1/exists HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
    "length with a blank": b"POST /v1/exists HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
    "folded header": b"POST /v1/exists HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: 5\r\n\r\n",
    "line feeds alone": b"POST /v1/exists HTTP/1.1\nHost: a\nContent-Length: 5\n\n",
}


@pytest.mark.parametrize("what", SMUGGLED)
async def test_a_request_that_two_could_read_differently_is_refused_and_the_connection_ends(
    tmp_path: Path, what: str
) -> None:
    """What stands behind it is never answered as a request of its own (RFC 9112, section 11.2)."""
    hidden = b"0\r\n\r\nGET /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n"
    async with bounded(tmp_path, idle_s=0.5) as (url, _):
        answer = await sent(url, SMUGGLED[what] + hidden)
        assert b'"guarded"' not in answer
        assert answer.count(b"HTTP/1.") == 1
        assert answer.split()[1] == b"400"
        assert (await ask(url + "/healthz"))[0] == 200


async def test_heads_and_lines_are_bounded(tmp_path: Path) -> None:
    async with bounded(tmp_path) as (url, _):
        many = b"".join(b"X-%d: a\r\n" % number for number in range(1_000))
        for head in (b"X: " + b"a" * 20_000 + b"\r\n", many):
            answer = await sent(url, b"GET /healthz HTTP/1.1\r\n" + HOST + head + b"\r\n")
            assert answer.split()[1] == b"400"


def bomb(size: int) -> bytes:
    """Blanks that are a thousandth of their size on the way."""
    return gzip.compress(b" " * size)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_unfolds_a_thousandfold_is_left_where_it_is(tmp_path: Path, encoding: str) -> None:
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    blank = b" " * (1 << 20)
    data = b"".join(packer.compress(blank) for _ in range(128)) + packer.flush()
    async with bounded(tmp_path) as (url, _):
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        status, said = await ask(url + "/v1/exists", method="POST", data=data, headers=headers)
        assert (status, said["code"]) == (413, "too-large")
        twice = {"Content-Encoding": "gzip, gzip", "Content-Type": "application/json"}
        status, _ = await ask(url + "/v1/exists", method="POST", data=gzip.compress(bomb(1 << 20)), headers=twice)
        assert status == 400


DEEP = {
    "lists": b"[" * 100_000,
    "objects": b'{"lfns":' * 50_000,
    "strings": b'{"lfns": ["' + b"\\u0000" * 100_000,
    "number": b'{"lfns": [], "deadline_s": ' + b"9" * 100_000 + b"}",
    "exponent": b'{"lfns": [], "deadline_s": 1e999999999}',
    "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(80_000)) + b"}",
    "items": json.dumps({"lfns": ["/a"] * 10_001}).encode(),
}


@pytest.mark.parametrize("what", DEEP)
async def test_bodies_that_are_deep_or_huge_are_refused_quickly(tmp_path: Path, what: str) -> None:
    async with bounded(tmp_path) as (url, _):
        for media in ("application/json", "application/msgpack"):
            headers = {"Content-Type": media}
            status, _ = await ask(url + "/v1/exists", method="POST", data=DEEP[what], headers=headers)
            assert status in (400, 413)
        assert (await ask(url + "/healthz"))[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 100_000,
        b"\x81\xa4lfns\xdd\x7f\xff\xff\xff",
        b"\x81\xa4lfns\xdb\xff\xff\xff\xff" + b"a" * 100,
        b"\x81\xa4lfns\xc9\xff\xff\xff\xff\x01",
        b"\x81\xa4lfns" + b"\xcf" + struct.pack(">Q", 1 << 63),
    ],
)
async def test_messagepack_that_promises_what_it_has_not_is_refused(tmp_path: Path, data: bytes) -> None:
    async with bounded(tmp_path) as (url, _):
        headers = {"Content-Type": "application/msgpack"}
        assert (await ask(url + "/v1/exists", method="POST", data=data, headers=headers))[0] == 400


async def test_names_that_collide_in_a_hash_table_cost_no_more_than_others(tmp_path: Path) -> None:
    """Python's hash of texts has a secret of its own in each process, and the catalog's order is that of whole digests:
    names chosen to share a digest's first bits are as quick as any (`reploc/digest.py`)."""
    made = [f"/{number}" for number in range(200_000)]
    slots = digest.slots_of(digest.of(made), 256)
    colliding = [name for name, slot in zip(made, slots.tolist(), strict=True) if slot == 7]
    async with bounded(tmp_path) as (url, _):
        mappings = [{"lfn": lfn, "pfn": "file:///x"} for lfn in colliding]
        status, said = await ask(url + "/v1/mappings", method="POST", json={"mode": "put", "mappings": mappings})
        assert (status, said["done"]) == (200, len(colliding))
        status, said = await ask(url + "/v1/exists", method="POST", json={"lfns": colliding})
        assert len(said["known"]) == len(colliding)
