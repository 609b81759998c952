"""The mixed load: 1,000 queries and 200 updates a second at once, as the framework paper (Giggle, section 2) asks for.

    python -m loadtests.mixed [--quick] [--names N] [--seconds N]

An open loop sends them at random moments (a Poisson process) from one process, and each latency runs from the moment
at which the request was due. The servers share the two cores with it. Of ten queries seven ask the index, two one
catalog, and one the index for verified copies; each answer is looked into.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtests import world
from loadtests.exchange import get, post
from loadtests.figure import Figure, Result, shown
from loadtests.mixed_grid import SITES, Grid, grid
from loadtests.open_loop import Due, Timed, percentiles, sent
from loadtests.program import Scale, run, workspace

AT = "1,000 queries/s with 200 updates/s"
QUERIES = Figure("mixed, queries held", "requests/s", "more", 1_000)
UPDATES = Figure("mixed, updates held", "requests/s", "more", 200)
MEAN = Figure("mixed, mean of queries", "ms", "less", 2.0, AT)
P99 = Figure("mixed, p99 of queries", "ms", "less", None, AT)
WORST = Figure("mixed, worst of queries", "ms", "less", 1_000, AT)
UPDATE_MEAN = Figure("mixed, mean of updates", "ms", "less", None, AT)
UPDATE_WORST = Figure("mixed, worst of updates", "ms", "less", None, AT)

NAMES, QUICK_NAMES, TOY_NAMES = 1_000_000, 100_000, 5_000
#: Requests a second: a twentieth above what is asked for, so that rounding does not miss it.
QUERY_RATE, UPDATE_RATE = 1_050, 210
SECONDS, QUICK_SECONDS, TOY_SECONDS = 60, 15, 2
#: Seconds of the same load before, so that nothing is asked for the first time.
WARM_S, TOY_WARM_S = 3.0, 0.5


def measure(scale: Scale) -> Iterator[Result]:
    """Rates and latencies over one run, at two sites that hold the same `scale.names` names."""
    rng = random.Random(scale.seed)
    seconds = scale.seconds or scale.of(SECONDS, QUICK_SECONDS, TOY_SECONDS)
    with workspace() as folder, grid(scale, folder) as servers:
        warming = _dues(servers, scale.names, scale.names, scale.of(WARM_S, WARM_S, TOY_WARM_S), rng)
        sent(warming)
        dues = _dues(servers, scale.names, scale.names + len(warming), seconds, rng)
        before = servers.cpu_s
        timed = sent(dues)
        used = (servers.cpu_s - before) / timed.seconds
    what = f"{seconds} s, 2 sites of {scale.names:,} LFNs, 2 index nodes"
    yield from _results(dues, timed, used, what)


def _results(dues: list[Due], timed: Timed, used: float, what: str) -> Iterator[Result]:
    kinds = np.array([due.kind for due in dues])
    updates = kinds == "update: register"
    queries, registered = timed.took_ms[~updates], timed.took_ms[updates]
    each = "; ".join(f"{kind} {timed.took_ms[kinds == kind].mean():.2f} ms" for kind in sorted(set(kinds)))
    late = f"of which the client sent late by {timed.late_ms.mean():.2f} ms, worst {timed.late_ms.max():.1f}"
    yield Result(QUERIES, what, (len(queries) / timed.seconds,), note=f"all servers {used:.0%} of a core")
    yield Result(UPDATES, what, (len(registered) / timed.seconds,))
    yield Result(MEAN, what, (float(queries.mean()),), note=f"{each}; {late}")
    yield Result(P99, what, (float(np.percentile(queries, 99)),), note=percentiles(queries))
    yield Result(WORST, what, (float(queries.max()),), note=_worst(dues, timed, ~updates))
    yield Result(UPDATE_MEAN, what, (float(registered.mean()),), note=percentiles(registered))
    yield Result(UPDATE_WORST, what, (float(registered.max()),), note="durable, each in a request of its own")


def _worst(dues: list[Due], timed: Timed, chosen: NDArray[np.bool_]) -> str:
    at = int(np.where(chosen, timed.took_ms, -1.0).argmax())
    return f"{dues[at].kind}, {shown(dues[at].at_s)} s after the start"


def _dues(servers: Grid, names: int, fresh: int, seconds: float, rng: random.Random) -> list[Due]:
    """What is due, by time; files from number `fresh` on are registered."""
    queries, updates = round(QUERY_RATE * seconds), round(UPDATE_RATE * seconds)
    # So many independent moments, all alike likely: a Poisson process of which the number is known.
    moments = sorted(
        [(rng.uniform(0, seconds), False) for _ in range(queries)]
        + [(rng.uniform(0, seconds), True) for _ in range(updates)]
    )
    dues = []
    for at, update in moments:
        if update:
            dues.append(_update(at, servers, fresh, rng))
            fresh += 1
        else:
            dues.append(_query(at, servers, rng.randrange(names), rng))
    return dues


def _query(at: float, servers: Grid, number: int, rng: random.Random) -> Due:
    lfn, pfn = world.lfn(number), world.pfn(number).encode()
    kind = rng.choices(("query: locate", "query: one catalog", "query: resolved"), (7, 2, 1))[0]
    server = rng.choice(servers.catalogs if kind == "query: one catalog" else servers.nodes)
    if kind == "query: locate":
        return Due(at, server.port, get(f"/v1/locations?lfn={lfn}"), f'"site":"{SITES[-1]}"'.encode(), kind)
    return Due(at, server.port, get(f"/v1/replicas?lfn={lfn}"), pfn, kind)


def _update(at: float, servers: Grid, number: int, rng: random.Random) -> Due:
    request = post("/v1/mappings", world.registration(number))
    return Due(at, rng.choice(servers.catalogs).port, request, b'"done":1', "update: register")


if __name__ == "__main__":
    run("The mixed load.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
