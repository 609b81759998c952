"""Wildcards at the RLS port of an index that is told whole names: of all catalogs, whichever node is asked."""

from pathlib import Path

from grid import Service, Site, index_settings, until
from plain_http import ask
from rls_client import connected

import rli.server
from reploc.members import IndexSettings
from rli.settings import RliRlsSettings, RliSettings

OLD = "rlsn://old.example:39281"
LFNS = ["/it's", "/50%", "/500", "/a_b", "/axb", "/[a]", "/a", "/é", *(f"/lfn/{number}" for number in range(60))]


def node(name: str, index: IndexSettings, scratch: str = "") -> Service:
    url = index.urls[name]
    told = RliSettings(
        node=name,
        listen=url.removeprefix("http://"),
        index=index,
        matrix_bytes_max=1 << 30,
        lists_scratch=scratch,
        rls=RliRlsSettings(listen="127.0.0.1:0"),
    )
    return Service(rli.server.compose, told, url)


async def test_names_of_all_nodes_are_found_by_each_of_them_in_descending_order(tmp_path: Path) -> None:
    index = index_settings(2, redundancy=1, compression="none", expiry_s=3.0)
    nodes = [node("n0", index), node("n1", index, str(tmp_path))]
    sites = [Site(name, tmp_path / name, index) for name in ("A", "B")]
    try:
        for each in (*nodes, *sites):
            await each.start()
        await sites[0].put(LFNS)
        await sites[1].put(LFNS[::2])
        for each in nodes:
            await until(lambda url=each.url: ask(url + "/readyz"), lambda said: said[0] == 200, "the node is complete")
        for each in nodes:
            rls_url = (await ask(each.url + "/v1/status"))[1]["rls_url"]
            async with connected(rls_url) as client:
                every = await until(
                    lambda client=client: client.ask("rli_get_lrc_wc", "%", "0", "0"),
                    lambda said: len(said[1]) == 2 * (len(LFNS) + len(LFNS[::2])),
                    "all names of both catalogs are found",
                )
                names = every[1][::2]
                assert names == sorted(names, reverse=True)
                assert set(every[1][1::2]) == {site.url for site in sites}

                async def found(pattern: str, client=client) -> set[str]:  # type: ignore[no-untyped-def]
                    return set((await client.ask("rli_get_lrc_wc", pattern, "0", "0"))[1][::2])

                assert await found("/it'%") == {"/it's"}
                assert await found(r"/50\%") == {"/50%"}
                assert await found("/50%") == {"/50%", "/500"}
                assert await found(r"/a\_b") == {"/a_b"}
                assert await found("/a_b") == {"/a_b", "/axb"}
                assert await found("/[a]") == {"/[a]"}
                assert await found("/_") == {"/a", "/é"}
                assert await client.ask("rli_get_lrc_wc", "/nowhere%", "0", "0") == (12, ["/nowhere%"])
                pages = [(await client.ask("rli_get_lrc_wc", "%", str(at), "7"))[1] for at in range(0, len(names), 7)]
                assert [token for page in pages for token in page] == every[1]
                if each is nodes[0]:
                    assert await client.ask("rli_update", OLD, items=["A/lfn/old"]) == (0, [])
                    assert await client.ask("rli_get_lrc_wc", "/lfn/o%", "0", "0") == (0, ["/lfn/old", OLD])
    finally:
        for each in (*sites, *nodes):
            await each.stop()


async def test_nothing_is_not_said_to_match_by_a_node_that_has_not_heard_from_all() -> None:
    index = index_settings(1, compression="none", expiry_s=3600.0)
    young = node("n0", index)
    await young.start()
    try:
        async with connected((await ask(young.url + "/v1/status"))[1]["rls_url"]) as client:
            assert await client.ask("rli_get_lrc_wc", "%", "0", "0") == (17, ["not heard from all senders yet"])
    finally:
        await young.stop()
