"""Those who do not want an answer: slow, many, large, deep, malformed, and never tired. The service stays well."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
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


# ---- chosen to collide ----------------------------------------------------------------------------------------------


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
