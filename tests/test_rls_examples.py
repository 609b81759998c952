"""The five example systems of the Giggle paper, as files under `configs/`, each a grid that runs.

Names, addresses and pace of the nodes are a test's; everything else is the file's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grid import Grid, grid, pfns, until
from msgspec.structs import fields
from tree import level, tree

from lrc.settings import LrcSettings
from reploc import config
from reploc.client.lrc import LrcClient
from reploc.demo.grid import Example
from reploc.errors import NotIndexed
from reploc.hierarchy import Child
from reploc.members import IndexSettings
from reploc.wire import MappingItem
from rli.settings import RliSettings

CONFIGS = Path(__file__).parents[1] / "configs"
#: What a test does otherwise than the file: where the nodes are, how fine the slots, and how long everything takes.
PACE = {"nodes", "slots", "increment_interval_s", "renewal_interval_s", "full_interval_s", "expiry_s"}
FILES = {f"/run/{number}": f"/run#{number % 5}" for number in range(60)}
SITES = ("a.cern.ch", "b.fnal.gov", "c.bnl.gov")


def index_of(number: int) -> IndexSettings:
    return config.load(LrcSettings, CONFIGS / f"rls{number}.toml").index


@asynccontextmanager
async def running(number: int, path: Path) -> AsyncIterator[Grid]:
    """The example's grid, with two sites of each file's collection and a third that has every other file."""
    told = index_of(number)
    changes = {one.name: getattr(told, one.name) for one in fields(told) if one.name not in PACE}
    async with grid(path, nodes=len(told.nodes), **changes, full_interval_s=1.0) as made:
        for site, step in zip(SITES, (1, 1, 2), strict=True):
            held = dict(list(FILES.items())[::step])
            there = await made.site(site)
            async with LrcClient(there.url) as client:
                await client.put([MappingItem(lfn, there.pfn(lfn), 10, collection=of) for lfn, of in held.items()])
            there.held.update(held)
        yield made


def test_rls5_is_one_index_above_another() -> None:
    """The paper's RLS5, "Hierarchical index": several levels, of which the top may be redundant and hold the same."""
    told = config.load(Example, CONFIGS / "rls5.toml")
    assert (told.index.redundancy, told.parents.redundancy, len(told.parents.nodes)) == (1, 2, 2)
    for node in told.index.urls:
        RliSettings(node=node, index=told.index, parents=told.parents)
    children = [Child(name=name) for name in told.index.urls]
    for node in told.parents.urls:
        RliSettings(node=node, index=told.parents, children=children)


async def test_rls5_is_asked_at_the_top_and_loses_a_parent(tmp_path: Path) -> None:
    """The same: nodes at the top hold exactly the same mappings, so that either answers for all."""
    told = config.load(Example, CONFIGS / "rls5.toml")
    pace = {"slots", "increment_interval_s", "renewal_interval_s", "full_interval_s", "expiry_s", "nodes"}
    low, top = (
        level(*index.urls, **{one.name: getattr(index, one.name) for one in fields(index) if one.name not in pace})
        for index in (told.index, told.parents)
    )
    async with tree(tmp_path, [low], [top]) as made:
        for site, step in zip(SITES, (1, 1, 2), strict=True):
            await made.site(site, low, list(FILES)[::step])
        await made.settled([*FILES, "/nowhere"])
        await made.nodes["top-1"].stop()
        said = await made.client.lookup(list(FILES))
        assert said.complete
        assert pfns(said) == made.truth(list(FILES))


async def test_rls1_is_one_central_node_that_is_told_everything(tmp_path: Path) -> None:
    """The paper's RLS1: a single index node, to which each catalog sends its full, uncompressed state."""
    index = index_of(1)
    assert (len(index.nodes), index.redundancy, index.mode, index.compression) == (1, 1, "full", "none")
    async with running(1, tmp_path) as made:
        await made.settled([*FILES, "/nowhere"])
        await made.sites[SITES[0]].delete(["/run/3"])
        await made.settled(FILES)
        said = await made.client.locate(["/run/3"])
        gone = await until(
            lambda: made.client.locate(["/run/3"]), lambda seen: SITES[0] not in seen.said.locations["/run/3"], "exact"
        )
        assert gone.complete and said.complete


async def test_rls2_loses_a_node_and_answers_all_the_same(tmp_path: Path) -> None:
    """The paper's RLS2: parted by LFN, with redundancy, compressed with Bloom filters."""
    index = index_of(2)
    assert (index.lfn_partition, index.redundancy, index.compression) == ("hash", 2, "bloom")
    async with running(2, tmp_path) as made:
        await made.settled(FILES)
        await made.everywhere()
        await made.nodes["n1"].stop()
        assert (await made.right(FILES)).complete


async def test_rls3_answers_by_collection_and_knows_no_lfn(tmp_path: Path) -> None:
    """The paper's RLS3: compression, and partition of the LFNs, by collections of the domain."""
    index = index_of(3)
    assert (index.lfn_partition, index.compression) == ("collection", "collection")
    async with running(3, tmp_path) as made:
        for block in sorted(set(FILES.values())):
            lfns = [lfn for lfn, of in FILES.items() if of == block]
            await until(
                lambda block=block, lfns=lfns: made.client.lookup(lfns, collection=block),
                lambda seen, lfns=lfns: seen.complete and pfns(seen) == made.truth(lfns),
                f"{block} is complete, and the catalogs have the last word about its files",
            )
        with pytest.raises(NotIndexed, match="expected the collection"):
            await made.client.locate(["/run/1"])


async def test_rls4_asks_every_share_of_the_sites_and_survives_the_loss_of_a_node(tmp_path: Path) -> None:
    """The paper's RLS4: parted by site, with redundancy and Bloom filters."""
    index = index_of(4)
    assert (index.site_partition, index.redundancy, index.compression) == ("domain", 2, "bloom")
    async with running(4, tmp_path) as made:
        await made.settled([*FILES, "/nowhere"])
        await made.everywhere()
        assert all(len(needs) > 1 for needs in made.index.ring.needs)
        await made.nodes["n2"].stop()
        assert (await made.right(FILES)).complete
