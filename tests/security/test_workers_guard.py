"""A guarded catalog with workers: who asks is the same to every process, and nobody can say it for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parties import Parties, ask, catalog

from loadtests.servers import listeners
from reploc.introduction import HEADER, Introduction, introduction
from reploc.security.identity import NOBODY, Identity

#: Connections until each of three processes has had some.
CONNECTIONS = 30
#: Seconds that workers may take to listen.
PATIENCE_S = 60.0


def stored(lfn: str) -> dict[str, object]:
    return {"mode": "put", "mappings": [{"lfn": lfn, "pfn": "file:///a"}]}


@pytest.fixture
async def url(parties: Parties, tmp_path: Path) -> AsyncIterator[str]:
    async with catalog(tmp_path, workers=3, **parties.guarded()) as (found, _):
        async with asyncio.timeout(PATIENCE_S):
            while listeners(int(found.rpartition(":")[2])) < 3:
                await asyncio.sleep(0.05)
        yield found


async def test_every_process_knows_who_asks_and_lets_them_do_what_rules_allow(url: str, parties: Parties) -> None:
    writer, reader, nobody = parties.context("writer"), parties.context("reader"), parties.context()
    for number in range(CONNECTIONS):
        lfn = f"/store/{number}"
        assert (await ask(url + "/v1/mappings", writer, method="POST", json=stored(lfn)))[0] == 200
        assert (await ask(f"{url}/v1/replicas?lfn={lfn}", reader))[0] == 200
        assert (await ask(f"{url}/v1/replicas?lfn={lfn}", nobody))[0] == 403
        assert (await ask(url + "/v1/mappings", reader, method="POST", json=stored(lfn)))[0] == 403
        assert (await ask(url + "/v1/mappings", writer, method="POST", json=stored("/user/a")))[0] == 403
        assert (await ask(url + "/v1/whoami", reader))[1]["subject"] == "/O=reploc/OU=people/CN=reader"
        assert (await ask(url + "/v1/whoami", nobody))[1]["kind"] == "nobody"


async def test_nobody_is_believed_who_introduces_himself(url: str, parties: Parties) -> None:
    operator = Identity("certificate", "/O=reploc/OU=people/CN=writer", "/O=reploc/CN=test authority")
    forged = {HEADER: Introduction("127.0.0.1", operator).header()}
    for _ in range(CONNECTIONS):
        said = await ask(url + "/v1/whoami", parties.context(), headers=forged)
        assert said[1]["kind"] == "nobody"
        status, _ = await ask(
            url + "/v1/mappings", parties.context(), method="POST", json=stored("/store/a"), headers=forged
        )
        assert status == 403


@pytest.mark.parametrize("header", [None, "", "x", "e30=", "bm8=", Introduction().header() + "!"])
def test_a_header_that_says_nothing_introduces_nobody(header: str | None) -> None:
    assert introduction(header) == Introduction("", NOBODY)


def test_an_introduction_is_the_same_on_the_other_side() -> None:
    who = Identity("token", "jane", "https://tokens.example.org/", ("/cms",), (), frozenset({"h"}), frozenset({"s"}))
    assert introduction(Introduction("192.0.2.1", who).header()) == Introduction("192.0.2.1", who)
