"""The catalog at its RLS port, over real sockets: every method, its codes, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from plain_http import ask
from rls_client import RlsClient, connected

from lrc import server
from lrc.catalog import Catalog
from lrc.check import check
from lrc.settings import LrcRlsSettings, LrcSettings
from reploc import service
from reploc.errors import ConfigInvalid
from reploc.members import IndexSettings

LONGEST = "/" + "é" * 2047 + "a"


def settings(path: Path, **rls: object) -> LrcSettings:
    return LrcSettings(
        site="SITE",
        store=str(path / "store"),
        listen="127.0.0.1:0",
        index=IndexSettings(nodes=[], redundancy=1),
        rls=LrcRlsSettings(**{"listen": "127.0.0.1:0"} | rls),  # type: ignore[arg-type]
    )


@asynccontextmanager
async def port(told: LrcSettings) -> AsyncIterator[str]:
    """The address of the RLS port of a catalog that is served."""
    async with server.compose(told) as daemon, service.listening(daemon, told) as base:
        yield (await ask(base + "/v1/status"))[1]["rls_url"]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """The RLS port of a served catalog, which ends with the product's own check."""
    told = settings(tmp_path, admin=True)
    async with port(told) as listening:
        yield listening
    with Catalog.open(tmp_path / "store", read_only=True) as catalog:
        assert check(catalog).findings == []


@pytest.fixture
async def client(url: str) -> AsyncIterator[RlsClient]:
    async with connected(url) as connection:
        yield connection


async def test_the_captured_session_of_the_original_is_answered_byte_for_byte(client: RlsClient) -> None:
    client.send("lrc_create", "lfnA", "pfnA1")
    assert await client.reader.readexactly(2) == b"0\0"
    client.send("lrc_add", "lfnZ", "pfnA2")
    assert await client.reader.readexactly(8) == b"12\0lfnZ\0"
    client.send("lrc_add", "lfnA", "pfnA2")
    assert await client.reader.readexactly(2) == b"0\0"
    client.send("lrc_get_pfn", "lfnA", "0", "0")
    assert await client.reader.readexactly(25) == b"0\0lfnA\0pfnA1\0lfnA\0pfnA2\0\0"
    client.send("lrc_get_pfn_wc", "zz%", "0", "0")
    assert await client.reader.readexactly(7) == b"12\0zz%\0"
    client.send("close")
    assert await client.at_end()


async def test_mappings_are_created_added_and_deleted_with_the_codes_of_the_original(client: RlsClient) -> None:
    assert await client.ask("lrc_create", "a", "p1") == (0, [])
    assert await client.ask("lrc_create", "a", "p2") == (11, ["a"])
    assert await client.ask("lrc_add", "a", "p2") == (0, [])
    assert await client.ask("lrc_add", "a", "p2") == (20, ["a,p2"])
    assert await client.ask("lrc_add", "b", "p2") == (12, ["b"])
    assert await client.ask("lrc_create", "b", "p3") == (0, [])
    assert await client.ask("lrc_delete", "c", "p1") == (12, ["c"])
    assert await client.ask("lrc_delete", "a", "p9") == (14, ["p9"])
    assert await client.ask("lrc_delete", "a", "p3") == (10, ["a,p3"])
    assert await client.ask("lrc_delete", "a", "p1") == (0, [])
    assert await client.ask("lrc_get_pfn", "a", "0", "0") == (0, ["a", "p2"])
    assert await client.ask("lrc_delete", "a", "p2") == (0, [])
    assert await client.ask("lrc_exists", "a", "0") == (12, ["a,0"])


async def test_names_are_renamed(client: RlsClient) -> None:
    await client.ask("lrc_create", "a", "p1")
    await client.ask("lrc_create", "b", "p1")
    assert await client.ask("lrc_renamelfn", "a", "b") == (11, ["b"])
    assert await client.ask("lrc_renamelfn", "x", "y") == (12, ["x"])
    assert await client.ask("lrc_renamelfn", "a", "c") == (0, [])
    assert await client.ask("lrc_renamepfn", "p1", "q1") == (0, [])
    assert await client.ask("lrc_renamepfn", "p1", "q2") == (14, ["p1"])
    assert await client.ask("lrc_get_lfn", "q1", "0", "0") == (0, ["c", "q1", "b", "q1"])


async def test_existence_is_told_for_names_and_mappings(client: RlsClient) -> None:
    await client.ask("lrc_create", "a", "p")
    assert await client.ask("lrc_exists", "a", "0") == (0, [])
    assert await client.ask("lrc_exists", "p", "1") == (0, [])
    assert await client.ask("lrc_exists", "p", "0") == (12, ["p,0"])
    assert await client.ask("lrc_exists", "a", "1") == (14, ["a,1"])
    assert (await client.ask("lrc_exists", "a", "2"))[0] == 24
    assert await client.ask("lrc_mapping_exists", "a", "p") == (0, [])
    assert await client.ask("lrc_mapping_exists", "a", "q") == (10, ["a,q"])


async def test_lists_come_in_descending_order_and_pages_of_them_join_without_gap(client: RlsClient) -> None:
    await client.ask("lrc_create_bulk", items=[name for n in range(25) for name in (f"l_{n:02}", f"p{n % 5}")])
    all_of = [token for n in reversed(range(25)) for token in (f"l_{n:02}", f"p{n % 5}")]
    assert await client.ask("lrc_get_pfn_wc", r"l\_%", "0", "0") == (0, all_of)
    assert await client.ask("lrc_get_pfn_wc", "l%", "7", "0") == (0, all_of), "an offset without a limit is ignored"
    pages = [(await client.ask("lrc_get_pfn_wc", "l%", str(at), "7"))[1] for at in range(0, 25, 7)]
    assert [token for page in pages for token in page] == all_of
    assert await client.ask("lrc_get_pfn_wc", "l%", "25", "7") == (12, ["l%"])
    assert await client.ask("lrc_get_pfn_wc", r"l\%%", "0", "0") == (12, [r"l\%%"])
    assert (await client.ask("lrc_get_lfn", "p3", "0", "0"))[1][::2] == ["l_23", "l_18", "l_13", "l_08", "l_03"]
    assert (await client.ask("lrc_get_lfn", "p3", "1", "2"))[1][::2] == ["l_18", "l_13"]
    by_pfn = (await client.ask("lrc_get_lfn_wc", "p_", "0", "0"))[1]
    assert by_pfn[1::2] == sorted(by_pfn[1::2], reverse=True)
    assert sorted(zip(by_pfn[::2], by_pfn[1::2], strict=True)) == sorted(zip(all_of[::2], all_of[1::2], strict=True))
    assert await client.ask("lrc_get_lfn_wc", "q%", "0", "0") == (14, ["q%"])


async def test_bulk_requests_list_their_failed_items_alone(client: RlsClient) -> None:
    assert await client.ask("lrc_create_bulk", items=["a", "p", "b", "p", "a", "q"]) == (0, ["11", "a", "q"])
    assert await client.ask("lrc_add_bulk", items=["a", "q", "z", "q", "b", "p"]) == (
        0,
        ["12", "z", "q", "20", "b", "p"],
    )
    assert await client.ask("lrc_get_pfn_bulk", items=["a", "z"]) == (0, ["0", "a", "p", "0", "a", "q", "12", "z"])
    assert await client.ask("lrc_get_lfn_bulk", items=["p", "z"]) == (0, ["0", "a", "p", "0", "b", "p", "14", "z"])
    assert await client.ask("lrc_exists_bulk", "0", items=["a", "z"]) == (0, ["0", "a", "", "12", "z"])
    assert await client.ask("lrc_renamelfn_bulk", items=["a", "c", "z", "y"]) == (0, ["12", "z", "y"])
    assert await client.ask("lrc_renamepfn_bulk", items=["p", "r"]) == (0, [])
    assert await client.ask("lrc_delete_bulk", items=["c", "r", "z", "p"]) == (0, ["12", "z", "p"])


async def test_awkward_names_pass_through(client: RlsClient) -> None:
    for lfn in ("it's", 'a"b', "a\\b", "%", "_", "é 𝄞", LONGEST, LONGEST[:-2] + "b"):
        assert await client.ask("lrc_create", lfn, "file://" + lfn[:2000]) == (0, []), lfn
        assert (await client.ask("lrc_get_pfn", lfn, "0", "0"))[1] == [lfn, "file://" + lfn[:2000]]
    assert len((await client.ask("lrc_get_pfn_wc", "%", "0", "0"))[1]) == 16
    assert len((await client.ask("lrc_get_lfn_wc", "%", "0", "0"))[1]) == 16


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (("lrc_create", "", "p"), 6),
        (("lrc_create", "a", ""), 6),
        (("lrc_create", b"\xff", "p"), 6),
        (("lrc_create", "a\x01", "p"), 6),
        (("lrc_get_pfn", "a", "x", "0"), 6),
        (("lrc_get_pfn", "a", "0", "-1"), 6),
        (("lrc_get_pfn", "a", "0", "99999999999"), 6),
        (("lrc_exists", "a", "7"), 24),
        (("admin", "9"), 6),
        (("admin", ""), 6),
        (("rli_get_lrc", "a", "0", "0"), 9),
        (("rli_lrc_list",), 9),
        (("rli_update", "rlsn://x", "Aa", ""), 9),
        (("lrc_attr_get", "", "0"), 23),
        (("lrc_attr_get", "", "2"), 24),
        (("lrc_attr_create", "n", "2", "2"), 24),
        (("lrc_attr_create", "n", "0", "4"), 21),
        (("lrc_attr_create", "", "0", "2"), 6),
        (("lrc_attr_create", "n" * 256, "0", "2"), 6),
        (("lrc_attr_delete", "n", "0", "1"), 23),
        (("lrc_attr_add", "a", "0", "2", "n", "1"), 23),
        (("lrc_attr_search", "n", "0", "0", "", "", "0", "0"), 23),
        (("lrc_rli_add", "rlsn://x", "1", "/a*"), 26),
        (("lrc_rli_add", "", "1", ""), 6),
        (("lrc_rli_add", "http://x", "0", ""), 6),
        (("lrc_rli_add", "rlsn://x", "", ""), 6),
        (("lrc_rli_add", "rlsn://x", "2", ""), 6),
        (("lrc_rli_delete", "rlsn://x", ""), 19),
        (("set_configuration", "port", "1"), 6),
        (("set_configuration", "", "1"), 6),
        (("set_configuration", "update_factor", ""), 6),
        (("set_configuration", "update_factor", "0"), 6),
        (("set_configuration", "update_immediate", "perhaps"), 6),
        (("set_configuration", "update_buftime", "nan"), 6),
        (("lrc_rli_list",), 19),
        (("lrc_rli_info", "rlsn://x"), 19),
        (("lrc_rli_get_part", "", ""), 19),
    ],
)
async def test_a_request_that_cannot_be_right_is_refused_and_the_connection_goes_on(
    client: RlsClient, request_: tuple[str | bytes, ...], code: int
) -> None:
    client.send(*request_)
    assert int(await client.token()) == code
    await client.token()
    assert await client.ask("admin", "0") == (0, [])
    assert await client.ask("lrc_get_pfn_wc", "%", "0", "0") == (12, ["%"]), "nothing was registered"


async def test_an_unknown_method_ends_the_connection(client: RlsClient) -> None:
    client.send("lrc_frobnicate", "a")
    assert (await client.token(), await client.token()) == ("8", "lrc_frobnicate")
    assert await client.at_end()


async def test_bytes_without_end_are_refused(client: RlsClient) -> None:
    client.writer.write(b"lrc_get_pfn\0" + b"a" * 5_000)
    assert await client.token() == "6"
    assert "4097 bytes" in await client.token()
    assert await client.at_end()


async def test_pipelined_requests_are_answered_in_order_and_see_the_writes_before_them(client: RlsClient) -> None:
    for number in range(300):
        client.send("lrc_create", f"l{number}", f"p{number}")
        client.send("lrc_get_pfn", f"l{number}", "0", "0")
        client.send("LRC_Get_PFN", f"m{number}", "0", "0")
    for number in range(300):
        assert await client.reply("lrc_create") == (0, [])
        assert await client.reply("lrc_get_pfn") == (0, [f"l{number}", f"p{number}"])
        assert await client.reply("lrc_get_pfn") == (12, [f"m{number}"])


async def test_requests_of_many_connections_are_answered_to_each(url: str) -> None:
    async def one(number: int) -> None:
        async with connected(url) as client:
            assert await client.ask("lrc_create", f"l{number}", f"p{number}") == (0, [])
            for _ in range(20):
                assert await client.ask("lrc_get_pfn", f"l{number}", "0", "0") == (0, [f"l{number}", f"p{number}"])
                assert (await client.ask("lrc_get_pfn", "", "0", "0"))[0] == 6, "what one gets wrong is its own"

    await asyncio.gather(*(one(number) for number in range(20)))


async def test_requests_may_be_cut_at_any_byte(client: RlsClient) -> None:
    for byte in b"lrc_create\0a\0p\0lrc_get_pfn\0a\0000\0000\0".replace(b"\0000", b"\00"):
        client.writer.write(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert await client.reply("lrc_create") == (0, [])
    assert await client.reply("lrc_get_pfn") == (0, ["a", "p"])


async def test_statistics_and_configuration_name_what_there_is(client: RlsClient) -> None:
    await client.ask("lrc_create", "a", "p")
    code, said = await client.ask("stats")
    assert code == 0
    assert "." in said[0]
    assert said[2] == "33"
    assert said[5:] == ["1", "1", "1", "0", "0", "0", "0"]
    assert await client.ask("get_configuration", "idletimeout") == (0, ["idletimeout", "900"])
    assert await client.ask("get_configuration", "port2") == (0, ["port2", "unknown option"])
    assert "myurl" in (await client.ask("get_configuration", ""))[1]


async def test_index_servers_are_added_and_removed_as_by_the_admin_tool_of_the_original(client: RlsClient) -> None:
    assert await client.ask("lrc_rli_add", "rlsn://a.invalid/", "0", "lfn*") == (0, [])
    assert await client.ask("lrc_rli_add", "rlsn://b.invalid:7", "1", "") == (0, [])
    assert await client.ask("lrc_rli_add", "rlsn://a.invalid:39281", "0", "x?") == (0, [])
    assert await client.ask("lrc_rli_add", "rlsn://a.invalid", "0", "x?") == (18, ["rlsn://a.invalid:39281"])
    assert await client.ask("lrc_rli_add", "rlsn://b.invalid:7", "0", "") == (18, ["rlsn://b.invalid:7"])
    rows = ["rlsn://a.invalid:39281", "86400", "0", "0", "rlsn://b.invalid:7", "300", "1", "0"]
    assert await client.ask("lrc_rli_list") == (0, rows)
    assert await client.ask("lrc_rli_info", "rlsn://b.invalid:7/") == (0, rows[4:])
    parts = ["rlsn://a.invalid:39281", "lfn*", "rlsn://a.invalid:39281", "x?"]
    client.send("lrc_rli_get_part", "", "")
    assert [await client.token() for _ in range(8)] == ["0", *parts, "rlsn://b.invalid:7", "", ""]
    assert await client.ask("lrc_rli_get_part", "rlsn://a.invalid", "x?") == (0, parts[2:])
    assert await client.ask("lrc_rli_get_part", "", "none") == (19, ["NULL,none"])
    assert (await client.ask("stats"))[1][2] == "49", "it sends lists now"
    assert await client.ask("lrc_rli_delete", "rlsn://a.invalid", "none") == (0, [])
    assert await client.ask("lrc_rli_delete", "rlsn://a.invalid", "x?") == (0, [])
    assert await client.ask("lrc_rli_delete", "rlsn://b.invalid:7", "") == (0, [])
    assert await client.ask("lrc_rli_get_part", "", "") == (0, parts[:2])
    assert await client.ask("lrc_rli_delete", "rlsn://a.invalid", "lfn*") == (0, [])
    assert await client.ask("lrc_rli_list") == (19, ["Not updating any RLI servers"])


async def test_how_updates_are_sent_is_configured_under_old_names_and_new_ones(client: RlsClient) -> None:
    assert await client.ask("set_configuration", "update_factor", "10") == (0, [])
    assert await client.ask("set_configuration", "lrc_update_ll", "3600") == (0, [])
    assert await client.ask("set_configuration", "update_immediate", "false") == (0, [])
    assert await client.ask("get_configuration", "lrc_update_factor") == (0, ["lrc_update_factor", "10"])
    assert await client.ask("get_configuration", "update_ll_int") == (0, ["update_ll_int", "3600"])
    assert await client.ask("get_configuration", "update_immediate") == (0, ["update_immediate", "false"])
    await client.ask("lrc_rli_add", "rlsn://a.invalid", "0", "")
    assert (await client.ask("lrc_rli_list"))[1][1] == "3600", "the factor counts with immediate alone"


async def test_a_catalog_is_cleared_by_who_may(client: RlsClient, tmp_path: Path) -> None:
    await client.ask("lrc_create_bulk", items=[name for n in range(2_500) for name in (f"l{n}", f"p{n}")])
    assert await client.ask("lrc_clear") == (0, [])
    assert await client.ask("lrc_get_pfn_wc", "%", "0", "0") == (12, ["%"])
    told = settings(tmp_path / "other")
    async with port(told) as url, connected(url) as other:
        assert (await other.ask("lrc_clear"))[0] == 7
        assert (await other.ask("admin", "1"))[0] == 7
        assert (await other.ask("lrc_rli_add", "rlsn://x", "0", ""))[0] == 7
        assert (await other.ask("lrc_rli_delete", "rlsn://x", ""))[0] == 7
        assert (await other.ask("set_configuration", "update_factor", "1"))[0] == 7


async def test_too_many_connections_are_told_so(tmp_path: Path) -> None:
    told = settings(tmp_path, connections_max=2)
    async with server.compose(told) as daemon, service.listening(daemon, told) as base:
        url = (await ask(base + "/v1/status"))[1]["rls_url"]
        async with connected(url), connected(url), connected(url, greeting="28") as third:
            assert await third.token() == "2"
            assert await third.at_end()
        async with connected(url) as again:
            assert await again.ask("admin", "0") == (0, [])


async def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    told = settings(tmp_path, idle_s=0.05)
    async with port(told) as url, connected(url) as client:
        assert await client.at_end()


async def test_a_client_that_closes_its_side_gets_its_answers(client: RlsClient) -> None:
    client.send("lrc_create", "a", "p")
    client.send("lrc_get_pfn", "a", "0", "0")
    client.writer.write_eof()
    assert await client.reply("lrc_create") == (0, [])
    assert await client.reply("lrc_get_pfn") == (0, ["a", "p"])
    assert await client.at_end()


async def test_the_port_is_for_loopback_unless_told(tmp_path: Path) -> None:
    told = settings(tmp_path, listen="0.0.0.0:0")
    with pytest.raises(ConfigInvalid, match=r"rls\.listen.*beyond loopback"):
        async with server.compose(told) as daemon, service.listening(daemon, told):
            pass
