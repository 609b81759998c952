"""An index node at its RLS port: one answer from our catalogs and from those of the Globus RLS, and what is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from grid import index_settings, until
from plain_http import MSGPACK, ask
from rls_client import RlsClient, connected
from sender_double import SenderDouble

from reploc import service
from reploc.members import IndexSettings
from reploc.rls.bloom import build
from rli import server
from rli.settings import RliRlsSettings, RliSettings

OLD = "rlsn://old.example:39281"
LFNS = [f"/lfn/{number}" for number in range(200)]


@asynccontextmanager
async def served(index: IndexSettings, **rls: object) -> AsyncIterator[tuple[str, str]]:
    """A node: its address, and that of its RLS port."""
    told = RliSettings(
        node="n0",
        listen="127.0.0.1:0",
        index=index,
        rls=RliRlsSettings(**{"listen": "127.0.0.1:0"} | rls),  # type: ignore[arg-type]
    )
    async with server.compose(told) as daemon, service.listening(daemon, told) as url:
        yield url, (await ask(url + "/v1/status"))[1]["rls_url"]


@pytest.fixture
async def index() -> IndexSettings:
    """One node, which is complete soon, and forgets no sender while a test lasts."""
    return index_settings(1, slots=4, renewal_interval_s=0.05, expiry_s=0.2)


@pytest.fixture
async def client(index: IndexSettings) -> AsyncIterator[RlsClient]:
    async with served(index) as (url, rls_url), connected(rls_url) as connection:
        await until(lambda: ask(url + "/readyz"), lambda said: said[0] == 200, "the node is complete")
        yield connection


async def tell(url: str, sender: SenderDouble) -> None:
    news = msgspec.msgpack.encode(sender.news())
    assert (await ask(url + "/v1/softstate", data=news, media=MSGPACK))[0] == 200


def send_filter(client: RlsClient, url: str, names: list[str], life: str = "86400") -> None:
    bits, functions = 5000, 3
    client.send("rli_updatebf", url, str(bits), str(functions), life)
    client.writer.write(build(bits, functions, [name.encode() for name in names]))


async def test_names_that_our_catalogs_may_hold_are_found_with_their_addresses() -> None:
    index = index_settings(1, slots=4, expiry_s=3600.0)
    async with served(index) as (url, rls_url), connected(rls_url) as client:
        await tell(url, SenderDouble(index, "A", "http://a:1", "sender-a", names=LFNS[:100]))
        await tell(url, SenderDouble(index, "B", "http://b:1", "sender-b", names=LFNS[50:150]))
        assert await client.ask("rli_get_lrc", LFNS[0], "0", "0") == (0, [LFNS[0], "http://a:1"])
        assert await client.ask("rli_get_lrc", LFNS[60], "0", "0") == (
            0,
            [LFNS[60], "http://a:1", LFNS[60], "http://b:1"],
        )
        assert await client.ask("rli_get_lrc", LFNS[60], "1", "5") == (0, [LFNS[60], "http://b:1"])
        assert await client.ask("rli_get_lrc", LFNS[60], "2", "5") == (12, [LFNS[60]])
        assert await client.ask("rli_exists", LFNS[60], "2") == (0, [])
        assert await client.ask("rli_exists", "http://a:1", "3") == (0, [])
        assert await client.ask("rli_exists", "http://c:1", "3") == (16, ["http://c:1,3"])
        assert await client.ask("rli_mapping_exists", LFNS[0], "http://a:1") == (0, [])
        assert await client.ask("rli_mapping_exists", LFNS[0], "http://b:1") == (10, [f"{LFNS[0]},http://b:1"])
        code, said = await client.ask("rli_lrc_list")
        assert (code, said[::2]) == (0, ["http://a:1", "http://b:1"])
        assert (await client.ask("rli_get_lrc_wc", "%", "0", "0"))[0] == 26


async def test_nowhere_is_said_by_a_complete_node_alone(client: RlsClient) -> None:
    assert await client.ask("rli_get_lrc", "/nowhere", "0", "0") == (12, ["/nowhere"])
    async with served(index_settings(1, slots=4, expiry_s=3600.0)) as (_, rls_url), connected(rls_url) as young:
        code, [why] = await young.ask("rli_get_lrc", "/nowhere", "0", "0")
        assert (code, why) == (17, "not heard from all senders yet")


async def test_lists_of_a_globus_catalog_are_taken_and_found(client: RlsClient) -> None:
    assert await client.ask("rli_lrc_list") == (19, ["Not updated by any LRC servers"])
    assert await client.ask("rli_update", OLD, items=["Aa", "Ab_1", "Ab%2", "Acé"]) == (0, [])
    assert await client.ask("rli_update", OLD + "/", items=["Da", "Ad", "Dnone"]) == (0, [])
    assert await client.ask("rli_get_lrc", "a", "0", "0") == (12, ["a"])
    assert await client.ask("rli_get_lrc", "d", "0", "0") == (0, ["d", OLD])
    assert await client.ask("rli_get_lrc_bulk", items=["d", "a", "cé"]) == (
        0,
        ["0", "d", OLD, "12", "a", "0", "cé", OLD],
    )
    assert await client.ask("rli_exists_bulk", "2", items=["d", "a"]) == (0, ["0", "d", "12", "a"])
    assert (await client.ask("rli_get_lrc_wc", "%", "0", "0"))[1][::2] == ["d", "cé", "b_1", "b%2"]
    assert (await client.ask("rli_get_lrc_wc", r"b\_%", "0", "0"))[1] == ["b_1", OLD]
    assert (await client.ask("rli_get_lrc_wc", "b%", "1", "1"))[1] == ["b%2", OLD]
    assert (await client.ask("rli_get_lrc_wc", "z%", "0", "0")) == (12, ["z%"])
    code, said = await client.ask("rli_lrc_list")
    assert (code, said[0]) == (0, OLD)


async def test_what_is_right_in_an_update_counts_beside_what_is_not(client: RlsClient) -> None:
    assert await client.ask("rli_update", OLD, items=["Aa", "Xb", "Ac"]) == (6, ["rli_update: Invalid command: 88"])
    assert (await client.ask("rli_get_lrc_bulk", items=["a", "b", "c"]))[1] == ["0", "a", OLD, "12", "b", "0", "c", OLD]


async def test_filters_of_a_globus_catalog_are_taken_replaced_and_never_half_shown(client: RlsClient) -> None:
    send_filter(client, OLD, LFNS)
    assert await client.reply("rli_updatebf") == (0, [])
    for lfn in LFNS:
        assert await client.ask("rli_get_lrc", lfn, "0", "0") == (0, [lfn, OLD])
    assert (await client.ask("rli_get_lrc_wc", "%", "0", "0"))[0] == 26
    client.send("rli_updatebf", OLD, "5000", "3", "86400")
    client.writer.write(build(5000, 3, [b"other"])[:300])
    await client.writer.drain()
    client.writer.write(build(5000, 3, [b"other"])[300:])
    assert await client.reply("rli_updatebf") == (0, [])
    assert await client.ask("rli_get_lrc", "other", "0", "0") == (0, ["other", OLD])
    assert (await client.ask("rli_get_lrc", LFNS[0], "0", "0"))[0] == 12


async def test_a_filter_that_breaks_off_leaves_the_last_good_one(index: IndexSettings) -> None:
    async with served(index) as (_, rls_url), connected(rls_url) as client:
        send_filter(client, OLD, LFNS)
        assert await client.reply("rli_updatebf") == (0, [])
        async with connected(rls_url) as broken:
            broken.send("rli_updatebf", OLD, "5000", "3", "86400")
            broken.writer.write(b"\0" * 300)
            await broken.writer.drain()
        assert await client.ask("rli_get_lrc", LFNS[7], "0", "0") == (0, [LFNS[7], OLD])


async def test_names_and_filters_that_are_not_renewed_are_dropped(index: IndexSettings) -> None:
    async with served(index, stale_s=0.3) as (url, rls_url), connected(rls_url) as client:
        await until(lambda: ask(url + "/readyz"), lambda said: said[0] == 200, "the node is complete")
        assert await client.ask("rli_update", OLD, items=["Aa"]) == (0, [])
        send_filter(client, "rlsn://other.example", LFNS, life="0")
        assert await client.reply("rli_updatebf") == (0, [])
        await until(lambda: client.ask("rli_get_lrc", "a", "0", "0"), lambda said: said[0] == 12, "the name is stale")
        await until(lambda: client.ask("rli_lrc_list"), lambda said: said[0] == 19, "both are forgotten")
        assert (await client.ask("rli_get_lrc", LFNS[0], "0", "0"))[0] == 12


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (("rli_update", "http://x", "Aa", ""), 6),
        (("rli_update", "", "Aa", ""), 6),
        (("rli_update", "rlsn://" + "x" * 300, "Aa", ""), 6),
        (("rli_update", b"rlsn://\xff", "Aa", ""), 6),
        (("rli_update", OLD, "A", ""), 6),
        (("rli_update", OLD, b"A\xff", ""), 6),
        (("rli_updatebf", OLD, "7", "0", "1", b""), 6),
        (("rli_updatebf", OLD, "7", "9", "1", b""), 6),
        (("rli_updatebf", OLD, "0", "3", "1", b""), 6),
        (("rli_updatebf", OLD, "7", "3", "x", b""), 6),
        (("rli_get_lrc", "", "0", "0"), 6),
        (("rli_exists", "a", "0"), 24),
        (("lrc_get_pfn", "a", "0", "0"), 9),
        (("lrc_create", "a", "b"), 9),
        (("admin", "2"), 9),
        (("admin", "1"), 7),
        (("admin", "7"), 6),
        (("set_configuration", "a", "b"), 26),
        (("rli_rli_list",), 19),
    ],
)
async def test_a_request_that_cannot_be_right_is_refused_and_changes_nothing(
    client: RlsClient, request_: tuple[str | bytes, ...], code: int
) -> None:
    client.send(*request_)
    assert int(await client.token()) == code
    await client.token()
    assert await client.ask("admin", "0") == (0, [])
    assert await client.ask("rli_lrc_list") == (19, ["Not updated by any LRC servers"])


async def test_statistics_say_what_the_node_is(client: RlsClient) -> None:
    await client.ask("rli_update", OLD, items=["Aa", "Ab"])
    code, said = await client.ask("stats")
    assert (code, said[2], said[5:]) == (0, "14", ["0", "0", "0", "2", "1", "1", "2"])
    assert await client.ask("get_configuration", "rli_server") == (0, ["rli_server", "true"])
