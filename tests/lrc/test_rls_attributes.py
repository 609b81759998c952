"""Attributes over the RLS port: what the original's sessions show, its codes, and what it got wrong done right."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from plain_http import ask
from rls_client import RlsClient, connected

from lrc import server
from lrc.catalog import Catalog
from lrc.check import check
from lrc.settings import LrcRlsSettings, LrcSettings
from reploc import service
from reploc.members import IndexSettings
from reploc.rls.protocol import METHODS, Code

LONGEST = "/" + "é" * 2047 + "a"
DATE, FLOAT, INT, STRING = "0", "1", "2", "3"
LFN, PFN = "0", "1"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RlsClient]:
    """A connection to a served catalog of two LFNs and four attributes, which ends with the product's own check."""
    told = LrcSettings(
        site="SITE",
        store=str(tmp_path / "store"),
        listen="127.0.0.1:0",
        index=IndexSettings(nodes=[], redundancy=1),
        rls=LrcRlsSettings(listen="127.0.0.1:0"),
    )
    async with AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(server.compose(told))
        base = await stack.enter_async_context(service.listening(daemon, told))
        async with connected((await ask(base + "/v1/status"))[1]["rls_url"]) as connection:
            await connection.ask("lrc_create_bulk", items=["lfnA", "pfnA", "lfnB", "pfnB"])
            for name, kind in (("a_date", DATE), ("a_float", FLOAT), ("a_int", INT), ("a_string", STRING)):
                assert await connection.ask("lrc_attr_create", name, LFN, kind) == (0, [])
            yield connection
    with Catalog.open(tmp_path / "store", read_only=True) as catalog:
        assert check(catalog).findings == []


async def test_the_captured_sessions_of_the_original_are_answered_byte_for_byte(client: RlsClient) -> None:
    client.send("lrc_attr_add", "lfnA", "0", "0", "a_date", "20030201123456")
    assert await client.reader.readexactly(2) == b"0\0"
    await client.ask("lrc_attr_add", "lfnA", "0", "1", "a_float", "3.250000")
    await client.ask("lrc_attr_add", "lfnA", "0", "2", "a_int", "42")
    await client.ask("lrc_attr_add", "lfnA", "0", "3", "a_string", "hello world")
    client.send("lrc_attr_value_get", "lfnA", "", "0")
    expected = b"0\0a_date\x000\x002003-02-01 12:34:56\0a_float\x001\x003.25\0a_int\x002\x0042\0"
    expected += b"a_string\x003\0hello world\0\0"
    assert await client.reader.readexactly(len(expected)) == expected
    client.send("lrc_attr_search", "a_int", "0", "4", "42", "", "0", "0")
    assert await client.reader.readexactly(13) == b"0\0lfnA\x002\x0042\0\0"


async def test_attributes_are_defined_listed_and_undefined(client: RlsClient) -> None:
    assert await client.ask("lrc_attr_create", "a_int", LFN, INT) == (22, ["a_int"])
    assert await client.ask("lrc_attr_get", "a_int", LFN) == (0, ["a_int", INT])
    assert len((await client.ask("lrc_attr_get", "", LFN))[1]) == 8
    assert await client.ask("lrc_attr_get", "", PFN) == (23, ["NULL"])
    assert await client.ask("lrc_attr_get", "x", LFN) == (23, ["x"])
    await client.ask("lrc_attr_add", "lfnA", LFN, INT, "a_int", "1")
    assert await client.ask("lrc_attr_delete", "a_int", LFN, "0") == (22, ["a_int"])
    assert await client.ask("lrc_attr_delete", "a_int", LFN, "1") == (0, [])
    assert await client.ask("lrc_attr_delete", "a_int", LFN, "1") == (23, ["a_int"])
    assert await client.ask("lrc_attr_value_get", "lfnA", "", LFN) == (23, ["lfnA"])


async def test_values_are_added_modified_and_removed_with_the_codes_of_the_original(client: RlsClient) -> None:
    assert await client.ask("lrc_attr_modify", "lfnA", "a_int", LFN, INT, "1") == (29, ["a_int"])
    assert await client.ask("lrc_attr_add", "lfnA", LFN, INT, "a_int", "1") == (0, [])
    assert await client.ask("lrc_attr_add", "lfnA", LFN, INT, "a_int", "2") == (22, ["a_int"])
    assert await client.ask("lrc_attr_add", "lfnA", LFN, STRING, "a_int", "2") == (21, ["specified 3 should be 2"])
    assert await client.ask("lrc_attr_add", "lfnZ", LFN, INT, "a_int", "2") == (12, ["lfnZ"])
    assert await client.ask("lrc_attr_add", "pfnA", PFN, INT, "a_int", "2") == (23, ["a_int"])
    assert (await client.ask("lrc_attr_add", "lfnA", LFN, STRING, "a_string", ""))[0] == 6
    assert (await client.ask("lrc_attr_add", "lfnA", LFN, INT, "a_int", "1x"))[0] == 6
    assert (await client.ask("lrc_attr_add", "lfnA", LFN, DATE, "a_date", "20031301000000"))[0] == 6
    assert (await client.ask("lrc_attr_add", "lfnA", LFN, FLOAT, "a_float", "nan"))[0] == 6
    assert await client.ask("lrc_attr_modify", "lfnA", "a_int", LFN, INT, "3") == (0, [])
    assert await client.ask("lrc_attr_value_get", "lfnA", "a_int", LFN) == (0, ["a_int", INT, "3"])
    assert await client.ask("lrc_attr_value_get", "lfnZ", "a_int", LFN) == (12, ["lfnZ"])
    assert await client.ask("lrc_attr_value_get", "lfnZ", "", LFN) == (23, ["lfnZ"])
    assert await client.ask("lrc_attr_value_get", "lfnB", "a_int", LFN) == (23, ["lfnB"])
    assert await client.ask("lrc_attr_value_get", "lfnA", "x", LFN) == (23, ["x"])
    assert await client.ask("lrc_attr_remove", "lfnB", "a_int", LFN) == (23, ["lfnB: a_int"])
    assert await client.ask("lrc_attr_remove", "lfnA", "a_int", LFN) == (0, [])
    assert await client.ask("lrc_attr_remove", "lfnZ", "a_int", LFN) == (12, ["lfnZ"])


async def test_whole_numbers_of_64_bits_apostrophes_and_the_longest_names_are_right(client: RlsClient) -> None:
    await client.ask("lrc_create", LONGEST, "it's")
    for name, value in (("lfnA", "3000000000"), (LONGEST, str((1 << 63) - 1)), ("lfnB", str(-(1 << 63)))):
        assert await client.ask("lrc_attr_add", name, LFN, INT, "a_int", value) == (0, [])
        assert await client.ask("lrc_attr_value_get", name, "a_int", LFN) == (0, ["a_int", INT, value])
    found = (await client.ask("lrc_attr_search", "a_int", LFN, "3", "2147483647", "", "0", "0"))[1]
    assert found == ["lfnA", INT, "3000000000", LONGEST, INT, str((1 << 63) - 1)]
    assert (await client.ask("lrc_attr_add", "lfnA", LFN, INT, "a_int", str(1 << 63)))[0] == 6
    assert await client.ask("lrc_attr_create", "o'hara", PFN, STRING) == (0, [])
    assert await client.ask("lrc_attr_add", "it's", PFN, STRING, "o'hara", "x' or '1'='1") == (0, [])
    assert await client.ask("lrc_attr_search", "o'hara", PFN, "8", "x' or%", "", "0", "0") == (
        0,
        ["it's", STRING, "x' or '1'='1"],
    )


async def test_searches_compare_by_type_and_page_without_gaps(client: RlsClient) -> None:
    await client.ask("lrc_create_bulk", items=[name for n in range(25) for name in (f"l{n:02}", "p")])
    items = [token for n in range(25) for token in (f"l{n:02}", LFN, INT, "a_int", str(n - 5))]
    assert await client.ask("lrc_attr_add_bulk", items=items) == (0, [])

    async def found(op: str, first: str = "", second: str = "", offset: str = "0", limit: str = "0") -> list[str]:
        reply = await client.ask("lrc_attr_search", "a_int", LFN, op, first, second, offset, limit)
        return reply[1][2::3] if reply[0] == 0 else [str(reply[0])]

    assert await found("0") == [str(n) for n in range(-5, 20)]
    assert await found("1", "7") == ["7"]
    assert len(await found("2", "7")) == 24
    assert await found("3", "17") == ["18", "19"]
    assert await found("5", "-3") == ["-5", "-4"]
    assert await found("6", "-4") == ["-5", "-4"]
    assert await found("7", "9", "11") == ["9", "10", "11"]
    assert await found("1", "99") == ["12"]
    assert await found("7", "9") == ["6"]
    assert await found("8", "9%") == ["6"]
    assert await found("9", "1") == ["25"]
    pages = [await found("0", offset=str(at), limit="7") for at in range(0, 25, 7)]
    assert [value for page in pages for value in page] == [str(n) for n in range(-5, 20)]
    assert await found("0", offset="25", limit="7") == ["12"]


async def test_bulk_requests_list_their_failed_items(client: RlsClient) -> None:
    items = [
        *("lfnA", LFN, INT, "a_int", "1"),
        *("lfnZ", LFN, INT, "a_int", "1"),
        *("lfnA", LFN, INT, "x", "1"),
        *("lfnA", LFN, DATE, "a_int", "1"),
        *("lfnB", LFN, INT, "a_int", "one"),
        *("lfnB", "7", INT, "a_int", "1"),
        *("lfnA", LFN, INT, "a_int", "1"),
    ]
    failed = ["12", "lfnZ", "a_int", "23", "lfnA", "x", "21", "lfnA", "a_int", "6", "lfnB", "a_int"]
    failed += ["24", "lfnB", "a_int", "22", "lfnA", "a_int"]
    assert await client.ask("lrc_attr_add_bulk", items=items) == (0, failed)
    got = await client.ask("lrc_attr_value_get_bulk", "", LFN, items=["lfnA", "lfnB", "lfnZ"])
    assert got == (0, ["0", "lfnA", "a_int", INT, "1", "29", "lfnB", "", "12", "lfnZ", ""])
    assert await client.ask("lrc_attr_value_get_bulk", "a_int", LFN, items=["lfnB"]) == (0, ["29", "lfnB", "a_int"])
    removed = await client.ask("lrc_attr_remove_bulk", items=["lfnA", LFN, "a_int", "lfnA", LFN, "a_int"])
    assert removed == (0, ["29", "lfnA", "a_int"])


async def test_values_go_with_the_last_mapping_of_their_name(client: RlsClient) -> None:
    await client.ask("lrc_attr_add", "lfnA", LFN, INT, "a_int", "1")
    await client.ask("lrc_renamelfn", "lfnA", "lfnC")
    assert await client.ask("lrc_attr_value_get", "lfnC", "a_int", LFN) == (0, ["a_int", INT, "1"])
    await client.ask("lrc_delete", "lfnC", "pfnA")
    await client.ask("lrc_create", "lfnC", "pfnA")
    assert await client.ask("lrc_attr_value_get", "lfnC", "a_int", LFN) == (23, ["lfnC"])


async def test_a_read_sees_the_attribute_written_before_it_in_one_pipeline(client: RlsClient) -> None:
    client.send("lrc_attr_add", "lfnA", LFN, INT, "a_int", "1")
    client.send("lrc_attr_value_get", "lfnA", "a_int", LFN)
    assert await client.reply("lrc_attr_add") == (0, [])
    assert await client.reply("lrc_attr_value_get") == (0, ["a_int", INT, "1"])


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_asked_about_attributes_is_answered_and_never_by_a_fault(
    client: RlsClient, seed: int
) -> None:
    rng = Random(seed)
    tokens = [
        b"",
        b"0",
        b"1",
        b"2",
        b"3",
        b"8",
        b"9",
        b"-1",
        b"lfnA",
        b"lfnB",
        b"a_int",
        b"a_string",
        b"a_date",
        b"\xff",
    ]
    tokens += [
        b"a_date",
        b"%",
        b"x' or '1'='1",
        b"20030201123456",
        b"1e999",
        b"9" * 30,
        b"\x01",
        b"n" * 4_096,
        LONGEST.encode(),
    ]
    methods = sorted(method for method in METHODS if method.startswith(b"lrc_attr"))
    for _ in range(150):
        method = rng.choice(methods)
        shape = METHODS[method]
        asked = rng.choices(tokens, k=shape.parameters)
        if shape.item:
            firsts = [one for one in tokens if one]
            for _ in range(rng.randrange(3)):
                asked += [rng.choice(firsts), *rng.choices(tokens, k=shape.item - 1)]
            asked.append(b"")
        client.send(method, *asked)
        code, _ = await client.reply(method.decode())
        assert code != Code.DATABASE_ERROR, (method, asked)
    assert await client.ask("admin", "0") == (0, [])
