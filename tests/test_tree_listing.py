"""LFNs by glob pattern in a hierarchy: a node names those below it, whose lists are read in its place.

The truth is what the catalogs were told, and a pattern is what Python's `fnmatch` says it is.
"""

import asyncio
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from click.testing import CliRunner
from grid import Site, node, until
from plain_http import ask
from rls_client import connected
from tree import Tree, above, level, tree

from reploc.cli import cli
from reploc.client.listing import Listed
from reploc.errors import NotIndexed
from reploc.hierarchy import Child
from rli.settings import RliRlsSettings

FILES = [f"/store/{kind}/{number:03d}" for kind in ("mc", "data") for number in range(40)]
GLOBS = ["*", "/store/mc/*", "*0", "/store/data/00[1-3]", "/store/mc/007", "/none/*", "/none"]


def matching(made: Tree, glob: str) -> dict[str, set[str]]:
    """The sites of each LFN that matches."""
    held = {lfn for site in made.sites.values() for lfn in site.held if fnmatchcase(lfn, glob)}
    return {lfn: {site.name for site in made.sites.values() if lfn in site.held} for lfn in held}


def found_of(said: Listed) -> dict[str, set[str]]:
    return {lfn: set(sites) for lfn, sites in said.locations.items()}


async def checked(made: Tree, glob: str) -> Listed:
    """What matches, which is all of it or does not call itself complete."""
    said = await made.client.matching(glob)
    assert found_of(said) == matching(made, glob) or not said.complete, glob
    return said


@pytest.mark.parametrize("told", ["none", "bloom"])
async def test_a_pattern_is_followed_down_to_the_lists_of_the_sites(told: str, tmp_path: Path) -> None:
    """The lowest indexes are one of two nodes that hold half each, and one of a single node."""
    parted = level("cern-1", "cern-2", lfn_partition="hash", redundancy=1)
    other, middle, root = level("fnal-1"), level("eu-1", "eu-2"), level("root", compression=told)
    async with tree(tmp_path, [parted, other], [middle], [root]) as made:
        await made.site("a", parted, FILES[:60])
        await made.site("b", parted, FILES[30:])
        await made.site("c", other, FILES[::3])
        await made.settled([*FILES, "/none"])
        for glob in GLOBS:
            said = await until(
                lambda glob=glob: checked(made, glob), lambda said: said.complete, f"{glob} is complete, and so right"
            )
            assert (said.cut, said.missing) == (False, []), glob
        few = await made.client.matching("*", 10)
        assert (few.complete, few.cut, len(few.locations)) == (False, True, 10)
        assert all(found_of(few)[lfn] <= matching(made, "*")[lfn] for lfn in few.locations)
        nodes = {name: made.nodes[name].url for name in ("eu-1", "eu-2")}
        status, page = await until(
            lambda: ask(made.nodes["root"].url + "/v1/lfns?pattern=*"),
            lambda said: {name: one["lrc"] for name, one in said[1]["below"].items()} == nodes,
            "the nodes below are named",
        )
        assert (status, page["locations"], page["next"]) == (200, {}, None)
        command = ["locate", "--pattern", "/store/mc/00[0-2]", "--rli", made.nodes["root"].url]
        shown = await until(
            lambda: asyncio.to_thread(CliRunner().invoke, cli, command, env={"HOME": "/nonexistent"}),
            lambda seen: seen.exit_code == 0,
            "the command lists all of it",
        )
        expected = matching(made, "/store/mc/00[0-2]")
        rows = [line.split("\t")[:2] for line in shown.stdout.splitlines()]
        assert rows == [[lfn, site] for lfn in sorted(expected) for site in sorted(expected[lfn])]
        await made.nodes["eu-1"].stop()
        await until(
            lambda: checked(made, "*"), lambda said: found_of(said) == matching(made, "*"), "the other node leads on"
        )
        await made.nodes["cern-2"].stop()
        said = await made.client.matching("*")
        assert not said.complete
        assert any(name.endswith("/cern-2") for name in [*said.nodes, *said.missing]), said
        assert all(found_of(said)[lfn] <= matching(made, "*")[lfn] for lfn in said.locations)


async def test_what_is_not_heard_below_is_named_with_the_way_there(tmp_path: Path) -> None:
    low, root = level("low"), level("root", compression="bloom")
    async with tree(tmp_path, [low], [root]) as made:
        await made.site("a", low, FILES)
        await made.site("b", low, FILES[:5])
        await made.settled(FILES)
        await made.sites["b"].stop()
        said = await until(
            lambda: made.client.matching("*"), lambda seen: "low/b" in seen.missing, "the silent site is named"
        )
        assert not said.complete
        await made.nodes["low"].stop()
        said = await made.client.matching("*")
        assert (said.locations, said.complete, "low" in said.missing) == ({}, False, True)


async def test_a_tree_that_is_told_no_whole_names_says_so(tmp_path: Path) -> None:
    low, root = level("low", compression="fingerprint"), level("root", compression="fingerprint")
    async with tree(tmp_path, [low], [root]) as made:
        await made.site("a", low, FILES)
        await made.settled(FILES)
        with pytest.raises(NotIndexed, match=r"not told whole names: index\.compression is fingerprint"):
            await made.client.matching("*")


async def test_a_wildcard_at_the_rls_port_of_a_parent_finds_the_catalogs_below(tmp_path: Path) -> None:
    low, root = level("low"), level("root", compression="bloom")
    top = node("root", root, children=[Child(name="low")], rls=RliRlsSettings(listen="127.0.0.1:0"))
    child, site = node("low", low, parents=above(root)), Site("a", tmp_path / "a", low)
    running = [top, child, site]
    try:
        for each in running:
            await each.start()
        await site.put(FILES)
        _, status = await ask(top.url + "/v1/status")
        async with connected(status["rls_url"]) as client:
            _, said = await until(
                lambda: client.ask("rli_get_lrc_wc", "/store/mc/00%", "0", "0"),
                lambda seen: (seen[0], len(seen[1])) == (0, 20),
                "the names below are found",
            )
            assert dict(zip(said[::2], said[1::2], strict=True)) == dict.fromkeys(FILES[:10], site.url)
    finally:
        for each in running[::-1]:
            await each.stop()
