"""`reploc lrc attribute` against a real daemon: what is printed, for people and programs, and how it ends."""

import json
from pathlib import Path

import pytest
from test_commands import beside, daemon, nothing_configured  # noqa: F401  fixtures

from reploc.client import LrcClient
from reploc.wire import MappingItem


@pytest.fixture
async def lrc(daemon: str) -> str:  # noqa: F811
    async with LrcClient(daemon) as client:
        await client.put([MappingItem(lfn, "p:" + lfn) for lfn in ("/a", "/b", "/c")])
    for name, kind in (("size", "int"), ("owner", "text"), ("made", "time")):
        result = await beside("attribute", "define", "lfn", name, kind, "--lrc", daemon)
        assert result.exit_code == 0, result.output
    return daemon


async def test_values_are_set_shown_and_searched(lrc: str) -> None:
    for name, value in (("/a", "-5"), ("/b", "9007199254740993"), ("/c", "7")):
        result = await beside("attribute", "set", "lfn", name, "size", value, "--lrc", lrc)
        assert (result.exit_code, result.stdout[:6]) == (0, "set 1;"), result.output
    assert (await beside("attribute", "set", "lfn", "/a", "owner", "it's", "--lrc", lrc)).exit_code == 0
    shown = await beside("attribute", "query", "lfn", "/a", "/b", "--lrc", lrc)
    assert shown.stdout == "/a\towner\tit's\n/a\tsize\t-5\n/b\tsize\t9007199254740993\n"
    found = await beside("attribute", "search", "lfn", "size", ">=", "-5", "--lrc", lrc)
    assert found.stdout == "/a\t-5\n/c\t7\n/b\t9007199254740993\n"
    between = await beside("attribute", "search", "lfn", "size", "between", "-9", "0", "--json", "--lrc", lrc)
    assert [json.loads(line) for line in between.stdout.splitlines()] == [{"name": "/a", "value": -5}]
    listed = await beside("attribute", "show", "lfn", "size", "--lrc", lrc)
    assert listed.stdout == "lfn\tsize\tint\t3\t-5\t9007199254740993\n"
    assert (await beside("attribute", "search", "lfn", "size", "=", "8", "--lrc", lrc)).exit_code == 1


async def test_a_file_of_values_is_set_and_removed(lrc: str, tmp_path: Path) -> None:
    table = tmp_path / "values.tsv"
    table.write_text("/a\tsize\t1\n/a\tmade\t2006-01-02T15:04:05Z\n/z\tsize\t1\n")
    result = await beside("attribute", "set", "lfn", "--file", table, "--lrc", lrc)
    assert result.exit_code == 1
    assert "line 3: lfn-unknown" in result.output
    table.write_text("/a\tsize\tone\n")
    result = await beside("attribute", "set", "lfn", "--file", table, "--lrc", lrc)
    assert result.exit_code == 2
    assert "line 1: 'one' is no value of type int" in result.output
    table.write_text("/a\tsize\n/a\n")
    assert (await beside("attribute", "remove", "lfn", "--file", table, "--lrc", lrc)).exit_code == 0
    assert (await beside("attribute", "query", "lfn", "/a", "--lrc", lrc)).stdout == ""


async def test_what_cannot_be_is_said_in_words(lrc: str) -> None:
    await beside("attribute", "set", "lfn", "/a", "size", "1", "--lrc", lrc)
    for args, status, words in (
        (["set", "lfn", "/a", "colour", "x"], 1, "lfns have no attribute 'colour'"),
        (["set", "lfn", "/a", "size", "x"], 2, "'x' is no value of type int"),
        (["set", "lfn", "/a", "size"], 2, "expected NAME, ATTRIBUTE and VALUE"),
        (["set", "lfn", "/a", "made", "2006-01-02"], 1, "with its zone"),
        (["set", "lfn", "/a", "size", "2", "--mode", "add"], 1, "value-exists"),
        (["define", "lfn", "size", "text"], 1, "attribute-exists"),
        (["undefine", "lfn", "size"], 1, "attribute-in-use"),
        (["remove", "lfn", "/b", "size"], 1, "value-unknown"),
        (["query", "lfn", "/z"], 1, "/z: is not registered"),
        (["search", "lfn", "size", "between", "1"], 2, "between takes 2 values; 1 were given"),
        (["search", "lfn", "size", "like", "1"], 2, "like compares text"),
        (["search", "lfn", "colour", "all"], 1, "no attribute"),
        (["show", "pfn"], 1, ""),
    ):
        result = await beside("attribute", *args, "--lrc", lrc)
        assert (result.exit_code, words in result.output) == (status, True), (args, result.output)
    assert (await beside("attribute", "undefine", "lfn", "size", "--clear", "--lrc", lrc)).exit_code == 0
