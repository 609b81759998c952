"""Workers behind the guard: whichever process has a connection, the same rules hold, and changes have their makers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
from daemon import all_listen, process, settings_file, workers_of
from grid import until
from parties import Parties, ask

from lrc.settings import LrcSettings
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.members import IndexSettings
from reploc.security.settings import AuditSettings, LimitSettings

#: Connections of each kind: with three processes all but one in ten thousand runs needs fewer to meet each.
CONNECTIONS = 25
#: What a worker would say of an operator; from anybody else it says nothing.
FORGED = base64.b64encode(
    json.dumps({"address": "::1", "who": {"kind": "certificate", "subject": "/O=reploc/OU=people/CN=writer"}}).encode()
).decode()


def guarded(parties: Parties, path: Path, **settings: Any) -> Process:
    """A catalog of three processes."""
    listen = f"127.0.0.1:{free_port()}"
    told = LrcSettings(
        site="site-a",
        store=str(path / "store"),
        listen=listen,
        workers=3,
        index=IndexSettings(nodes=[]),
        audit=AuditSettings(file=str(path / "audit.jsonl")),
        **parties.guarded(),
        **settings,
    )
    return process("lrc", settings_file(path / "lrc.toml", told), f"https://{listen}")


async def refused(url: str) -> bool:
    """Whether so many new connections of an offender find nobody, whichever process has them."""
    return all([not await offend(url) for _ in range(CONNECTIONS)])


async def offend(url: str) -> bytes:
    """The answer to what is no request, from an address of its own."""
    host, _, port = url.partition("://")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0))
    try:
        writer.write(b"nonsense\r\n\r\n")
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def answers(url: str, parties: Parties) -> bool:
    try:
        return (await ask(url + "/v1/whoami", parties.context()))[0] == 200
    except aiohttp.ClientError:
        return False


async def test_the_same_rules_hold_in_every_process(tmp_path: Path) -> None:
    parties = Parties.meet(tmp_path / "parties")
    catalog = guarded(parties, tmp_path)
    catalog.start()
    try:
        await until(lambda: answers(catalog.url, parties), bool, "the catalog answers")
        for number in range(CONNECTIONS):
            body = {"mode": "put", "mappings": [{"lfn": f"/store/{number}", "pfn": "file:///a"}]}
            forged = {"Reploc-Introduced": FORGED}
            url = catalog.url + "/v1/mappings"
            assert (await ask(url, parties.context("writer"), method="POST", json=body))[0] == 200
            assert (await ask(url, parties.context("reader"), method="POST", json=body))[0] == 403
            assert (await ask(url, parties.context("stranger"), method="POST", json=body, headers=forged))[0] == 403
            url = f"{catalog.url}/v1/replicas?lfn=/store/{number}"
            assert (await ask(url, parties.context("reader")))[0] == 200
            assert (await ask(url, parties.context("stranger"), headers=forged))[0] == 403
    finally:
        catalog.stop()
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["who"]["subject"] for line in lines] == ["/O=reploc/OU=people/CN=writer"] * CONNECTIONS
    assert {line["peer"] for line in lines} == {"127.0.0.1"}


async def test_all_processes_together_take_no_more_requests_than_the_rate_allows(tmp_path: Path) -> None:
    """A bucket of nine requests that never fills again in our lifetime is three in each process."""
    parties = Parties.meet(tmp_path / "parties")
    catalog = guarded(parties, tmp_path, limits=LimitSettings(rate_per_identity=1e-4, burst_s=9.5e4))
    catalog.start()
    try:
        await all_listen(catalog, 3)
        url = catalog.url + "/v1/whoami"
        said = [(await ask(url, parties.context("reader")))[0] for _ in range(2 * CONNECTIONS)]
        assert (said.count(200), said.count(429)) == (9, 2 * CONNECTIONS - 9)
        assert (await ask(url, parties.context("writer")))[0] == 200
    finally:
        catalog.stop()


async def test_offences_count_whichever_process_sees_them_and_all_refuse_the_offender(tmp_path: Path) -> None:
    """A dozen is what an address may; dealt to three processes none of them would have seen enough alone."""
    listen = f"127.0.0.1:{free_port()}"
    told = LrcSettings(
        site="site-a",
        store=str(tmp_path / "store"),
        listen=listen,
        workers=3,
        index=IndexSettings(nodes=[]),
        limits=LimitSettings(offences=12, exempt=["127.0.0.1/32"], refused_log=str(tmp_path / "refused")),
    )
    catalog = process("lrc", settings_file(tmp_path / "lrc.toml", told), f"http://{listen}")
    catalog.start()
    try:
        await all_listen(catalog, 3)
        said = [await offend(catalog.url) for _ in range(12)]
        assert [answer[:12] for answer in said] == [b"HTTP/1.0 400"] * 12
        await until(lambda: refused(catalog.url), bool, "all processes refuse the offender")

        assert catalog.running is not None
        before = workers_of(catalog.running.pid)
        for worker in before:
            os.kill(worker, signal.SIGKILL)

        async def others() -> bool:
            assert catalog.running is not None
            return len(workers_of(catalog.running.pid) - before) == 2

        await until(others, bool, "other workers have taken their places")
        await all_listen(catalog, 3)
        await until(lambda: refused(catalog.url), bool, "they refuse the offender too")
        assert (await ask(f"{catalog.url}/healthz"))[0] == 200
        asked = (await ask(f"{catalog.url}/v1/requests"))[1]["in_vain"]
        times = sum(one["times"] for one in asked if one["code"] == "request-malformed")
        assert times >= 12
        lines = [json.loads(line) for line in (tmp_path / "refused").read_text().splitlines()]
        assert [(line["event"], line["peer"]) for line in lines] == [("request.malformed", "127.0.0.2")] * times
    finally:
        catalog.stop()


async def test_what_is_asked_is_counted_whichever_process_answers(tmp_path: Path) -> None:
    parties = Parties.meet(tmp_path / "parties")
    catalog = guarded(parties, tmp_path)
    catalog.start()
    try:
        await all_listen(catalog, 3)
        for number in range(CONNECTIONS):
            assert (await ask(f"{catalog.url}/v1/replicas?lfn=/a/{number}", parties.context("reader")))[0] == 403
        said = (await ask(f"{catalog.url}/v1/requests", parties.context("operator")))[1]
    finally:
        catalog.stop()
    assert {one["route"]: one["times"] for one in said["routes"]}["/v1/replicas"] == CONNECTIONS
    assert sum(one["times"] for one in said["in_vain"]) == CONNECTIONS
