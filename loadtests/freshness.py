"""Freshness: how long after a name is registered at a catalog the index knows it, with 200 changes a second.

    python -m loadtests.freshness [--quick] [--names N]

The clock of a name runs from its registration being acknowledged until a lookup at the node finds it; the node is asked
about all names that are waited for, again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np

from loadtests import servers, world
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, workspace
from loadtests.stores import copied
from reploc.client.lrc import LrcClient
from reploc.client.node import RliNodeClient

AT = "200 changes/s"
P99 = Figure("freshness, registered at the LRC to seen at the index, p99", "s", "less", 1.5, AT)
MEAN = Figure("freshness, mean", "s", "less", None, AT)

NAMES, QUICK_NAMES, TOY_NAMES = 100_000, 100_000, 10_000
CHANGES_PER_S = 200
#: Registrations in one request: twenty requests a second, each with ten.
BATCH = 10
CHANGES, QUICK_CHANGES, TOY_CHANGES = 6_000, 1_600, 200
#: Seconds between two questions to the node, which is the error of the measurement.
LOOK_S = 0.02
#: Seconds after the last registration in which every name must have been seen.
PATIENCE_S = 60.0


class _Waiting:
    """Names that were registered and are waited for, and how long the others took."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        self.took: list[float] = []
        self.registered = 0

    def register(self, lfns: list[str], now: float) -> None:
        self.since |= dict.fromkeys(lfns, now)
        self.registered += len(lfns)

    def see(self, lfns: list[str], now: float) -> None:
        self.took += [now - self.since.pop(lfn) for lfn in lfns]


def measure(scale: Scale) -> Iterator[Result]:
    """The 99th percentile and the mean over all changes."""
    changes = scale.of(CHANGES, QUICK_CHANGES, TOY_CHANGES)
    with workspace() as folder:
        store = copied(scale, folder)
        index = servers.index_of(1)
        with (
            servers.running(servers.node(folder, "node-1", index), ready=False) as node,
            servers.running(servers.catalog(folder, "site-a", store, index)) as catalog,
        ):
            took = asyncio.run(_changed(catalog.url, node.url, scale.names, changes))
    what = f"{CHANGES_PER_S} changes/s, {changes:,} in all, at a site of {scale.names:,} LFNs"
    yield Result(P99, what, (float(np.quantile(took, 0.99)),), note=f"worst {max(took):.2f} s; looked every 20 ms")
    yield Result(MEAN, what, (float(np.mean(took)),))


async def _changed(catalog: str, node: str, held: int, changes: int) -> list[float]:
    """Seconds from registered to seen, of each change."""
    waiting = _Waiting()
    async with (
        LrcClient(catalog) as lrc,
        RliNodeClient(node) as rli,
        asyncio.timeout(changes / CHANGES_PER_S + PATIENCE_S),
    ):
        await _look_until_seen(rli, [world.lfn(number) for number in range(0, held, held // BATCH)])
        await asyncio.gather(_register(lrc, waiting, held, changes), _look(rli, waiting, changes))
    return waiting.took


async def _register(lrc: LrcClient, waiting: _Waiting, held: int, changes: int) -> None:
    """Registers at an even pace, however long an answer takes."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for first in range(0, changes, BATCH):
        await asyncio.sleep(started + first / CHANGES_PER_S - loop.time())
        items = [world.mapping(held + number) for number in range(first, first + BATCH)]
        written = await lrc.put(items)
        assert written.done == BATCH, written.errors[:1]
        waiting.register([item.lfn for item in items], loop.time())


async def _look(rli: RliNodeClient, waiting: _Waiting, changes: int) -> None:
    loop = asyncio.get_running_loop()
    while len(waiting.took) < changes:
        lfns = list(waiting.since)
        if lfns:
            answer = await rli.locations(lfns)
            waiting.see([lfn for lfn in lfns if answer.locations[lfn]], loop.time())
        await asyncio.sleep(LOOK_S)


async def _look_until_seen(rli: RliNodeClient, lfns: list[str]) -> None:
    """Waits until the node has the site's first update."""
    while not all((await rli.locations(lfns)).locations.values()):
        await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    run("Freshness of the index.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
