"""`auto`: a catalog that grows and shrinks tells another form while it runs, and nobody who asks meanwhile is misled.

The Giggle paper, section 3.4: how state is compressed is a trade of what it costs to tell against how exact it is.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from grid import Grid, grid, until

from lrc.names_stream import SMALL_NAMES_PER_SLOT
from reploc.errors import ReplocError

SLOTS = 4
SMALL = SMALL_NAMES_PER_SLOT * SLOTS
STAYS = [f"/stays/{number}" for number in range(40)]
MORE = [f"/more/{number}" for number in range(2 * SMALL)]


async def has_filters(made: Grid) -> set[bool]:
    """Whether the nodes hold any filters; every node, since each owns a part."""
    found = set()
    async with aiohttp.ClientSession() as session:
        for node in made.nodes.values():
            async with session.get(f"{node.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            [held] = [line.split()[1] for line in lines if line.startswith("reploc_matrix_bytes ")]
            found.add(float(held) > 0)
    return found


@asynccontextmanager
async def watched(made: Grid) -> AsyncIterator[list[int]]:
    """Asks all the while for what is there all the while: it is found, or the answer says that it is not complete.

    The list has an entry for each answer that was complete.
    """
    complete: list[int] = []
    over = asyncio.Event()

    async def watch() -> None:
        while not over.is_set():
            try:
                said = (await made.client.locate(STAYS)).said
            except ReplocError:
                continue
            lacking = [lfn for lfn, sites in said.locations.items() if "a.cern.ch" not in sites]
            assert set(lacking) <= set(said.incomplete), "a complete answer hides a copy"
            if not said.incomplete:
                complete.append(len(said.locations))
            await asyncio.sleep(0.002)

    task = asyncio.create_task(watch())
    try:
        yield complete
    finally:
        over.set()
        await task


@pytest.mark.parametrize(
    ("lfns", "sites", "redundancy"), [("hash", "none", 2), ("none", "domain", 1), ("collection", "none", 1)]
)
async def test_a_catalog_changes_its_form_as_it_grows_and_shrinks(
    lfns: str, sites: str, redundancy: int, tmp_path: Path
) -> None:
    parted = {"lfn_partition": lfns, "site_partition": sites, "redundancy": redundancy}
    async with grid(tmp_path, nodes=2, slots=SLOTS, compression="auto", error_rate=1e-6, **parted) as made:
        site = await made.site("a.cern.ch", STAYS)
        await made.site("b.fnal.gov", STAYS[::2])
        await made.settled([*STAYS, *MORE[:5]])
        assert await has_filters(made) == {False}, "both are small"
        async with watched(made) as complete:
            for larger in (True, False, True):
                if larger:
                    await site.put(MORE)
                else:
                    await site.delete(MORE)
                await until(
                    lambda: has_filters(made),
                    lambda seen, larger=larger: (True in seen) == larger and (larger or seen == {False}),
                    f"filters: {larger}",
                )
                await made.settled([*STAYS, *MORE[:20], "/nowhere"])
            assert complete, "it is not incomplete all the while"
        await site.stop()
        await site.start()
        await made.settled([*STAYS, *MORE[-20:], "/nowhere"])
        assert True in await has_filters(made), "and tells filters when it starts again"
