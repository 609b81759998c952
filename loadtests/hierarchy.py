"""A hierarchy of index nodes by its levels: what a lookup from the top costs, and how soon a new name is found there.

    python -m loadtests.hierarchy [--quick] [--names N]

One node a level, all of them told whole names, under the top a chain of them, and one catalog. A lookup is one LFN from
the client to the catalog's address, one after the other; it asks each level once. The clock of a name runs from its
registration being acknowledged until a lookup from the top finds its site. Signs of life come more often than by
default, so that nodes that have just started know soon that they have heard everyone; increments do not.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loadtests import servers, world
from loadtests.curve import Curve, Line
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, workspace
from loadtests.stores import copied
from reploc.client.index import RliClient
from reploc.client.lrc import LrcClient
from reploc.demo.processes import Process
from reploc.members import IndexSettings

LOOKUP = Figure("hierarchy, a lookup from the top to the site, by levels, mean", "ms", "less")
FRESH = Figure("hierarchy, registered to found from the top, by levels, p99", "s", "less")

LEVELS = (1, 2, 3)
NAMES, QUICK_NAMES, TOY_NAMES = 100_000, 20_000, 2_000
LOOKUPS, QUICK_LOOKUPS, TOY_LOOKUPS = 3_000, 500, 50
CHANGES, QUICK_CHANGES, TOY_CHANGES = 200, 30, 3
RENEWAL_S, EXPIRY_S = 1.0, 3.0
LOOK_S = 0.01
#: Seconds that the whole tree may take to be filled, and a new name to be found.
PATIENCE_S = 120.0


def measure(scale: Scale) -> Iterator[Result | Curve]:
    """The cost of a lookup and the age of news by the number of levels, and a plot of both."""
    costs, ages = [], []
    for levels in LEVELS:
        took, fresh = _measured(scale, levels)
        scaled = f"{levels} of them, a site of {scale.names:,} LFNs"
        cost = Result(LOOKUP, scaled, (float(np.mean(took)) * 1e3,), note=f"p99 {np.quantile(took, 0.99) * 1e3:.1f} ms")
        age = Result(FRESH, scaled, (float(np.quantile(fresh, 0.99)),), note=f"mean {np.mean(fresh):.2f} s")
        yield cost
        yield age
        costs.append((float(levels), cost.value))
        ages.append((float(levels), age.value))
    yield Curve("hierarchy-lookup", "A lookup by levels", "levels", "ms", (Line("mean", tuple(costs)),), linear=True)
    yield Curve("hierarchy-freshness", "Freshness by levels", "levels", "s", (Line("p99", tuple(ages)),), linear=True)


def _measured(scale: Scale, levels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Seconds of each lookup, and from registered to found of each new name."""
    indexes = [_level(number) for number in range(levels)]
    with workspace() as folder, ExitStack() as stack:
        store = copied(scale, folder)
        for number, index in enumerate(indexes):
            stack.enter_context(servers.running(_node(folder, indexes, number, index), ready=False))
        catalog = stack.enter_context(servers.running(servers.catalog(folder, "site-a", store, indexes[0])))
        return asyncio.run(_asked(scale, indexes[-1], catalog.url))


def _level(number: int) -> IndexSettings:
    index = servers.index_of(1, compression="none", collections=False, renewal_interval_s=RENEWAL_S, expiry_s=EXPIRY_S)
    [node] = index.nodes
    return msgspec.structs.replace(index, nodes=[msgspec.structs.replace(node, name=f"level-{number + 1}")])


def _node(folder: Path, indexes: Sequence[IndexSettings], number: int, index: IndexSettings) -> Process:
    """The node of a level, with the node below and the index above it."""
    tables = f'\n[[children]]\nname = "level-{number}"\n' if number else ""
    if number + 1 < len(indexes):
        tables += _parents(indexes[number + 1])
    return servers.node(folder, f"level-{number + 1}", index, tables=tables)


def _parents(index: IndexSettings) -> str:
    keys = ("compression", "slots", "redundancy", "renewal_interval_s", "expiry_s")
    told: dict[str, Any] = {key: getattr(index, key) for key in keys}
    [node] = index.nodes
    lines = ["", "[parents]", *(f"{key} = {json.dumps(value)}" for key, value in told.items())]
    return "\n".join([*lines, "[[parents.nodes]]", f'name = "{node.name}"', f'url = "{node.url}"', ""])


async def _asked(scale: Scale, top: IndexSettings, catalog: str) -> tuple[list[float], list[float]]:
    rng, loop = random.Random(scale.seed), asyncio.get_running_loop()
    async with RliClient(list(top.urls.values())) as index, LrcClient(catalog) as lrc:
        await _found(index, [world.lfn(number) for number in range(0, scale.names, max(1, scale.names // 50))])
        took = []
        for _ in range(scale.of(LOOKUPS, QUICK_LOOKUPS, TOY_LOOKUPS)):
            began = loop.time()
            said = await index.locate([world.lfn(rng.randrange(scale.names))])
            took.append(loop.time() - began)
            assert all(said.said.locations.values()), said
        fresh = []
        for number in range(scale.of(CHANGES, QUICK_CHANGES, TOY_CHANGES)):
            item = world.mapping(scale.names + number)
            await lrc.put([item])
            began = loop.time()
            await _found(index, [item.lfn])
            fresh.append(loop.time() - began)
        return took, fresh


async def _found(index: RliClient, lfns: list[str]) -> None:
    """Waits until a lookup from the top finds a site of each."""
    async with asyncio.timeout(PATIENCE_S):
        while not all((await index.locate(lfns)).said.locations.values()):
            await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    run("A hierarchy of index nodes by its levels.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
