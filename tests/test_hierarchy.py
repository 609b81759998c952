"""Index nodes that tell their news to parents, over real sockets: what a client of the root finds, and what it is told.

The Giggle paper, "RLS5: Hierarchical Index".
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from click.testing import CliRunner
from grid import Service, Site, node, pfns, until
from tree import Tree, above, level, tree

from reploc.cli import cli
from reploc.client.index import RliClient
from reploc.client.node import RliNodeClient
from reploc.errors import ReplocError
from reploc.hierarchy import Child
from reploc.questions import Demand

LFNS = [f"/run/{number}" for number in range(40)]


async def test_a_lookup_at_the_root_finds_the_copies_of_all_sites_below(tmp_path: Path) -> None:
    eu, us, root = level("eu"), level("us"), level("root", compression="bloom")
    async with tree(tmp_path, [eu, us], [root]) as made:
        await made.site("cern", eu, LFNS)
        await made.site("fnal", us, LFNS[::2])
        await made.settled([*LFNS, "/nowhere"])
        async with RliNodeClient(made.nodes["root"].url) as client:
            said = await client.location(LFNS[0])
            assert sorted((each.site, each.lrc) for each in said.sites) == [
                (name, made.nodes[name].url) for name in ("eu", "us")
            ]
            verified = await client.location(LFNS[0], Demand(verify=True))
            assert sorted(each.site for each in verified.sites) == ["cern", "fnal"]
            resolved = await client.replica(LFNS[1])
            assert (resolved.complete, [copy.site for copy in resolved.replicas]) == (True, ["cern"])
            assert {member.name: member.kind for member in (await client.members()).members} == {
                "root": "rli",
                "eu": "child",
                "us": "child",
            }
        await made.sites["cern"].delete(LFNS[:3])
        await made.sites["fnal"].put(["/new"])
        await made.settled([*LFNS, "/new"])


async def test_three_levels_lose_a_node_in_the_middle_and_nobody_notices(tmp_path: Path) -> None:
    low, other, middle, root = level("cern-1", "cern-2"), level("fnal-1"), level("eu-1", "eu-2"), level("root")
    async with tree(tmp_path, [low, other], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.site("b", low, LFNS[::3])
        await made.site("c", other, LFNS[::2])
        await made.settled([*LFNS, "/nowhere"])
        await made.nodes["eu-1"].stop()
        said = await made.client.lookup(LFNS)
        assert pfns(said) == made.truth(LFNS), "one of two nodes that know the same is enough"
        await made.sites["a"].delete(LFNS[:5])
        await made.nodes["eu-1"].start()
        await made.settled(LFNS)


async def test_what_is_lacking_below_is_lacking_above_and_named_with_the_way_there(tmp_path: Path) -> None:
    low, middle, root = level("low"), level("middle"), level("root")
    async with tree(tmp_path, [low], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.site("b", low, LFNS[::2])
        await made.settled(LFNS)
        await made.sites["b"].stop()
        async with RliNodeClient(made.nodes["root"].url) as client:
            said = await until(
                lambda: client.location("/nowhere"), lambda seen: not seen.complete, "the root lacks a site"
            )
            said = await until(
                lambda: client.location("/nowhere"), lambda seen: seen.missing == ["middle/low/b"], "which is named"
            )
            assert said.sites == []
        await made.sites["b"].start()
        await made.settled([*LFNS, "/nowhere"])


async def test_no_restart_makes_a_complete_answer_wrong(tmp_path: Path) -> None:
    low, middle, root = level("low"), level("middle"), level("root")
    async with tree(tmp_path, [low], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.settled(LFNS)
        for name in ("low", "middle", "root"):
            await _restarted_under_questions(made, name)
            await made.settled([*LFNS, "/nowhere"])


async def _restarted_under_questions(made: Tree, name: str) -> None:
    """A node stops and starts while lookups go on, none of which misses a copy and calls itself complete."""
    truth = made.truth(LFNS)

    async def ask() -> None:
        while True:
            with suppress(ReplocError):  # nobody answered in time, which is no wrong answer
                said = await made.client.lookup(LFNS, 1.0)
                assert pfns(said) == truth or not said.complete, f"{name} restarted"
            await asyncio.sleep(0.01)

    async def restart() -> None:
        await asyncio.sleep(0.1)
        await made.nodes[name].stop()
        await asyncio.sleep(0.2)
        await made.nodes[name].start()
        await asyncio.sleep(0.5)

    if name == "root":  # nobody answers for a moment
        await restart()
        return
    asking = asyncio.create_task(ask())
    await restart()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


async def test_a_circle_is_refused_by_whoever_would_hear_its_own_words(tmp_path: Path) -> None:
    """None of the three settings is wrong by itself: a tells b, b tells c, and c tells a.

    Which of them is refused depends on who speaks first.
    """
    indexes = {name: level(name) for name in "abc"}
    nodes: dict[str, Service] = {}
    for name, child, parent in (("a", "c", "b"), ("b", "a", "c"), ("c", "b", "a")):
        children, parents = [Child(name=child)], above(indexes[parent])
        nodes[name] = node(name, indexes[name], children=children, parents=parents)
    site = Site("site", tmp_path / "site", indexes["a"])
    try:
        for each in [*nodes.values(), site]:
            await each.start()
        await site.put(LFNS)
        truth = {lfn: {site.pfn(lfn)} for lfn in LFNS}
        async with AsyncExitStack() as stack:
            clients = {name: await stack.enter_async_context(RliNodeClient(each.url)) for name, each in nodes.items()}
            whole = {name: await stack.enter_async_context(RliClient([each.url])) for name, each in nodes.items()}

            async def refused() -> dict[str, str]:
                """Whose parent takes nothing, and why."""
                parents = {name: (await client.status()).parents[0] for name, client in clients.items()}
                return {name: each.error for name, each in parents.items() if each.state == "refused"}

            async def found() -> bool:
                """Whether one of them is not heard above, and all is found there: the circle is open at that place."""
                tops = list(await refused())
                return len(tops) == 1 and pfns(await whole[tops[0]].lookup(LFNS)) == truth

            await until(found, bool, "what is below a node is found, and nobody hears its own words")
            [(top, why)] = (await until(refused, lambda said: len(said) == 1, "one is not heard")).items()
            above_it = {"a": "b", "b": "c", "c": "a"}[top]
            assert f"{above_it!r} would hear its own news: index node {top!r} has it through" in why
            await site.delete(LFNS)
            for client in clients.values():
                await until(
                    lambda client=client: client.locations(LFNS),
                    lambda said: not any(said.locations.values()),
                    "nobody keeps a name alive that no site has",
                )
    finally:
        for each in [site, *nodes.values()]:
            await each.stop()


async def test_a_node_that_is_no_child_is_refused_and_says_why(tmp_path: Path) -> None:
    low, root = level("low"), level("root")
    top, stranger = node("root", root), node("low", low, parents=above(root))
    try:
        await top.start()
        await stranger.start()
        async with RliNodeClient(stranger.url) as client, RliNodeClient(top.url) as above_it:
            said = await until(client.status, lambda seen: seen.parents[0].state == "refused", "it is refused")
            shown = await asyncio.to_thread(CliRunner().invoke, cli, ["status", "--rli", stranger.url])
            assert "refused" in shown.output
            assert "index node 'low' is no child of node 'root'" in said.parents[0].error
            assert (await above_it.members()).members[1:] == []
    finally:
        await stranger.stop()
        await top.stop()
