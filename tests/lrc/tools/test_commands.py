"""`reploc lrc …`: the commands over real stores and real daemons, with their words and exit statuses."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lrc import layout
from lrc.catalog import Catalog
from lrc.check import check
from lrc.commands import lrc
from lrc.server import compose
from lrc.settings import LrcSettings
from reploc.demo.ports import free_port
from reploc.service import listening
from reploc.wire import MappingItem, MappingsBody


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REPLOC_LRC", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    Catalog.create(path, "SITE").close()
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in ("a b", "é/50%", "é/x+y", "one/two/three"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[str]:
    settings = LrcSettings(site="SITE", store=str(tmp_path / "daemon-store"), listen="127.0.0.1:0")
    async with compose(settings) as composed, listening(composed, settings) as url:
        yield url
    with Catalog.open(settings.store, read_only=True) as catalog:
        assert check(catalog).findings == []


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(lrc, [str(one) for one in arguments], input=stdin)


async def beside(*arguments: object) -> Result:
    """A command that runs while this loop serves a daemon."""
    return await asyncio.to_thread(run, *arguments)


def process(*arguments: object) -> "subprocess.CompletedProcess[bytes]":
    """A command in a process of its own, as one runs beside a daemon that has the store open."""
    command = [sys.executable, "-m", "reploc", "lrc", *(str(one) for one in arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


def rows(dump: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in dump.splitlines()[1:-1]]


# ---- scan ------------------------------------------------------------------------------------------------------------


async def test_a_scan_through_a_daemon_and_one_into_a_store_give_the_same_dump(
    tree: Path, store: Path, daemon: str
) -> None:
    asked = await beside("scan", tree, "--lrc", daemon, "--collection-depth", 1)
    direct = await beside("scan", tree, "--store", store, "--collection-depth", 1)
    assert (asked.exit_code, direct.exit_code) == (0, 0), asked.output + direct.output
    over_http = await beside("dump", "--lrc", daemon)
    from_store = await beside("dump", "--store", store)
    assert over_http.exit_code == from_store.exit_code == 0
    assert rows(over_http.stdout) == rows(from_store.stdout)
    assert [row["lfn"] for row in rows(from_store.stdout)] == ["/a b", "/one/two/three", "/é/50%", "/é/x+y"]
    assert rows(from_store.stdout)[2] == {
        "lfn": "/é/50%",
        "size": 6,
        "checksum": f"adler32:{zlib.adler32('é/50%'.encode()):08x}",
        "collection": "/é",
        "pfns": [tree.as_uri() + "/%C3%A9/50%25"],
    }
    assert json.loads(over_http.stdout.splitlines()[0]) == {
        "format": "reploc-lrc-dump", "version": 2, "site": "SITE", "position": 1, "attributes": [],
    }  # fmt: skip


async def test_a_second_scan_through_a_daemon_says_that_all_is_there(tree: Path, daemon: str) -> None:
    await beside("scan", tree, "--lrc", daemon, "--checksum", "sha256", "--workers", 2)
    again = await beside("scan", tree, "--lrc", daemon, "--checksum", "sha256", "--json")
    said = json.loads(again.stdout)
    assert (said["files"], said["registered"], said["already_there"], said["troubles"]) == (4, 0, 4, [])
    assert (said["site"], said["position"]) == ("SITE", 1)


def test_a_scan_tells_what_it_left_out_and_ends_with_status_1(tree: Path, store: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/bad\xff\x1b[31m")).touch()
    result = run("scan", tree, "--store", store)
    assert result.exit_code == 1
    assert "the name is not UTF-8 at byte 3" in result.stderr
    assert "\x1b" not in result.output
    assert "registered\t4" in result.stdout
    assert "without a name\t1" in result.stdout


def test_a_link_that_is_scanned_gives_its_own_path_to_the_pfns(tree: Path, store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    assert run("scan", tmp_path / "link", "--store", store).exit_code == 0
    first = rows(run("dump", "--store", store).stdout)[0]
    assert first["pfns"] == [(tmp_path / "link").as_uri() + "/a%20b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lfn-prefix", "/store"], "ends in a letter or digit"),
        (["--pfn-prefix", "data/"], "is not the beginning of a URL"),
        (["--collection", ""], "collection is empty"),
        (["--checksum", "md4"], "'md4' is not one of"),
        (["--workers", "0"], "0 is not in the range"),
        (["--collection-depth", "0"], "0 is not in the range"),
        (["--lrc", "http://127.0.0.1:1"], "both --lrc and --store were given"),
    ],
)
def test_a_scan_with_a_wrong_option_is_refused_before_it_starts(
    tree: Path, store: Path, arguments: list[str], said: str
) -> None:
    result = run("scan", tree, "--store", store, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    with Catalog.open(store) as catalog:
        assert catalog.position == 0


def test_a_command_without_a_catalog_says_how_to_name_one(tree: Path) -> None:
    result = run("scan", tree)
    assert result.exit_code == 2
    assert "no catalog is known" in result.stderr


def test_a_daemon_that_is_not_there_is_status_4(tree: Path) -> None:
    result = run("scan", tree, "--lrc", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 4
    assert "not-connected" in result.stderr


def test_a_store_that_a_daemon_has_open_is_status_4(tree: Path, store: Path) -> None:
    with Catalog.open(store):
        result = process("scan", tree, "--store", store)
    assert result.returncode == 4
    assert b"has it open for writing" in result.stderr


# ---- dump and load ---------------------------------------------------------------------------------------------------


async def test_a_dump_is_loaded_through_a_daemon(tree: Path, store: Path, daemon: str, tmp_path: Path) -> None:
    await beside("scan", tree, "--store", store)
    dumped = await beside("dump", "--store", store, "-o", tmp_path / "dump")
    assert (dumped.exit_code, dumped.stdout) == (0, "")
    loaded = await beside("load", tmp_path / "dump", "--lrc", daemon, "--mode", "create", "--json")
    assert loaded.exit_code == 0, loaded.output
    assert json.loads(loaded.stdout)["mappings"] == 4
    back = await beside("dump", "--lrc", daemon)
    assert back.stdout == (tmp_path / "dump").read_text()
    again = await beside("load", tmp_path / "dump", "--lrc", daemon, "--mode", "create")
    assert again.exit_code == 1
    assert "line 2: lfn-exists" in again.stderr
    assert "refused\t4" in again.stdout


def test_a_dump_is_loaded_from_standard_input(tree: Path, store: Path, tmp_path: Path) -> None:
    run("scan", tree, "--store", store)
    Catalog.create(tmp_path / "other", "OTHER").close()
    loaded = run("load", "-", "--store", tmp_path / "other", stdin=run("dump", "--store", store).stdout_bytes)
    assert loaded.exit_code == 0
    assert "position of OTHER\t1" in loaded.stdout
    assert rows(run("dump", "--store", tmp_path / "other").stdout) == rows(run("dump", "--store", store).stdout)


def test_a_dump_that_fails_leaves_the_older_file_as_it_was(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "dump"
    target.write_text("older")
    assert run("dump", "--store", tmp_path / "nowhere", "-o", target).exit_code == 4
    assert target.read_text() == "older"
    assert run("dump", "--store", store, "-o", target).exit_code == 0
    assert target.read_text().startswith('{"format":"reploc-lrc-dump"')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dump", "store"]


def test_a_dump_that_cannot_be_written_is_status_4(store: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "none" / "dump", Path("/dev/full")):
        result = run("dump", "--store", store, "-o", target)
        assert result.exit_code == 4, result.output
        assert str(target) in result.stderr


def test_what_is_no_dump_is_status_2(store: Path) -> None:
    result = run("load", "-", "--store", store, stdin=b"lfn\tpfn\n")
    assert result.exit_code == 2
    assert "line 1: is not the header of a dump" in result.stderr
    assert run("load", "-", "--store", store, "--mode", "create", "--update").exit_code == 2


def test_a_store_is_dumped_and_checked_beside_the_process_that_writes_it(store: Path) -> None:
    with Catalog.open(store) as catalog:
        catalog.write(MappingsBody("put", [MappingItem("a", "p")]))
        dumped = process("dump", "--store", store)
        checked = process("check", "--store", store)
    assert (dumped.returncode, checked.returncode) == (0, 0)
    assert rows(dumped.stdout.decode())[0]["lfn"] == "a"
    assert b"the catalog of SITE is sound: 1 LFNs, 1 mappings" in checked.stdout


# ---- check -----------------------------------------------------------------------------------------------------------


def test_a_sound_store_is_status_0(tree: Path, store: Path) -> None:
    run("scan", tree, "--store", store)
    result = run("check", "--store", store, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "site": "SITE", "position": 1, "sound": True, "lfns": 4, "mappings": 4, "collections": 0,
        "found": 0, "findings": [],
    }  # fmt: skip


def test_a_store_that_contradicts_itself_is_status_1_with_what_was_found(tree: Path, store: Path) -> None:
    run("scan", tree, "--store", store)
    with Catalog.open(store) as catalog, catalog.store.writing() as txn:
        txn.delete(layout.key("/a b"), db=catalog.store.tables["lfn"])
    result = run("check", "--store", store)
    assert result.exit_code == 1
    assert "NOT sound" in result.stdout
    assert "/a b" in result.stdout
    assert json.loads(run("check", "--store", store, "--json").stdout)["sound"] is False


def test_what_is_no_store_is_status_4(tmp_path: Path) -> None:
    result = run("check", "--store", tmp_path)
    assert result.exit_code == 4
    assert "store-foreign" in result.stderr


# ---- serve -----------------------------------------------------------------------------------------------------------


def test_a_daemon_makes_its_store_serves_and_stops_when_told(tmp_path: Path) -> None:
    port = free_port()
    store = tmp_path / "new"
    command = [sys.executable, "-m", "reploc", "lrc", "serve", "--site", "SITE", "--store", str(store)]
    with subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE) as serving:
        assert serving.stderr is not None
        while b"daemon.listening" not in (line := serving.stderr.readline()):
            assert line, "the daemon ended before it listened"
        assert run("dump", "--lrc", f"http://127.0.0.1:{port}").exit_code == 0
        serving.send_signal(signal.SIGTERM)
        serving.stderr.read()
        assert serving.wait(30) == 0
    assert run("check", "--store", store).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "text", "status", "said"),
    [
        (["--store", "{}/new"], None, 2, "site: is empty"),
        (["--store", "{}/new", "--site", "a b"], None, 2, "is not a site name"),
        (["--store", "{}/store", "--site", "OTHER"], None, 2, "is that of 'SITE'"),
        (["--store", "{}/store", "--listen", "nowhere"], None, 2, "is not HOST:PORT"),
        (["--store", "{}/store", "--listen", "0.0.0.0:0"], None, 2, "url is empty, but listen is"),
        (["--store", "{}/store", "--listen", "192.0.2.1:0"], None, 2, "beyond loopback"),
        (["--store", "{}/store"], 'sight = "x"', 2, "unknown key 'sight'; did you mean 'site'?"),
        (["--store", "{}/foreign", "--site", "SITE"], None, 4, "store-foreign"),
    ],
)
def test_what_keeps_a_daemon_from_starting_is_said_in_words(
    tmp_path: Path, store: Path, arguments: list[str], text: str | None, status: int, said: str
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    given = ["--listen", "127.0.0.1:0", *(one.format(tmp_path) for one in arguments)]
    if text is not None:
        (tmp_path / "lrc.toml").write_text(text)
        given += ["--config", str(tmp_path / "lrc.toml")]
    result = process("serve", *given)
    assert (result.returncode, said in result.stderr.decode()) == (status, True), result.stderr.decode()


async def test_a_port_in_use_is_said_in_words(daemon: str, tmp_path: Path) -> None:
    address = daemon.removeprefix("http://")
    result = await asyncio.to_thread(process, "serve", "--site", "S", "--store", tmp_path / "s", "--listen", address)
    assert result.returncode in (2, 4)
    assert f"cannot listen on {address}" in result.stderr.decode()


@pytest.mark.parametrize("command", sorted(lrc.commands))
def test_the_help_of_every_command_tells_its_exit_statuses(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Exit status:" in result.stdout
    assert "  0  " in result.stdout
