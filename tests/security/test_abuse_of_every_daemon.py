"""Every daemon attacked: by slow, many, huge, deep, unfolding and ambiguous requests; then it answers as before.

What attackers try who know one service is in `test_abuse.py`; here is what no service may be without, a later one too.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from every_daemon import DAEMONS, served
from grid import until
from parties import Parties, ask

from reploc.security.settings import AuditSettings, LimitSettings

#: A route of each daemon that takes a body, and one that changes something, with a change; an index node has none.
TAKES_BODY = {"lrc": "/v1/exists", "rli": "/v1/exists", "placement": "/v1/inject", "fileops": "/v1/operations/cancel"}
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "lrc": ("/v1/softstate/push", {}),
    "placement": ("/v1/inject", {}),
    "fileops": ("/v1/drain", {}),
}
HOST = b"Host: a\r\n"

pytestmark = pytest.mark.parametrize("package", DAEMONS)


@asynccontextmanager
async def bounded(package: str, path: Path, **limits: Any) -> AsyncIterator[str]:
    """A daemon with these bounds, to which the loopback is an address like others."""
    async with served(package, path, limits=LimitSettings(**{"exempt": []} | limits)) as url:
        yield url


async def opened(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


async def sent(url: str, data: bytes) -> bytes:
    """All that the service says to some bytes until it ends the connection."""
    reader, writer = await opened(url)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def healthy(url: str) -> bool:
    try:
        return (await ask(url + "/healthz"))[0] == 200
    except aiohttp.ClientError:
        return False


# ---- slow ------------------------------------------------------------------------------------------------------------


async def test_who_sends_a_head_byte_by_byte_or_none_at_all_is_not_waited_for(package: str, tmp_path: Path) -> None:
    async with bounded(package, tmp_path, head_s=0.5) as url:
        reader, writer = await opened(url)

        async def drip() -> None:
            for byte in b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"a" * 10_000:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 20)
        dripping.cancel()
        writer.close()
        assert await sent(url, b"") == b""
        await until(lambda: healthy(url), bool, "others are served")


async def test_who_begins_a_handshake_and_does_not_go_on_is_let_go(
    package: str, parties: Parties, tmp_path: Path
) -> None:
    async with served(package, tmp_path, limits=LimitSettings(head_s=2.0), **parties.guarded()) as url:
        assert await sent(url, b"\x16\x03\x01\x02\x00\x01") == b""
        assert (await ask(url + "/healthz", parties.context()))[0] == 200


# ---- many ------------------------------------------------------------------------------------------------------------


async def test_an_address_has_only_so_many_connections(package: str, tmp_path: Path) -> None:
    async with bounded(package, tmp_path, connections_per_address=5) as url:
        connections = [await opened(url) for _ in range(8)]
        for reader, _ in connections[5:]:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 20)
        for _, writer in connections:
            writer.close()
        await until(lambda: healthy(url), bool, "there is room again")


async def test_who_asks_more_than_the_rate_allows_is_told_to_wait(package: str, tmp_path: Path) -> None:
    async with bounded(package, tmp_path, rate_per_address=0.001, burst_s=3_000.0) as url:
        assert [(await ask(url + "/healthz"))[0] for _ in range(4)] == [200, 200, 200, 429]


async def test_who_offends_again_and_again_is_not_listened_to_for_a_while(package: str, tmp_path: Path) -> None:
    async with bounded(package, tmp_path, offences=5, refused_s=3.0, offence_s=600.0) as url:
        for _ in range(5):
            assert (await ask(url + "/nowhere"))[0] == 404
        with pytest.raises(aiohttp.ClientError):
            await ask(url + "/healthz")
        await until(lambda: healthy(url), bool, "it is listened to again")


# ---- large, deep, and meant to be read in two ways -------------------------------------------------------------------

#: Heads of requests of which two could disagree where they end.
SMUGGLED = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 60\r\n\r\n",
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length that is none": b"Content-Length: +5\r\n\r\n",
    "length beyond numbers": b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
    "chunks not last": b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "length with a blank": b"Content-Length : 5\r\n\r\n",
    "folded header": b"X: a\r\n Content-Length: 5\r\n\r\n",
    "line feeds alone": b"Content-Length: 5\n\n",
}


async def test_a_request_that_two_could_read_differently_is_refused_and_the_connection_ends(
    package: str, tmp_path: Path
) -> None:
    """What stands behind it is never answered as a request of its own (RFC 9112, section 11.2)."""
    hidden = b"0\r\n\r\nGET /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n"
    async with bounded(package, tmp_path, idle_s=0.5) as url:
        for what, headers in SMUGGLED.items():
            head = f"POST {TAKES_BODY[package]} HTTP/1.1\r\nHost: a\r\n".encode() + headers
            head = head.replace(b"\r\n", b"\n") if what == "line feeds alone" else head
            answer = await sent(url, head + hidden)
            assert b'"guarded"' not in answer, what
            assert (answer.count(b"HTTP/1."), answer.split()[1]) == (1, b"400"), what
        await until(lambda: healthy(url), bool, "others are served")


async def test_heads_and_lines_are_bounded(package: str, tmp_path: Path) -> None:
    async with bounded(package, tmp_path) as url:
        many = b"".join(b"X-%d: a\r\n" % number for number in range(1_000))
        for head in (b"X: " + b"a" * 20_000 + b"\r\n", many):
            answer = await sent(url, b"GET /healthz HTTP/1.1\r\n" + HOST + head + b"\r\n")
            assert answer.split()[1] == b"400"


async def test_a_body_that_unfolds_a_thousandfold_is_left_where_it_is(package: str, tmp_path: Path) -> None:
    blank = b" " * (1 << 20)
    async with bounded(package, tmp_path) as url:
        path = url + TAKES_BODY[package]
        for encoding, bits in (("gzip", 31), ("deflate", 15)):
            packer = zlib.compressobj(9, wbits=bits)
            data = b"".join(packer.compress(blank) for _ in range(128)) + packer.flush()
            headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
            status, said = await ask(path, method="POST", data=data, headers=headers)
            assert (status, said["code"]) == (413, "too-large")
        twice = {"Content-Encoding": "gzip, gzip", "Content-Type": "application/json"}
        status, _ = await ask(path, method="POST", data=gzip.compress(gzip.compress(blank)), headers=twice)
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
#: MessagePack that promises what it has not.
PROMISED = (
    b"\x91" * 100_000,
    b"\x81\xa4lfns\xdd\x7f\xff\xff\xff",
    b"\x81\xa4lfns\xdb\xff\xff\xff\xff" + b"a" * 100,
    b"\x81\xa4lfns\xc9\xff\xff\xff\xff\x01",
    b"\x81\xa4lfns" + b"\xcf" + struct.pack(">Q", 1 << 63),
)


async def test_bodies_that_are_deep_or_huge_or_promise_what_they_have_not_are_refused(
    package: str, tmp_path: Path
) -> None:
    bodies = [(body, media) for body in DEEP.values() for media in ("application/json", "application/msgpack")]
    bodies += [(body, "application/msgpack") for body in PROMISED]
    async with bounded(package, tmp_path) as url:
        for body, media in bodies:
            headers = {"Content-Type": media}
            status, _ = await ask(url + TAKES_BODY[package], method="POST", data=body, headers=headers)
            assert status in (400, 413), body[:40]
        await until(lambda: healthy(url), bool, "others are served")


# ---- what is written down --------------------------------------------------------------------------------------------


async def test_changes_have_a_line_each_in_the_audit_log(package: str, parties: Parties, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    operator = parties.context("operator")
    async with served(package, tmp_path, audit=AuditSettings(file=str(file)), **parties.guarded()) as url:
        assert (await ask(url + "/v1/whoami", operator))[0] == 200
        for route, body in [CHANGES[package]] * 2 if package in CHANGES else []:
            assert (await ask(url + route, operator, method="POST", json=body))[0] == 200
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    assert [line["route"] for line in lines] == [CHANGES[package][0]] * 2 if package in CHANGES else not lines
    assert all(line["who"]["subject"].endswith("/CN=operator") and "outcome" in line for line in lines)
