"""The commands: check, look, release and know of losses, with the exit statuses that scripts rely on."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from planted import Planted, planted

from reploc.cli import cli
from reploc.demo.ports import free_port


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Planted]:
    async with planted(tmp_path) as made:
        (tmp_path / "settings.toml").write_text(
            f"""
state = "{made.settings.state}"
database = "{made.settings.database}"
grace_age_s = 0
[limits.missing]
fraction = 1.0
[limits.orphan]
files = 1
fraction = 1.0
[[sites]]
name = "site"
lrc = "{made.site.lrc}"
[[sites.doors]]
protocol = "posix"
url = "{made.root.as_uri()}"
"""
        )
        await made.hold({"/a/f": b"1"})
        yield made


def orphan(site: Planted, path: bytes) -> None:
    """An orphan that is old by the clock that commands read."""
    site.write(path, b"orphan", mtime=1_000_000)


async def said(site: Planted, *words: object) -> Result:
    """A command beside the catalog, which answers in this loop."""
    config = Path(site.settings.state).parent / "settings.toml"
    return await asyncio.to_thread(run, "consistency", *words, "--config", config)


async def test_a_consistent_site_is_done(site: Planted):
    result = await said(site, "check", "site", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert (report["state"], report["tally"]["kinds"]["ok"]["files"]) == ("done", 1)


async def test_findings_are_counted_shown_and_listed_as_they_are(site: Planted):
    await site.lose({"/a/lost file": b"1"})
    orphan(site, b"/a/\xff")
    result = await said(site, "check", "site")
    assert result.exit_code == 0, result.output
    assert "run 1 of site: done" in result.output
    assert (await said(site, "show", 1, "--list", "missing")).stdout_bytes == b"/a/lost file\n"
    assert (await said(site, "show", 1, "--list", "orphan")).stdout_bytes == b"/a/\xff\n"
    history = await said(site, "history", "site")
    assert history.output.splitlines()[-1].split()[:3] == ["1", "site", "done"]


async def test_a_run_beyond_its_limits_is_held_until_it_is_released(site: Planted):
    for name in (b"/a/x", b"/a/y"):
        orphan(site, name)
    held = await said(site, "check", "site")
    assert (held.exit_code, "orphan: 2 beyond the bound files = 1" in held.output) == (1, True)
    released = await said(site, "release", 1)
    assert (released.exit_code, "run 1 of site: done" in released.output) == (0, True)
    again = await said(site, "release", 1)
    assert again.exit_code != 0


async def test_a_catalog_that_does_not_answer_is_an_error_and_not_a_held_run(site: Planted):
    config = Path(site.settings.state).parent / "settings.toml"
    config.write_text(config.read_text().replace(site.site.lrc, f"http://127.0.0.1:{free_port()}"))
    assert (await said(site, "check", "site")).exit_code == 4
    history = await said(site, "history", "--json")
    assert json.loads(history.output)["state"] == "broken"


async def test_a_scan_that_shows_nothing_fails(site: Planted):
    site.remove(b"/a/f")
    result = await said(site, "check", "site")
    assert (result.exit_code, "the scan found no file" in result.output) == (3, True)


@pytest.mark.parametrize(
    ("words", "status", "said_so"),
    [
        (("check", "elsewhere"), 2, "site 'elsewhere' is not in the settings; known: site"),
        (("show", 7), 1, "run 7"),
        (("acknowledge", "site", "/x"), 1, "not on the list"),
    ],
)
async def test_what_is_not_there_is_said_so(site: Planted, words: tuple, status: int, said_so: str):
    result = await said(site, *words)
    assert result.exit_code == status
    assert said_so in result.output + result.stderr


async def test_dumps_are_compared_alone(site: Planted, tmp_path: Path):
    (tmp_path / "before.tsv").write_bytes(b"/a\t1\n/b\t2\n/c\t3\n")
    (tmp_path / "storage.tsv").write_bytes(b"/a\t1\n/c\t4\n/d\t5\n")
    words = ("consistency", "compare", tmp_path / "before.tsv", tmp_path / "storage.tsv", "--fields", "path,size")
    result = await asyncio.to_thread(run, *words, "--json")
    kinds = json.loads(result.output)["kinds"]
    assert {kind: kinds[kind]["files"] for kind in ("ok", "missing", "orphan", "damaged")} == {
        "ok": 1, "missing": 1, "orphan": 1, "damaged": 1,
    }  # fmt: skip
    assert (await asyncio.to_thread(run, *words, "--list", "orphan")).stdout_bytes == b"/d\n"
    wrong = await asyncio.to_thread(run, *words[:-1], "size,nonsense")
    assert wrong.exit_code != 0


async def test_a_deep_check_reads_on_where_it_stopped_and_finds_what_no_listing_shows(site: Planted):
    await site.hold({f"/b/{number}": b"data" for number in range(3)})
    site.write(b"/b/1", b"dat!")
    config = Path(site.settings.state).parent / "settings.toml"
    config.write_text(config.read_text() + "\n[deep]\nfiles = 2\n")
    result = await said(site, "deep", "site", "--json")
    assert result.exit_code == 0, (result.output, result.stderr)
    first = json.loads(result.output)
    assert (first["files"], first["damaged"], first["behind"]) == (2, [], "/b/0")
    second = json.loads((await said(site, "deep", "site", "--json")).output)
    assert (second["files"], second["damaged"]) == (2, ["/b/1"])
    anew = json.loads((await said(site, "deep", "site", "--json")).output)
    assert (anew["files"], anew["behind"]) == (0, "")


async def test_empty_directories_of_a_held_run_are_removed_when_it_is_released(site: Planted):
    config = Path(site.settings.state).parent / "settings.toml"
    limits = "[limits.empty_directories]\nfiles = 1\nfraction = 1.0\n[actions]\nempty_directories = true\n"
    config.write_text(config.read_text().replace("[[sites]]", limits + "[[sites]]"))
    void = site.root / "void"
    for folder in (void / "deep", void):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (void / "deep", void):
        os.utime(folder, (1_000_000, 1_000_000))
    assert (await said(site, "check", "site")).exit_code == 1
    assert void.exists()
    released = await said(site, "release", 1)
    assert (released.exit_code, "2 directories removed" in released.output) == (0, True)
    assert not void.exists()
