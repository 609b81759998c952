"""`reploc placement`: tables and JSON of what is defined, locked and ordered, and refusals with their statuses."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadtests.collaboration import Collaboration
from placement import parquet
from reploc.cli import cli
from reploc.demo.ports import free_port
from reploc.demo.processes import Process

BODY = {
    "sites": [{"site": {"name": name, "lrc": f"http://{name}:39280"}} for name in ("T1", "T2")],
    "groups": [{"name": "physics"}],
    "datasets": [
        {"name": "/a", "status": "valid", "blocks": [{"name": "1", "files": [{"lfn": "/f1", "size": 5}]}]},
        {"name": "/b", "blocks": [{"size": 7, "num_files": 1}]},
    ],
    "owners": [{"item": "/a", "site": "T1", "group": "physics"}],
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("placement") / "placement.db"


@pytest.fixture(scope="module")
def service(database: Path) -> Iterator[str]:
    """A daemon of its own process, without an index."""
    port = free_port()
    command = ["placement", "serve", "--listen", f"127.0.0.1:{port}", "--database", f"sqlite:///{database}"]
    process = Process("placement", command, f"http://127.0.0.1:{port}", database.with_suffix(".log"))
    process.start()
    try:
        asyncio.run(process.answering())
        yield process.url
    finally:
        process.stop()


@pytest.fixture
def told(service: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REPLOC_PLACEMENT", service)
    assert run("inject", "-", stdin=json.dumps(BODY)).exit_code == 0
    yield


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["placement", *words], input=stdin)


def rows(*words: str) -> list[list[str]]:
    done = run(*words)
    assert done.exit_code == 0, done.output
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_definitions_are_set_and_listed(told: None) -> None:
    assert run("sites", "set", "T2", "--status", "morgue", "--storage", "mss").exit_code == 0
    assert [row[:3] for row in rows("sites", "list")] == [["T1", "ready", "disk"], ["T2", "morgue", "mss"]]
    assert run("groups", "set", "IB RelVal", "--level", "dataset").exit_code == 0
    assert rows("groups", "list") == [["physics", "block"], ["IB RelVal", "dataset"]]
    document = json.loads(run("sites", "list", "--json").stdout)
    assert [item["site"]["name"] for item in document["sites"]] == ["T1", "T2"]
    run("sites", "set", "T2", "--status", "ready", "--storage", "disk")


def test_sites_are_imported_from_the_settings_of_file_operations(told: None, tmp_path: Path) -> None:
    path = tmp_path / "fileops.toml"
    doors = '[[sites.doors]]\nprotocol = "posix"\nurl = "file:///data"\n'
    path.write_text(f'poll_s = 3.0\n[[sites]]\nname = "T1"\nlrc = "http://T1:39280"\n{doors}')
    assert run("sites", "import", str(path)).stdout == "changed: 1 sites\n"
    document = json.loads(run("sites", "list", "--json").stdout)
    assert document["sites"][0]["site"]["doors"] == [{"protocol": "posix", "url": "file:///data"}]
    path.write_text('[[sites]]\nname = "T1"\n')
    refused = run("sites", "import", str(path))
    assert (refused.exit_code, "lrc" in refused.stderr) == (2, True)


def test_partitions_and_quotas(told: None, tmp_path: Path) -> None:
    path = tmp_path / "partitions"
    path.write_text("Default: blockreplica.owner != None\nMine: blockreplica.owner == physics\nBoth: [Default, Mine]\n")
    assert run("partitions", "import", str(path)).exit_code == 0
    assert ["Both", "[Default, Mine]"] in rows("partitions", "list")
    for told_as, shown in (("1.5TB", "1.5 TB"), ("unlimited", "unlimited")):
        assert run("quotas", "set", "T1", "Default", told_as).exit_code == 0
        assert rows("quotas", "list") == [["T1", "Default", shown]]
    assert run("quotas", "set", "T1", "Default", "none").exit_code == 0
    assert rows("quotas", "list") == []
    refused = run("quotas", "set", "T1", "Default", "plenty")
    assert (refused.exit_code, "expected bytes as in 500 or 1.5TB" in refused.stderr) == (2, True)
    assert run("quotas", "set", "T1", "Both", "1TB").exit_code == 2


def test_datasets_are_listed_and_shown(told: None) -> None:
    assert [row[:4] for row in rows("datasets", "list", "/*")] == [
        ["/a", "valid", "5 bytes", "1"],
        ["/b", "unknown", "7 bytes", "1"],
    ]
    assert rows("datasets", "list", "/nothing") == []
    assert run("datasets", "show", "/a").exit_code == 0
    missing = run("datasets", "show", "/zz")
    assert (missing.exit_code, "dataset '/zz' is not defined" in missing.stderr) == (1, True)


def test_injecting_again_changes_nothing_and_what_is_wrong_says_where(told: None) -> None:
    assert run("inject", "-", stdin=json.dumps(BODY)).stdout == "nothing changed: all of it was there already\n"
    broken = run("inject", "-", stdin='{"datasets": [{"name": "/x", "blocks": [{"size": "many"}]}]}')
    assert (broken.exit_code, "$.datasets[0].blocks[0].size" in broken.stderr) == (2, True)
    wrong = run("inject", "-", stdin='{"datasets": [{"name": "/x", "blocks": [{"name": "1", "size": 5}]}]}')
    assert (wrong.exit_code, "told together" in wrong.stderr) == (2, True)


def test_locks_are_placed_listed_and_released(told: None) -> None:
    told_so = ("--comment", "for a paper", "--by", "me", "--until", "2100-01-01")
    placed = run("locks", "place", "/a", "--site", "T*", *told_so)
    number = placed.stdout.split()[-1]
    assert rows("locks", "list")[0][:6] == [number, "/a", "T*", "*", "me", "2100-01-01 00:00:00"]
    assert run("locks", "release", number).exit_code == 0
    assert run("locks", "release", number).exit_code == 1
    assert rows("locks", "list") == []
    assert rows("locks", "list", "--all")[0][0] == number
    assert run("locks", "place", "/a", "--until", "2001-01-01").exit_code == 2


def test_orders_that_cannot_be_say_why(told: None, tmp_path: Path) -> None:
    refused = run("orders", "copy", "/a", "T2")
    assert (refused.exit_code, "no READY site with fresh news" in refused.stderr) == (2, True)
    assert run("orders", "delete", "/a", "T1").exit_code == 2
    assert run("orders", "cancel", "99").exit_code == 1
    assert rows("orders", "list", "--state", "new") == []
    assert json.loads(run("orders", "list", "--json").stdout) == {"orders": [], "next": 0}
    assert rows("orders", "list", "--item", "/a", "--site", "T1") == []
    assert rows("history") == []
    unknown = run("decisions", "7", "-o", str(tmp_path / "decisions"))
    assert (unknown.exit_code, "cycle 7 is not defined" in unknown.stderr) == (1, True)
    assert not (tmp_path / "decisions").exists()


def test_requests_are_made_listed_narrowed_and_cancelled(told: None, tmp_path: Path) -> None:
    made = run("request", "copy", "/a", "T2", "T1", "--copies", "1", "--group", "physics", "--by", "me")
    number = made.stdout.split()[-1]
    assert made.stdout == f"made request {number}\n"
    again = run("request", "copy", "/a", "T1", "T2", "--copies", "1", "--group", "physics", "--by", "you")
    assert again.stdout == f"joined request {number}\n"
    path = tmp_path / "requests.json"
    told_at_once = [
        {"kind": "copy", "item": "/a#1", "sites": ["T*"]},
        {"kind": "delete", "item": "/b", "sites": ["T2"]},
    ]
    path.write_text(json.dumps({"requests": told_at_once, "asked_by": "a script"}))
    imported = json.loads(run("request", "import", str(path), "--json").stdout)
    assert (len(imported["ids"]), imported["joined"]) == (2, [])
    assert [row[1:7] for row in rows("request", "list")] == [
        ["delete", "/b", "T2", "each", "-", "new"],
        ["copy", "/a#1", "T*", "each", "-", "new"],
        ["copy", "/a", "T1,T2", "1", "physics", "new"],
    ]
    assert [row[0] for row in rows("request", "list", "--item", "/a", "--by", "me")] == [number]
    assert rows("request", "list", "--until", "2020-01-01") == []
    pages = run("request", "list", "--limit", "2", "--json").stdout.splitlines()
    assert [[each["id"] for each in json.loads(page)["requests"]] for page in pages] == [imported["ids"][::-1]]
    assert run("request", "cancel", number, *map(str, imported["ids"]), "--reason", "no").exit_code == 0
    assert run("request", "cancel", number).exit_code == 1
    assert {row[-1] for row in rows("request", "list", "--state", "cancelled")} == {"no"}
    assert rows("request", "list", "--state", "new") == []


def test_requests_that_cannot_be_are_refused_whole_and_say_why(told: None, tmp_path: Path) -> None:
    for words, said in (
        (("copy", "/zz", "T1"), "'/zz' is not defined"),
        (("copy", "/a", "T9"), "site 'T9' is not defined; known: T1, T2"),
        (("copy", "/a", "T1", "--group", "nobody"), "group 'nobody' is not defined"),
        (("delete", "/a#7", "T1"), "'/a#7' is not defined"),
        (("cancel", "999"), "request 999 is not defined"),
    ):
        refused = run("request", *words)
        assert (refused.exit_code, said in refused.stderr) == (1, True), refused.stderr
    assert run("request", "copy", "/a", "T1", "--copies", "2").exit_code == 2
    assert run("request", "copy", "/a").exit_code == 2
    path = tmp_path / "requests.json"
    path.write_text('{"requests": [{"kind": "move", "item": "/a", "sites": ["T1"]}]}')
    refused = run("request", "import", str(path))
    assert (refused.exit_code, "kind" in refused.stderr) == (2, True), refused.stderr
    assert rows("request", "list", "--state", "new") == []


def test_the_inventory_is_shown_exported_and_imported(told: None, database: Path, tmp_path: Path) -> None:
    assert [row[:4] for row in rows("inventory", "show")] == [
        ["T1", "ready", "disk", "-"],
        ["T2", "ready", "disk", "-"],
    ]
    out = tmp_path / "out"
    assert run("inventory", "export", str(out), "--database", f"sqlite:///{database}").exit_code == 0
    assert parquet.read(out).datasets["name"].to_list() == ["/a", "/b"]
    assert run("inventory", "export", str(out), "--database", f"sqlite:///{database}").exit_code == 2

    made = Collaboration(datasets=50, seed=3).inventory()
    parquet.export(made, tmp_path / "in")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    refused = run("inventory", "import", str(tmp_path / "in"), "--database", other)
    assert (refused.exit_code, "is not defined" in refused.stderr) == (1, True)


def test_a_service_that_is_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = run("sites", "list", "--placement", f"http://127.0.0.1:{free_port()}")
    assert (gone.exit_code, "not-connected" in gone.stderr) == (4, True)
    assert os.environ.get("REPLOC_PLACEMENT") is None
