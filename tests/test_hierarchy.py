"""Index nodes that tell their news to parents, over real sockets: what a client of the root finds, and what it is told.

`design.md` section 7, hierarchy; the Giggle paper, "RLS5: Hierarchical Index".
"""

from pathlib import Path

from tree import level, tree

LFNS = [f"/run/{number}" for number in range(40)]


async def test_a_lookup_at_the_root_finds_the_copies_of_all_sites_below(tmp_path: Path) -> None:
    eu, us, root = level("eu"), level("us"), level("root", compression="bloom")
    async with tree(tmp_path, [eu, us], [root]) as made:
        await made.site("cern", eu, LFNS)
        await made.site("fnal", us, LFNS[::2])
        await made.settled([*LFNS, "/nowhere"])
        await made.sites["cern"].delete(LFNS[:3])
        await made.sites["fnal"].put(["/new"])
        await made.settled([*LFNS, "/new"])


async def test_three_levels(tmp_path: Path) -> None:
    low, other, middle, root = level("cern-1", "cern-2"), level("fnal-1"), level("eu-1", "eu-2"), level("root")
    async with tree(tmp_path, [low, other], [middle], [root]) as made:
        await made.site("a", low, LFNS)
        await made.site("b", low, LFNS[::3])
        await made.site("c", other, LFNS[::2])
        await made.settled([*LFNS, "/nowhere"])
        await made.nodes["eu-1"].stop()
        await made.sites["a"].delete(LFNS[:5])
        await made.nodes["eu-1"].start()
        await made.settled(LFNS)
