"""Runs: one load sent to one server some times over, and what that has cost the server."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from loadtests.program import Scale
from loadtests.servers import Server
from loadtests.wrk import Walk, Walked


@dataclass(frozen=True)
class Runs:
    """Items a second and the 99th percentile in milliseconds, of each run; `cost` is the server's, of them all."""

    rates: tuple[float, ...]
    p99s_ms: tuple[float, ...]
    cost: str


def repeated(server: Server, load: Callable[[], Walked], times: int, items: int = 1) -> Runs:
    """Sends a load so many times; each of its requests is about so many items."""
    before = server.cpu_s
    runs = [load() for _ in range(times)]
    seconds, answers = sum(one.seconds for one in runs), sum(one.answers for one in runs)
    return Runs(
        tuple(one.rate * items for one in runs),
        tuple(one.p99_ms for one in runs),
        server.share(before, seconds, answers * items),
    )


def walked(server: Server, walk: Walk, scale: Scale, rng: random.Random) -> Runs:
    """Walks over all names, once for a second so that the server is warm, and then as often as the scale says."""
    walk.run(1, rng)
    return repeated(server, lambda: walk.run(scale.run_s, rng), scale.runs)
