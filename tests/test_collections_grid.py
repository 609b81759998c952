"""Totals of collections from catalogs to index nodes over real sockets: exact, at once, and with positions to trust."""

from collections.abc import Mapping
from pathlib import Path

import aiohttp
import polars as pl
import pytest
from grid import Grid, Site, grid, until
from plain_http import ask

from reploc.client.lrc import LrcClient
from reploc.client.node import RliNodeClient
from reploc.errors import NotIndexed
from reploc.holdings import ARROW, POSITION_HEADER, VERSION_HEADER, CollectionSites, Holdings
from reploc.wire import DeleteItem, MappingItem

Rows = dict[str, tuple[int, int, int]]


async def put(site: Site, files: dict[str, str], size: int | None = 10) -> int:
    """Registers LFNs of collections at a site; the position of that."""
    async with LrcClient(site.url) as client:
        items = [MappingItem(lfn, site.pfn(lfn), size, collection=block) for lfn, block in files.items()]
        return (await client.put(items)).position


async def delete(site: Site, lfns: list[str]) -> int:
    async with LrcClient(site.url) as client:
        return (await client.delete([DeleteItem(lfn) for lfn in lfns])).position


async def holdings(made: Grid, node: str) -> Holdings:
    async with RliNodeClient(made.index.urls[node]) as client:
        return await client.holdings()


async def rows(made: Grid, node: str, site: str) -> tuple[Rows, Mapping[str, str]]:
    """What a node's stream of a site holds, and its headers."""
    url = f"{made.index.urls[node]}/v1/collections/arrow?site={site}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert (response.status, response.content_type) == (200, ARROW)
        frame = pl.read_ipc_stream(await response.read())
        return {name: (files, size, unknown) for name, files, size, unknown in frame.rows()}, response.headers


async def everything(made: Grid, site: str) -> Rows:
    """A site's rows over all nodes, each of which has those of its slots."""
    found: Rows = {}
    for node in made.nodes:
        found |= (await rows(made, node, site))[0]
    return found


async def reached(made: Grid, site: str, position: int) -> None:
    """Waits until every node's news of a site includes a position."""

    async def positions() -> list[int]:
        said = [await holdings(made, node) for node in made.nodes]
        return [one.position for each in said for one in each.sites if one.site == site and one.complete]

    await until(positions, lambda seen: len(seen) == len(made.nodes) and min(seen) >= position, "news arrives")


async def test_every_node_tells_each_sites_totals_of_its_slots(tmp_path: Path) -> None:
    blocks = {f"/lfn{number}": f"/data/set#{number % 40}" for number in range(400)}
    async with grid(tmp_path, nodes=3, redundancy=1) as made:
        one, two = await made.site("one.example.org"), await made.site("two.example.org")
        await put(one, blocks)
        await put(one, {"/unknown": "/data/set#0"}, size=None)
        await reached(made, one.name, await put(one, {"/alone": "/alone"}))
        await reached(made, two.name, await put(two, dict(list(blocks.items())[:40])))
        assert await everything(made, one.name) == {
            "/alone": (1, 10, 0),
            "/data/set#0": (11, 100, 1),
            **{f"/data/set#{number}": (10, 100, 0) for number in range(1, 40)},
        }
        assert await everything(made, two.name) == {f"/data/set#{number}": (1, 10, 0) for number in range(40)}
        said = [
            await until(lambda node=node: holdings(made, node), lambda seen: seen.complete, f"{node} knows all")
            for node in made.nodes
        ]
        assert [each.missing for each in said] == [[]] * len(said)
        covered = [slot for each in said for first, last in each.slots for slot in range(first, last + 1)]
        assert sorted(covered) == list(range(made.index.slots))
        async with RliNodeClient(made.index.urls["n0"]) as client:  # whichever node is asked
            for name, sites in [("/data/set#7", [10, 1]), ("/alone", [1]), ("/nowhere", [])]:
                found = await client.collection(name)
                assert (found.complete, [one.files for one in found.sites]) == (True, sites)


async def test_a_deletion_counts_at_once_and_the_position_includes_it(tmp_path: Path) -> None:
    """The filters wait for a build; who decides by totals what may go must not."""
    async with grid(tmp_path, nodes=2, rebuild_interval_s=3600.0) as made:
        site = await made.site("one.example.org")
        await put(site, {f"/lfn{number}": "/data#1" for number in range(1000)})
        position = await delete(site, [f"/lfn{number}" for number in range(3)])
        await reached(made, site.name, position)
        found, headers = await rows(made, "n0", site.name)
        assert found == {"/data#1": (997, 9970, 0)}
        assert int(headers[POSITION_HEADER]) >= position
        await reached(made, site.name, await delete(site, [f"/lfn{number}" for number in range(3, 1000)]))
        assert (await rows(made, "n0", site.name))[0] == {}


async def test_the_version_of_a_site_changes_with_its_totals_alone(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=1, full_interval_s=0.5) as made:
        site, other = await made.site("one.example.org"), await made.site("two.example.org")
        await reached(made, site.name, await put(site, {"/a": "/data#1"}))
        before, headers = await rows(made, "n0", site.name)
        version = headers[VERSION_HEADER]
        await reached(made, other.name, await put(other, {"/a": "/data#1"}))
        async with LrcClient(site.url) as client:  # another copy of the same file: the totals are what they were
            position = (await client.put([MappingItem("/a", "file:///another")])).position
        await reached(made, site.name, position)
        listed = {one.site: one for one in (await holdings(made, "n0")).sites}[site.name]
        assert (listed.version, listed.collections) == (version, 1)
        await reached(made, site.name, await put(site, {"/b": "/data#1"}))
        now, headers = await rows(made, "n0", site.name)
        assert (before, now) == ({"/data#1": (1, 10, 0)}, {"/data#1": (2, 20, 0)})
        assert headers[VERSION_HEADER] != version


async def test_a_site_that_fell_silent_is_missing_and_tells_nothing(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=1) as made:
        site = await made.site("one.example.org")
        await reached(made, site.name, await put(site, {"/a": "/data#1"}))
        await site.stop()
        said = await until(lambda: holdings(made, "n0"), lambda seen: not seen.sites, "the site is silent")
        assert (said.complete, said.missing) == (False, [site.name])
        status, problem = await ask(f"{made.index.urls['n0']}/v1/collections/arrow?site={site.name}")
        assert (status, problem["code"]) == (404, "site-unknown")
        async with RliNodeClient(made.index.urls["n0"]) as client:
            found = await client.collection("/data#1")
            assert (found.complete, found.missing, found.sites) == (False, [site.name], [])
        await site.start()
        await until(lambda: holdings(made, "n0"), lambda seen: seen.complete and bool(seen.sites), "it is back")
        assert (await rows(made, "n0", site.name))[0] == {"/data#1": (1, 10, 0)}


async def test_the_news_of_a_catalog_that_never_held_anything_is_complete(tmp_path: Path) -> None:
    """Its position is 0, which is no lack of news: who waits for all sites does not wait for the first file there."""
    async with grid(tmp_path, 2) as made:
        await put(await made.site("A"), {"/1": "/a#1"})
        await made.site("B")

        async def said() -> list[list[tuple[str, int, bool]]]:
            told = [await holdings(made, node) for node in made.nodes]
            return [[(one.site, one.position, one.complete) for one in each.sites] for each in told]

        both = [("A", 1, True), ("B", 0, True)]
        await until(said, lambda seen: seen == [both, both], "both sites are complete at both nodes")


async def test_an_index_that_is_told_of_no_collections_says_so(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=1, collections=False) as made:
        await made.settled((await made.site("one.example.org", ["/a"])).held)
        async with RliNodeClient(made.index.urls["n0"]) as client:
            with pytest.raises(NotIndexed, match=r"index\.collections is false"):
                await client.holdings()


async def test_nodes_of_parts_of_the_sites_answer_for_a_collection_together(tmp_path: Path) -> None:
    """Each is complete for its part alone, and must not take it for the whole."""
    async with grid(tmp_path, nodes=3, redundancy=1, lfn_partition="none", site_partition="site") as made:
        sites = [await made.site(f"site{number}.example.org") for number in range(6)]
        for site in sites:
            await put(site, {"/a": "/data#1"})

        async def found(node: str) -> CollectionSites:
            async with RliNodeClient(made.index.urls[node]) as client:
                return await client.collection("/data#1")

        def whole(seen: CollectionSites) -> bool:
            return seen.complete and not seen.missing and len(seen.sites) == len(sites)

        for node in made.nodes:
            await until(lambda node=node: found(node), whole, f"{node} names every site")
        alone = [len((await holdings(made, node)).sites) for node in made.nodes]
        assert sum(alone) == len(sites) and max(alone) < len(sites), "no node knows all sites"
        lost = next(node for node, number in zip(made.nodes, alone, strict=True) if number)
        await made.nodes[lost].stop()
        for node in made.nodes:
            if node != lost:
                seen = await found(node)
                assert not seen.complete and len(seen.sites) < len(sites)
