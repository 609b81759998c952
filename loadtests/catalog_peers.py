"""A catalog of a million mappings beside PostgreSQL and Redis: the same names, the same questions, the same client.

    python -m loadtests.catalog_peers [--quick] [--names N]

All three are asked over TCP on the loopback by one client of prebuilt bytes, with as many connections and one request
in flight on each; every answer is checked once. One server runs at a time. They do not promise the same: the notes say
what a peer does. What a server uses in processor time is the figure that no client can limit.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from loadtests import servers, world
from loadtests.exchange import Answered, Load, exchanged
from loadtests.figure import Figure, Result, shown
from loadtests.peer_catalogs import BATCH, Catalog, Running, ours, parts, postgres_table, redis_hashes
from loadtests.program import Scale, run, workspace
from loadtests.servers import PeerMissing

FIND = Figure("catalog and peers, one LFN per request, 32 clients", "requests/s", "more")
FIND_MANY = Figure("catalog and peers, 1,000 LFNs per request, 4 clients", "LFN/s", "more")
ADD = Figure("catalog and peers, durable put, one mapping per request, 64 clients", "requests/s", "more")
ADD_MANY = Figure("catalog and peers, durable put of 1,000 per request, 4 clients", "mappings/s", "more")

POSTGRES = "PostgreSQL table"
REDIS = "Redis hashes"
PROMISES = {
    POSTGRES: "synced before the answer; found by LFN, PFN and collection; names not checked, no totals, no soft state",
    REDIS: "synced before the answer; found by LFN alone, all in memory; names not checked, no totals, no soft state",
}

NAMES, QUICK_NAMES, TOY_NAMES = 1_000_000, 100_000, 5_000
#: Seconds of each run of lookups.
RUN_S, QUICK_RUN_S, TOY_RUN_S = 3.0, 1.0, 0.2
#: LFNs asked for one by one, in turn: more than any processor's cache holds the rows of.
QUESTIONS, TOY_QUESTIONS = 50_000, 1_000
BATCHES = 64
#: New mappings in each run.
SINGLES, QUICK_SINGLES, TOY_SINGLES = 10_000, 3_000, 200
NEW_BATCHES, QUICK_NEW_BATCHES, TOY_NEW_BATCHES = 40, 10, 2


@dataclass(frozen=True)
class Measured:
    """Rates of each run, and what was to be said of the servers and of the client."""

    rates: tuple[float, ...]
    note: str


def measure(scale: Scale) -> Iterator[Result]:
    """Each operation of ours beside that of each peer. Raises PeerMissing, after those that are there."""
    mine = _measured(ours, scale)
    missing = []
    for peer, running in ((POSTGRES, postgres_table), (REDIS, redis_hashes)):
        try:
            yield from _beside(mine, peer, running, scale)
        except PeerMissing as wrong:
            missing.append(str(wrong))
    if missing:
        raise PeerMissing("; ".join(missing))


def _beside(ours: dict[Figure, Measured], peer: str, running: Running, scale: Scale) -> Iterator[Result]:
    theirs = _measured(running, scale)
    for figure, mine in ours.items():
        other = theirs[figure]
        result = Result(replace(figure, peer=peer), f"{scale.names:,} mappings", mine.rates)
        note = f"ours: {mine.note}; {peer}: {PROMISES[peer]}; {other.note}"
        yield replace(result, peer=Result(figure, "", other.rates).value, note=note)


def _measured(running: Running, scale: Scale) -> dict[Figure, Measured]:
    with workspace() as folder, running(scale, folder) as catalog:
        return {
            FIND: _found(catalog, scale),
            FIND_MANY: _found_many(catalog, scale),
            ADD: _added(catalog, scale),
            ADD_MANY: _added_many(catalog, scale),
        }


def _found(catalog: Catalog, scale: Scale) -> Measured:
    rng = random.Random(scale.seed)
    numbers = rng.sample(range(scale.names), min(scale.names, scale.of(QUESTIONS, QUESTIONS, TOY_QUESTIONS)))
    load = catalog.find(numbers)
    for number, body in zip(numbers, exchanged(load, keep=True).bodies, strict=True):
        assert catalog.held(body, [number]) == 1, number
    return _asked(load, 1, scale)


def _found_many(catalog: Catalog, scale: Scale) -> Measured:
    batches = list(world.drawn(random.Random(scale.seed), scale.names, BATCH, BATCHES))
    load = catalog.find_many(batches)
    for batch, body in zip(batches, exchanged(load, keep=True).bodies, strict=True):
        assert catalog.held(body, batch) == BATCH
    return _asked(load, BATCH, scale)


def _asked(load: Load, each: int, scale: Scale) -> Measured:
    timed = replace(load, seconds=scale.of(RUN_S, QUICK_RUN_S, TOY_RUN_S))
    return _said([exchanged(timed) for _ in range(scale.runs)], each)


def _added(catalog: Catalog, scale: Scale) -> Measured:
    count = scale.of(SINGLES, QUICK_SINGLES, TOY_SINGLES)
    first, runs = scale.names, []
    for start in range(first, first + scale.runs * count, count):
        runs.append(exchanged(catalog.add(range(start, start + count)), keep=True))
        catalog.added(runs[-1], 1)
    return _said(runs, 1)


def _added_many(catalog: Catalog, scale: Scale) -> Measured:
    count = scale.of(NEW_BATCHES, QUICK_NEW_BATCHES, TOY_NEW_BATCHES) * BATCH
    # Whole blocks beyond those that were registered one by one.
    first, runs = 2 * scale.names, []
    for start in range(first, first + scale.runs * count, count):
        runs.append(exchanged(catalog.add_many(parts(start, start + count, BATCH)), keep=True))
        catalog.added(runs[-1], BATCH)
    return _said(runs, BATCH)


def _said(runs: list[Answered], each: int) -> Measured:
    seconds, answers = sum(one.seconds for one in runs), sum(one.answers for one in runs)
    used_s = sum(one.server_s for one in runs)
    client = max(one.client for one in runs)
    p99 = max(one.p99_ms for one in runs)
    note = f"p99 {shown(p99)} ms, {servers.shared(used_s, seconds, answers * each)}, client {client:.0%}"
    return Measured(tuple(one.rate * each for one in runs), note)


if __name__ == "__main__":
    run("A catalog beside PostgreSQL and Redis.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
