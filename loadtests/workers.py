"""Single lookups by the number of processes that answer: at a catalog, and at an index node.

    python -m loadtests.workers [--quick] [--names N] [--stores DIR]

The load generator takes a processor too: on a machine of two, the second process of a server shares one with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from loadtests import servers
from loadtests.curve import Curve, Line
from loadtests.figure import Figure, Result
from loadtests.lasting_node import NODE, lasting_node
from loadtests.program import Scale, run, said, workspace
from loadtests.sites import Sites
from loadtests.stores import filled
from loadtests.wrk import Walk

LRC = Figure("LRC, one LFN per request, by processes", "requests/s", "more")
RLI = Figure("RLI, one LFN per request, by processes", "requests/s", "more")

PROCESSES = (1, 2)
CONNECTIONS = 64
SITES, QUICK_SITES, TOY_SITES = 1_000, 200, 20
NAMES, QUICK_NAMES, TOY_NAMES = 1_000_000, 1_000_000, 20_000


def measure(scale: Scale) -> Iterator[Result | Curve]:
    """Requests a second with each number of processes, and a plot of them."""
    rng = random.Random(scale.seed)
    lines = []
    for label, figure, measured in (("catalog", LRC, _lrc), ("index node", RLI, _rli)):
        found = [measured(figure, scale, processes, rng) for processes in PROCESSES]
        yield from found
        points = tuple((float(processes), one.value) for processes, one in zip(PROCESSES, found, strict=True))
        lines.append(Line(label, points))
    yield Curve("workers", "Lookups by processes", "processes", "requests/s", tuple(lines), linear=True)


def _lrc(figure: Figure, scale: Scale, processes: int, rng: random.Random) -> Result:
    with workspace() as folder:
        store = filled(scale, folder)
        process = servers.catalog(folder, "site-a", store, servers.index_of(1), workers=processes)
        with servers.running(process) as server:
            servers.shared_by(server, processes)
            scaled = f"{processes} of them, {scale.names:,} mappings"
            return _walked(figure, Walk(server.port, "/v1/replicas", scale.names), scale, scaled, rng)


def _rli(figure: Figure, scale: Scale, processes: int, rng: random.Random) -> Result:
    sites = Sites(scale.of(SITES, QUICK_SITES, TOY_SITES), scale.names)
    with workspace() as folder, lasting_node(folder, workers=processes) as (server, index):
        servers.shared_by(server, processes)
        said(f"telling a node what {sites.count:,} sites hold of {sites.names:,} LFNs")
        asyncio.run(sites.told_to(server.url, NODE, index))
        scaled = f"{processes} of them, {sites.count:,} sites, {sites.names:,} LFNs at 3 each"
        return _walked(figure, Walk(server.port, "/v1/locations", scale.names), scale, scaled, rng)


def _walked(figure: Figure, walk: Walk, scale: Scale, scaled: str, rng: random.Random) -> Result:
    walk.run(1, rng, CONNECTIONS)
    walks = [walk.run(scale.run_s, rng, CONNECTIONS) for _ in range(scale.runs)]
    return Result(
        figure, scaled, tuple(one.rate for one in walks), note=f"p99 {max(one.p99_ms for one in walks):.1f} ms"
    )


if __name__ == "__main__":
    run("Lookups by processes.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
