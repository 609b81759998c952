"""The RLS port behind the guard: the rules that hold for HTTP hold there, and changes are written down."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from parties import Parties, catalog
from rls_client import RlsClient

from lrc.settings import LrcRlsSettings
from reploc.actions import Action
from reploc.errors import ConfigInvalid
from reploc.rls.access import action_of
from reploc.rls.protocol import METHODS
from reploc.security.settings import AuditSettings, AuthorizationSettings

ALL_NAMES = """
[[roles]]
name = "writer"
grants = [{ actions = ["read-catalog", "write-catalog"] }]
[[roles]]
name = "reader"
grants = [{ actions = ["read-catalog"] }]
[[rules]]
subject = "*/CN=writer"
roles = ["writer"]
[[rules]]
kind = "nobody"
roles = ["reader"]
"""


@asynccontextmanager
async def port(parties: Parties, path: Path, rules: str, *, tls: bool, **more: Any) -> AsyncIterator[int]:
    """The RLS port of a catalog under some rules."""
    (path / "rules.toml").write_text(rules)
    told = parties.guarded() | {"authorization": AuthorizationSettings(rules=str(path / "rules.toml"))}
    rls = LrcRlsSettings(listen=f"127.0.0.1:{0}", tls=tls)
    async with catalog(path, rls=rls, **told, **more) as (_, daemon):
        status = next(route for route in daemon.routes if route.path == "/v1/status")
        answer = await status.handler(None)  # type: ignore[arg-type]
        yield int(answer.rls_url.rpartition(":")[2])  # type: ignore[union-attr]


async def said(number: int, context: ssl.SSLContext | None, *request: str) -> int:
    """The code that one request gets on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=context)
    client = RlsClient(reader, writer)
    assert await client.token() == "0"
    code, _ = await client.ask(*request)
    writer.close()
    return code


async def test_who_shows_nothing_is_nobody_and_may_what_nobody_may(parties: Parties, tmp_path: Path) -> None:
    async with port(parties, tmp_path, ALL_NAMES, tls=False) as number:
        assert await said(number, None, "lrc_create", "/a", "file:///a") != 0
        assert await said(number, None, "lrc_get_pfn", "/a", "0", "0") not in (0, 5)
        assert await said(number, None, "admin", "1") != 0


async def test_a_certificate_is_who_it_is_for_and_changes_are_written_down(parties: Parties, tmp_path: Path) -> None:
    audit = AuditSettings(file=str(tmp_path / "audit.jsonl"))
    async with port(parties, tmp_path, ALL_NAMES, tls=True, audit=audit) as number:
        assert await said(number, parties.context("writer"), "lrc_create", "/a", "file:///a") == 0
        assert await said(number, parties.context("writer"), "lrc_get_pfn", "/a", "0", "0") == 0
        assert await said(number, parties.context("reader"), "lrc_get_pfn", "/a", "0", "0") != 0
        assert await said(number, parties.context(), "lrc_get_pfn", "/a", "0", "0") == 0
        assert await said(number, parties.context(), "lrc_delete", "/a", "file:///a") != 0
        assert await said(number, parties.context("writer"), "lrc_clear") != 0
    (line,) = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert (line["route"], line["what"]) == ("rls lrc_create", ["/a", "file:///a"])
    assert line["who"]["subject"] == "/O=reploc/OU=people/CN=writer"


async def test_a_right_on_some_names_is_none_at_this_port(parties: Parties, tmp_path: Path) -> None:
    some = ALL_NAMES.replace('"write-catalog"] }', '"write-catalog"], names = ["/store/"] }')
    async with port(parties, tmp_path, some, tls=True) as number:
        assert await said(number, parties.context("writer"), "lrc_create", "/store/a", "file:///a") != 0


async def test_tls_without_a_certificate_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"rls\.tls"):
        async with catalog(tmp_path, rls=LrcRlsSettings(listen="127.0.0.1:0", tls=True)):
            pass


def test_every_method_of_the_protocol_has_the_action_that_the_original_asked_for() -> None:
    """By its privileges: lrc_read, lrc_update, rli_read, rli_update, admin, stats."""
    found: dict[Action, set[bytes]] = {}
    for method in METHODS:
        found.setdefault(action_of(method), set()).add(method)
    assert {method for method in found[Action.WRITE_CATALOG] if b"get" in method or b"exists" in method} == set()
    assert {method[:4] for method in found[Action.WRITE_CATALOG] | found[Action.READ_CATALOG]} == {b"lrc_"}
    assert found[Action.SEND_SOFT_STATE] == {b"rli_update", b"rli_updatebf"}
    assert {b"admin", b"lrc_clear", b"set_configuration"} <= found[Action.ADMINISTER]
    assert action_of(b"nobody_knows_it") is Action.ADMINISTER
