"""What a catalog of 10,000 to 10 million mappings does in a second: lookups and durable registrations, over HTTP.

    python -m loadtests.catalog_curve [--quick]

New files are registered beside those that are there, one in a request from 64 clients, or a block of a thousand in a
request from four, in a copy of the store.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from loadtests import servers, world
from loadtests.curve import Curve, Line
from loadtests.exchange import JSON, MSGPACK, Load, exchanged, post
from loadtests.lrc_lookups import BATCH, CONNECTIONS
from loadtests.lrc_writes import BULK_CLIENTS, CLIENTS, require_done
from loadtests.program import Scale, run, said, workspace
from loadtests.servers import Server
from loadtests.stores import copied
from loadtests.wrk import Walk
from reploc.wire import LfnsBody, MappingsBody

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES, TOY_SIZES = (10_000, 100_000, 1_000_000), (10_000, 20_000)
#: Seconds of lookups of each kind at each size.
RUN_S, QUICK_RUN_S, TOY_RUN_S = 3.0, 1.0, 0.2
#: Registrations at each size, at most half of the blocks and of the files there: they differ from each other.
SINGLES, TOY_SINGLES = 5_000, 200
BLOCKS, TOY_BLOCKS = 20, 2


@dataclass(frozen=True)
class Pace:
    """What a catalog does in a second."""

    lookups: float
    bulk_lfns: float
    puts: float
    bulk_mappings: float


def measure(scale: Scale) -> Iterator[Curve]:
    """One curve of four lines."""
    sizes = scale.of(SIZES, QUICK_SIZES, TOY_SIZES)
    paces = []
    for size in sizes:
        with workspace() as folder:
            store = copied(scale, folder, names=size)
            said(f"a catalog of {size:,} mappings")
            with servers.running(servers.catalog(folder, "site-a", store, servers.index_of(1))) as server:
                paces.append(_pace(server, size, scale))
    lines = {
        "bulk lookups of 1,000 (LFN/s)": [pace.bulk_lfns for pace in paces],
        "bulk registrations of 1,000 (mappings/s)": [pace.bulk_mappings for pace in paces],
        "lookups, one LFN each (requests/s)": [pace.lookups for pace in paces],
        "registrations, one each (requests/s)": [pace.puts for pace in paces],
    }
    yield Curve(
        "catalog",
        "What a catalog does in a second, by its size",
        "mappings",
        "per second",
        tuple(Line(label, tuple(zip(sizes, values, strict=True))) for label, values in lines.items()),
        "Over HTTP; bulk requests in MessagePack; every registration is on disk before its answer.",
    )


def _pace(server: Server, size: int, scale: Scale) -> Pace:
    rng = random.Random(scale.seed)
    seconds = scale.of(RUN_S, QUICK_RUN_S, TOY_RUN_S)
    Walk(server.port, "/v1/replicas", size).run(1, rng)
    lookups = Walk(server.port, "/v1/replicas", size).run(seconds, rng).rate
    batches = ([world.lfn(one) for one in batch] for batch in world.drawn(rng, size, BATCH, 64))
    asked = [post("/v1/replicas", msgspec.msgpack.encode(LfnsBody(batch)), MSGPACK) for batch in batches]
    bulk = exchanged(Load(server.port, asked, CONNECTIONS, seconds)).rate * BATCH

    blocks = rng.sample(range(size // BATCH), min(scale.of(BLOCKS, BLOCKS, TOY_BLOCKS), size // BATCH // 2))
    in_blocks = set(blocks)
    numbers = [rng.randrange(size) for _ in range(4 * SINGLES)]
    apart = [number for number in dict.fromkeys(numbers) if number // BATCH not in in_blocks]
    singles = [[number] for number in apart[: scale.of(SINGLES, SINGLES, TOY_SINGLES)]]
    puts = _registered(server, singles, CLIENTS, JSON)
    whole = [list(range(block * BATCH, (block + 1) * BATCH)) for block in blocks]
    return Pace(lookups, bulk, puts, _registered(server, whole, BULK_CLIENTS, MSGPACK) * BATCH)


def _registered(server: Server, groups: list[list[int]], clients: int, media: str) -> float:
    """Requests a second that each register a group of new files; every answer is checked."""
    encode = msgspec.json.encode if media == JSON else msgspec.msgpack.encode
    bodies = (MappingsBody("create", [world.later_mapping(number) for number in group]) for group in groups)
    answered = exchanged(
        Load(server.port, [post("/v1/mappings", encode(body), media) for body in bodies], clients), keep=True
    )
    require_done(answered, len(groups[0]))
    return answered.rate


if __name__ == "__main__":
    run("What a catalog does in a second, by its size.", measure, SIZES[-1], QUICK_SIZES[-1], TOY_SIZES[-1])
