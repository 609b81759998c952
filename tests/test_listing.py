"""LFNs by glob pattern at an index that is told whole names: from one node page by page, and from all nodes together.

The Giggle paper, section 3.4, compares ways to compress what catalogs tell; only names that are told whole can be read.
"""

import asyncio
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from grid import Grid, grid, until
from plain_http import ask

from reploc.cli import cli
from reploc.client.lrc import LrcClient
from reploc.client.node import RliNodeClient
from reploc.errors import NotIndexed, Unreachable
from reploc.wire import MappingItem

FILES = [f"/store/{kind}/{number:03d}" for kind in ("mc", "data") for number in range(60)]
GLOBS = ["*", "/store/mc/*", "*0", "/store/data/00[1-3]", "/store/mc/007", "/none/*", "/none"]


def matching(made: Grid, glob: str) -> dict[str, set[str]]:
    """The sites of each LFN that matches."""
    held = {lfn for site in made.sites.values() for lfn in site.held if fnmatchcase(lfn, glob)}
    return {lfn: {site.name for site in made.sites.values() if lfn in site.held} for lfn in held}


async def filled(made: Grid) -> None:
    """Three sites with a part of the files each."""
    for name, part in (("a.cern.ch", FILES[:80]), ("b.fnal.gov", FILES[40:]), ("c.bnl.gov", FILES[::3])):
        await made.site(name, part)
    await made.settled([*FILES, "/none"])
    await made.everywhere()


async def pages(made: Grid, node: str, glob: str, limit: int) -> list[dict[str, list[str]]]:
    """All pages of one node."""
    found, after = [], None
    async with RliNodeClient(made.nodes[node].url) as client:
        while True:
            page = await client.matching(glob, limit, after)
            assert page.locations.keys() <= set(FILES), "names as they were told"
            assert {site for sites in page.locations.values() for site in sites} <= page.sites.keys()
            found.append(page.locations)
            if (after := page.next) is None:
                return found


async def run(*args: str) -> Result:
    """The command in a thread of its own, since it runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli, list(args), env={"HOME": "/nonexistent"})


async def test_a_node_that_holds_everything_lists_what_matches_page_by_page(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=1, compression="none", lfn_partition="none") as made:
        await filled(made)
        for glob in GLOBS:
            for limit in (7, 1000):
                found = await pages(made, "n0", glob, limit)
                assert all(len(page) <= limit for page in found)
                told = [(lfn, sites) for page in found for lfn, sites in page.items()]
                assert {lfn: set(sites) for lfn, sites in told} == matching(made, glob), glob
                assert len(told) == len(matching(made, glob)), "each name once"
        _, said = await ask(f"{made.nodes['n0'].url}/v1/lfns?pattern=*&limit=3")
        assert (said["complete"], said["missing"], said["shares"]) == (True, [], "all")
        await made.sites["c.bnl.gov"].stop()
        _, said = await until(
            lambda: ask(f"{made.nodes['n0'].url}/v1/lfns?pattern=/none"), lambda seen: not seen[1]["complete"], "silent"
        )
        assert said["missing"] == ["c.bnl.gov"]


async def test_a_page_of_an_earlier_life_begins_anew_and_one_of_nobody_is_refused(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=1, compression="none", lfn_partition="none") as made:
        await filled(made)
        url = f"{made.nodes['n0'].url}/v1/lfns?pattern=*&limit=100"
        _, first = await ask(url)
        await made.nodes["n0"].stop()
        await made.nodes["n0"].start()
        await made.settled(FILES)
        _, again = await ask(f"{url}&after={first['next']}")
        assert len(again["locations"]) == 100
        for wrong in ("x", "1", "00000000-", "00000000-99999999999", "0000000g-1"):
            status, problem = await ask(f"{url}&after={wrong}")
            assert (status, problem["code"]) == (400, "query-invalid"), wrong
        assert (await ask(f"{made.nodes['n0'].url}/v1/lfns"))[0] == 400


@pytest.mark.parametrize(
    ("lfns", "sites", "redundancy"), [("hash", "none", 2), ("none", "domain", 2), ("collection", "site", 1)]
)
async def test_all_nodes_together_list_everything(lfns: str, sites: str, redundancy: int, tmp_path: Path) -> None:
    parted = {"lfn_partition": lfns, "site_partition": sites, "redundancy": redundancy}
    async with grid(tmp_path, nodes=4, compression="none", **parted) as made:
        await filled(made)
        for glob in GLOBS:
            found = await made.client.matching(glob)
            assert (found.complete, found.cut, found.missing) == (True, False, []), glob
            assert {lfn: set(of) for lfn, of in found.locations.items()} == matching(made, glob), glob
        _, said = await ask(f"{made.nodes['n0'].url}/v1/lfns?pattern=*")
        assert said["shares"] == "some"
        few = await made.client.matching("*", 10)
        assert (few.complete, few.cut, len(few.locations)) == (False, True, 10)
        await made.nodes["n1"].stop()
        found = await made.client.matching("*")
        assert found.complete == (redundancy > 1)
        if redundancy > 1:
            assert {lfn: set(of) for lfn, of in found.locations.items()} == matching(made, "*")
        else:
            assert found.nodes.keys() == {"n1"}
        for node in made.nodes.values():
            await node.stop()
        with pytest.raises(Unreachable):
            await made.client.matching("*")


async def test_an_index_that_is_told_no_whole_names_says_so(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=2) as made:
        with pytest.raises(NotIndexed, match=r"not told whole names: index\.compression is bloom"):
            await made.client.matching("*")


async def test_the_command_lists_what_matches_and_says_what_is_lacking(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=2, redundancy=1, compression="none") as made:
        await filled(made)
        url = made.nodes["n0"].url
        shown = await run("locate", "--pattern", "/store/mc/00[0-2]", "--rli", url)
        assert shown.exit_code == 0, shown.stderr
        rows = [line.split("\t")[:2] for line in shown.stdout.splitlines()]
        expected = matching(made, "/store/mc/00[0-2]")
        assert rows == [[lfn, site] for lfn in sorted(expected) for site in sorted(expected[lfn])]
        assert (await run("locate", "--pattern", "/none*", "--rli", url)).exit_code == 1
        few = await run("locate", "--pattern", "*", "--limit", "5", "--json", "--rli", url)
        assert (few.exit_code, len(few.stdout.splitlines())) == (3, 5)
        assert "incomplete: there may be more than 5 LFNs" in few.stderr
        await made.nodes["n1"].stop()
        lacking = await run("locate", "--pattern", "*", "--rli", url)
        assert lacking.exit_code == 3
        assert "incomplete: index node n1 could not be asked" in lacking.stderr
        assert (await run("locate", "/a", "--pattern", "*", "--rli", url)).exit_code == 2


async def test_the_commands_tell_the_collection(tmp_path: Path) -> None:
    """An index that is told of collections alone knows no LFN."""
    async with grid(tmp_path, nodes=2, redundancy=1, lfn_partition="collection", compression="collection") as made:
        site = await made.site("a.cern.ch")
        async with LrcClient(site.url) as client:
            await client.put([MappingItem("/lfn", "file:///copy", 10, collection="/set#1")])
        url = made.nodes["n0"].url

        async def shown() -> Result:
            return await run("lookup", "/lfn", "--collection", "/set#1", "--rli", url)

        found = await until(shown, lambda seen: seen.exit_code == 0, "the collection is told of")
        assert found.stdout == "/lfn\ta.cern.ch\t10 bytes\tfile:///copy\n"
        located = await run("locate", "/lfn", "--collection", "/set#1", "--rli", url)
        assert (located.exit_code, located.stdout.split("\t")[:2]) == (0, ["/lfn", "a.cern.ch"])
        without = await run("lookup", "/lfn", "--rli", url)
        assert "expected the collection of the LFN" in without.stderr
