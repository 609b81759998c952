"""Index nodes that are told filters and relay them to parents, over real sockets: every lookup is held to the truth.

`docs/hierarchy.md`: filters of different sites are not put together; a node relays its senders' columns under its own
name, and a client believes a site from its own catalog alone.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from grid import Service, Site, node, pfns, until
from tree import Tree, above, level, tree

from reploc.client.node import RliNodeClient
from reploc.client.resolve import Lookup
from reploc.hierarchy import Child
from reploc.members import IndexSettings
from reploc.questions import Demand

LFNS = [f"/run/{number}" for number in range(60)]


def filtered(*names: str, **changes: Any) -> IndexSettings:
    return level(*names, compression="bloom", **changes)


async def test_a_parent_names_the_node_that_relays_and_lookups_find_the_sites(tmp_path: Path) -> None:
    eu, us, root = filtered("eu"), filtered("us"), filtered("root")
    async with tree(tmp_path, [eu, us], [root]) as made:
        await made.site("cern", eu, LFNS)
        await made.site("desy", eu, LFNS[::2])
        await made.site("fnal", us, LFNS[::3])
        await made.settled([*LFNS, "/nowhere"])
        async with RliNodeClient(made.nodes["root"].url) as client:
            nodes = [(name, made.nodes[name].url) for name in ("eu", "us")]
            await until(
                lambda: client.location(LFNS[0]),
                lambda said: sorted((each.site, each.lrc) for each in said.sites) == nodes,
                "a node is named once, however many of its senders may have it",
            )
            many = await client.locations(LFNS)
            assert all(len(set(sites)) == len(sites) for sites in many.locations.values())
            assert many.sites.keys() <= {"eu", "us"}
            await until(
                lambda: client.location(LFNS[0], Demand(verify=True)),
                lambda said: sorted(each.site for each in said.sites) == ["cern", "desy", "fnal"],
                "the node goes down itself",
            )
            members = {member.name: member.kind for member in (await client.members()).members}
            assert members == dict.fromkeys(["eu", "us", "eu/cern", "eu/desy", "us/fnal"], "child") | {"root": "rli"}
        await made.sites["cern"].delete(LFNS[:30])
        await made.sites["fnal"].put([f"/new/{number}" for number in range(40)])
        await made.settled([*LFNS, *(f"/new/{number}" for number in range(40)), "/nowhere"])
        async with RliNodeClient(made.nodes["eu"].url) as client:
            [told] = (
                await until(client.status, lambda seen: seen.parents[0].state == "current", "all is taken")
            ).parents
            assert (told.node, told.owed_slots) == ("root", 0)


async def test_three_levels_relay_what_nodes_of_a_parted_index_hold(tmp_path: Path) -> None:
    """The lowest nodes hold half of the LFNs each; the loss of one of two nodes between is not noticed."""
    low = filtered("low-1", "low-2", lfn_partition="hash", redundancy=1)
    middle, root = filtered("mid-1", "mid-2"), filtered("root")
    async with tree(tmp_path, [low], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.site("b", low, LFNS[::4])
        await made.settled([*LFNS, "/nowhere"])
        await made.nodes["mid-1"].stop()
        await until(
            lambda: checked(made), lambda said: pfns(said) == made.truth(LFNS), "one of two nodes that know the same"
        )
        await made.sites["a"].delete(LFNS[:9])
        await made.sites["b"].put(["/late"])
        await made.nodes["mid-1"].start()
        await made.settled([*LFNS, "/late", "/nowhere"])


async def test_what_is_lacking_below_is_named_with_the_way_there(tmp_path: Path) -> None:
    low, middle, root = filtered("low"), filtered("middle"), filtered("root")
    async with tree(tmp_path, [low], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.site("b", low, LFNS[::2])
        await made.settled([*LFNS, "/nowhere"])
        await made.sites["b"].stop()
        async with RliNodeClient(made.nodes["root"].url) as client:
            said = await until(
                lambda: client.location("/nowhere"),
                lambda seen: "middle/low/b" in seen.missing,
                "the root says which site is lacking",
            )
            assert (said.complete, said.sites) == (False, [])
        await made.sites["b"].start()
        await made.settled([*LFNS, "/nowhere"])


async def test_a_new_site_and_restarts_never_make_a_complete_answer_wrong(tmp_path: Path) -> None:
    low, middle, root = filtered("low"), filtered("middle"), filtered("root")
    async with tree(tmp_path, [low], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.settled([*LFNS, "/nowhere"])
        for name in ("low", "middle"):
            await _asked_while(made, _restarted(made.nodes[name]))
            await made.settled([*LFNS, "/nowhere"])
        await made.nodes["root"].stop()
        await made.nodes["root"].start()
        await made.settled([*LFNS, "/nowhere"])
        await made.site("b", low, [f"/b/{number}" for number in range(30)])
        await made.settled([*LFNS, *(f"/b/{number}" for number in range(30)), "/nowhere"])


async def checked(made: Tree) -> Lookup:
    """A lookup of all names, which has every copy or does not call itself complete."""
    said = await made.client.lookup(LFNS, 1.0)
    assert pfns(said) == made.truth(LFNS) or not said.complete
    return said


async def _restarted(service: Service) -> None:
    await service.stop()
    await asyncio.sleep(0.2)
    await service.start()


async def _asked_while(made: Tree, change: Awaitable[None]) -> None:
    """No lookup misses a copy and calls itself complete while something changes, and a moment longer."""

    async def ask() -> None:
        while True:
            await checked(made)
            await asyncio.sleep(0.01)

    asking = asyncio.create_task(ask())
    await change
    await asyncio.wait([asking], timeout=1.0)
    if asking.done():
        await asking
    asking.cancel()


async def test_a_circle_of_relays_is_refused_by_whoever_would_hear_its_own_words(tmp_path: Path) -> None:
    indexes = {name: filtered(name) for name in "abc"}
    nodes: dict[str, Service] = {}
    for name, child, parent in (("a", "c", "b"), ("b", "a", "c"), ("c", "b", "a")):
        nodes[name] = node(name, indexes[name], children=[Child(name=child)], parents=above(indexes[parent]))
    site = Site("site", tmp_path / "site", indexes["a"])
    try:
        for each in [*nodes.values(), site]:
            await each.start()
        await site.put(LFNS)
        async with RliNodeClient(nodes["c"].url) as last, RliNodeClient(nodes["a"].url) as first:
            refused = await until(
                last.status, lambda said: said.parents[0].state == "refused", "what came through it is refused"
            )
            assert "'a' would hear its own news" in refused.parents[0].error
            found = await until(
                lambda: last.locations(LFNS),
                lambda said: all("b" in sites for sites in said.locations.values()),
                "what is below it is found",
            )
            assert found.sites.keys() == {"b"}
            await until(
                first.members,
                lambda said: not [one for one in said.members if one.name.startswith("c/") and one.state == "live"],
                "nobody hears its own words",
            )
    finally:
        for each in [site, *nodes.values()]:
            await each.stop()
