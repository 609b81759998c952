"""The connections' own way of answering (`reploc/hot.py`) knows the same rules: each request is asked about anew."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest
from grid import until
from parties import RULES, Parties, catalog

from reploc.security.settings import AuditSettings, LimitSettings


class Conversation:
    """One connection that sends requests whose heads are the same, so that they are known again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str = "") -> None:
        self._reader = reader
        self._writer = writer
        self._head = b"Host: a\r\n" + (f"Authorization: Bearer {token}\r\n".encode() if token else b"")

    @classmethod
    async def begin(cls, url: str, context: ssl.SSLContext | None, token: str = "") -> Conversation:
        port = int(url.rpartition(":")[2])
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context), token)

    async def look_up(self, lfn: str) -> int:
        self._writer.write(f"GET /v1/replicas?lfn={lfn} HTTP/1.1\r\n".encode() + self._head + b"\r\n")
        return await self._status()

    async def register(self, lfn: str) -> int:
        body = f'{{"mode":"put","mappings":[{{"lfn":"{lfn}","pfn":"file:///a"}}]}}'.encode()
        head = self._head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._writer.write(b"POST /v1/mappings HTTP/1.1\r\n" + head + body)
        return await self._status()

    async def _status(self) -> int:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await self._reader.readexactly(int(fields[b"content-length"]))
        return int(head.split()[1])

    def end(self) -> None:
        self._writer.close()


async def test_names_are_checked_for_each_request_of_a_known_head(parties: Parties, tmp_path: Path) -> None:
    async with catalog(tmp_path, **parties.guarded()) as (url, _):
        writer = await Conversation.begin(url, parties.context("writer"))
        assert [await writer.register(f"/store/{number}") for number in range(4)] == [200] * 4
        assert [await writer.look_up(f"/store/{number}") for number in range(4)] == [200] * 4
        assert await writer.look_up("/user/1") == 403
        assert await writer.register("/user/1") == 403
        assert await writer.register("/store/../user/1") == 403
        assert [await writer.look_up("/store/9"), await writer.look_up("/store/1")] == [404, 200]
        writer.end()


async def test_what_changed_meanwhile_counts_for_a_known_head(tmp_path: Path) -> None:
    """Rules that no longer allow it; a certificate that was taken back; a token that ended."""
    parties = Parties.meet(tmp_path / "parties")
    group = {"wlcg.groups": ["/cms/production"]}
    async with catalog(tmp_path, **parties.guarded()) as (url, daemon):
        guard = daemon.guard
        assert guard is not None
        by_certificate = await Conversation.begin(url, parties.context("writer"))
        by_token = await Conversation.begin(url, parties.context(), parties.token(**group))
        for conversation in (by_certificate, by_token):
            assert [await conversation.register("/store/a") for _ in range(3)] == [200] * 3
            assert [await conversation.look_up("/store/a") for _ in range(3)] == [200] * 3
        rules = tmp_path / "parties" / "rules.toml"
        rules.write_text(RULES.replace('names = ["/store/"]', 'names = ["/elsewhere/"]'))
        guard.reload()
        for conversation in (by_certificate, by_token):
            assert [await conversation.look_up("/store/a"), await conversation.register("/store/a")] == [403, 403]
        rules.write_text(RULES)
        guard.reload()
        assert [await by_certificate.look_up("/store/a"), await by_token.look_up("/store/a")] == [200, 200]
        parties.authority.revoke("writer")
        await guard.look()
        assert await by_certificate.look_up("/store/a") == 401
        by_certificate.end()
        by_token.end()


async def test_a_token_that_ends_ends_for_a_known_head_too(parties: Parties, tmp_path: Path) -> None:
    tokens = type(parties.tokens)(issuers=parties.tokens.issuers, leeway_s=0.0)
    async with catalog(tmp_path, **parties.guarded() | {"tokens": tokens}) as (url, _):
        token = parties.token(exp=int(time.time()) + 3, **{"wlcg.groups": ["/cms/production"]})
        conversation = await Conversation.begin(url, parties.context(), token)
        assert await conversation.register("/store/a") == 200
        assert [await conversation.look_up("/store/a") for _ in range(3)] == [200] * 3
        await until(lambda: conversation.look_up("/store/a"), lambda status: status == 401, "the token has ended")
        conversation.end()


async def test_rates_bound_a_known_head_too(parties: Parties, tmp_path: Path) -> None:
    limits = LimitSettings(rate_per_identity=0.001, burst_s=20_000.0)
    async with catalog(tmp_path, limits=limits, **parties.guarded()) as (url, _):
        reader = await Conversation.begin(url, parties.context("reader"))
        said = [await reader.look_up("/store/none") for _ in range(25)]
        assert said == [404] * 20 + [429] * 5
        reader.end()


@pytest.mark.parametrize("whose", ["address", "identity"])
async def test_a_request_that_goes_the_common_way_after_all_is_counted_once(
    parties: Parties, tmp_path: Path, whose: str
) -> None:
    """What is refused on the own way is asked about again on the common one, which says why."""
    rates = {f"rate_per_{whose}": 0.001}
    limits = LimitSettings(exempt=[], burst_s=20_000.0, offences=1_000, **rates)
    async with catalog(tmp_path, limits=limits, **parties.guarded()) as (url, daemon):
        writer = await Conversation.begin(url, parties.context("writer"))
        assert [await writer.register("/store/a"), await writer.look_up("/store/a")] == [200, 200]
        said = [await writer.look_up(lfn) for lfn in ("/user/a", "/store/../a", "/store/a") * 8]
        assert said == [403, 403, 200] * 6 + [429] * 6
        counted = f'reploc_requests_limited_total{{whose="{whose}"}} 6.0'
        assert counted in daemon.metrics.exposition()[0].decode()
        writer.end()


@pytest.mark.parametrize("asked", ["mappings", "replicas"])
async def test_what_is_audited_is_written_down_for_a_known_head_too(
    parties: Parties, tmp_path: Path, asked: str
) -> None:
    file = tmp_path / "audit.jsonl"
    async with catalog(tmp_path, audit=AuditSettings(file=str(file)), **parties.guarded()) as (url, _):
        writer = await Conversation.begin(url, parties.context("writer"))
        for number in range(5):
            ask = writer.register if asked == "mappings" else writer.look_up
            assert await ask(f"/store/{number}") == (200 if asked == "mappings" else 404)
        assert len(file.read_text().splitlines()) == (5 if asked == "mappings" else 0)
        writer.end()
