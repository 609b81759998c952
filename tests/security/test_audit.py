"""The audit log: every change is in it, with who made it; it grows, makes way for another, and never lies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from parties import Parties, ask, catalog

from reploc.actions import Action
from reploc.errors import ConfigInvalid, Unavailable
from reploc.security.audit import Audit
from reploc.security.identity import Identity
from reploc.security.lines import Lines
from reploc.security.settings import AuditSettings
from reploc.telemetry import Metrics

JANE = Identity("certificate", "/CN=jane", "/CN=ca")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_change_is_written_down_with_who_made_it(parties: Parties, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with catalog(tmp_path, audit=AuditSettings(file=str(file)), **parties.guarded()) as (url, _):
        writer, mapping = parties.context("writer"), {"lfn": "/store/a", "pfn": "file:///a"}
        body = {"mode": "create", "mappings": [mapping]}
        assert (await ask(url + "/v1/mappings", writer, method="POST", json=body))[0] == 200
        assert (await ask(url + "/v1/mappings", writer, method="POST", json=body))[1]["done"] == 0
        token = parties.token(**{"wlcg.groups": ["/cms/production"]})
        gone = {"mappings": [{"lfn": "/store/a"}]}
        assert (await ask(url + "/v1/mappings/delete", parties.context(), token, "POST", json=gone))[0] == 200
        assert (await ask(url + "/v1/mappings", parties.context("reader"), method="POST", json=body))[0] == 403
        assert (await ask(url + "/v1/replicas?lfn=/store/a", writer))[0] == 404
        assert (await ask(url + "/v1/softstate/push", parties.context("operator"), method="POST", json={}))[0] == 200
    first, second, third, fourth = lines(file)
    assert first["who"] == {
        "kind": "certificate",
        "subject": "/O=reploc/OU=people/CN=writer",
        "issuer": "/O=reploc/CN=test authority",
    }
    assert (first["action"], first["route"], first["peer"]) == ("write-catalog", "/v1/mappings", "127.0.0.1")
    assert first["what"]["mappings"][0]["pfn"] == "file:///a"
    assert (first["outcome"]["done"], second["outcome"]["errors"][0]["code"]) == (1, "lfn-exists")
    assert (third["who"]["subject"], third["who"]["groups"]) == ("jane", ["/cms/production"])
    assert (fourth["action"], fourth["route"]) == ("administer", "/v1/softstate/push")
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o007 == 0


async def test_without_rules_changes_are_nobodys_and_still_written_down(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with catalog(tmp_path, audit=AuditSettings(file=str(file), sync=True)) as (url, _):
        body = {"mode": "put", "mappings": [{"lfn": "/a", "pfn": "file:///a"}]}
        assert (await ask(url + "/v1/mappings", method="POST", json=body))[0] == 200
    assert lines(file)[0]["who"] == {"kind": "nobody"}


def test_a_full_file_makes_way_for_another_and_no_line_is_lost(tmp_path: Path) -> None:
    file = Lines(tmp_path / "lines", 1_000, files=3)
    for number in range(60):
        file.append(b"%057d" % number)
    file.close()
    kept = [(tmp_path / f"lines{end}").read_text().split() for end in (".3", ".2", ".1", "")]
    assert [int(line) for lines in kept for line in lines] == list(range(60))[-sum(map(len, kept)) :]
    assert sum(map(len, kept)) > 3 * (1_000 // 58)
    assert not (tmp_path / "lines.4").exists()


def test_two_processes_write_to_one_file_and_follow_when_it_moves(tmp_path: Path) -> None:
    one, other = Lines(tmp_path / "lines", 200, 5), Lines(tmp_path / "lines", 200, 5)
    for number in range(8):
        (one if number % 2 else other).append(b"%039d" % number)
    os.rename(tmp_path / "lines", tmp_path / "taken-away")
    one.append(b"after")
    other.append(b"after")
    assert (tmp_path / "lines").read_text() == "after\nafter\n"
    one.close()
    other.close()


def test_nothing_is_changed_while_the_log_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    audit = Audit(AuditSettings(file=str(folder / "audit.jsonl"), bytes_max=1 << 16), Metrics())
    audit.require_writable()
    (folder / "audit.jsonl").unlink()
    folder.rmdir()
    audit.record(JANE, "::1", Action.WRITE_CATALOG, "/v1/mappings", {"a": 1}, {"done": 1})
    with pytest.raises(Unavailable, match="nothing is changed unseen"):
        audit.require_writable()
    folder.mkdir()
    audit.require_writable()
    assert [one["what"] for one in lines(folder / "audit.jsonl")] == [{"a": 1}]
    audit.close()


def test_a_log_that_cannot_be_opened_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be written"):
        Audit(AuditSettings(file=str(tmp_path / "none" / "audit.jsonl")), Metrics())
