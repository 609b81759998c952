"""Lookups at an index node that a thousand sites have told what they hold: single ones, and a thousand at once.

    python -m loadtests.rli_lookups [--quick] [--names N]

Beside it, in the same run, the loop that anyone would write first: a pybloom-live filter per site, asked one after the
other. Its cost per LFN hangs on the number of sites alone, so that its filters hold few names and it is asked few.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice

import msgspec
from pybloom_live import BloomFilter

from loadtests import world
from loadtests.exchange import JSON, MSGPACK, Load, exchanged, in_a_process, post
from loadtests.figure import Figure, Result
from loadtests.lasting_node import NODE, lasting_node
from loadtests.program import Scale, run, said, workspace
from loadtests.runs import repeated, walked
from loadtests.servers import Server
from loadtests.sites import Sites
from loadtests.wrk import Walk, sent
from reploc.wire import LfnsBody, Locations

AT = "1,000 sites"
PEER = "pybloom-live, site by site"
SINGLE = Figure("RLI, one LFN per request", "requests/s", "more", 12_000, AT, PEER)
SINGLE_P99 = Figure("RLI, one LFN per request, p99", "ms", "less", 10, AT)
BULK_JSON = Figure("RLI, bulk lookup of 1,000 in JSON", "LFN/s", "more", 120_000, AT, PEER)
BULK_MSGPACK = Figure("RLI, bulk lookup of 1,000 in MessagePack", "LFN/s", "more", 200_000, AT, PEER)
MEMORY = Figure("RLI, memory", "MB", "less", None, AT)

SITES, TOY_SITES = 1_000, 20
BATCH = 1_000
BATCHES = 64
CONNECTIONS = 4
NAMES, QUICK_NAMES, TOY_NAMES = 10_000_000, 1_000_000, 20_000
#: Names that the peer holds and is asked for.
PEER_NAMES, PEER_ASKED, TOY_PEER_ASKED = 20_000, 300, 20
#: Answers may name a site too many at this rate in all: a thousand sites at 1e-5 each, with room for chance.
STRAY_RATE_MAX = 0.03

_FORMS: dict[str, tuple[Callable[[object], bytes], Callable[..., Locations]]] = {
    JSON: (msgspec.json.encode, msgspec.json.decode),
    MSGPACK: (msgspec.msgpack.encode, msgspec.msgpack.decode),
}


def measure(scale: Scale) -> Iterator[Result]:
    """All figures, at a node that knows 1,000 sites."""
    rng = random.Random(scale.seed)
    count = scale.of(SITES, SITES, TOY_SITES)
    sites = Sites(count, scale.names)
    asked = scale.of(PEER_ASKED, PEER_ASKED, TOY_PEER_ASKED)
    peer = in_a_process(pybloom_rate, Sites(count, PEER_NAMES), asked)
    with workspace() as folder, lasting_node(folder) as (server, index):
        said(f"telling a node what {count:,} sites hold of {scale.names:,} LFNs")
        asyncio.run(sites.told_to(server.url, NODE, index))
        yield from _single(server, sites, scale, rng, peer)
        for figure, media in ((BULK_JSON, JSON), (BULK_MSGPACK, MSGPACK)):
            yield _bulk(figure, media, server, sites, scale, rng, peer)
        yield Result(MEMORY, _scale(sites), (server.resident_bytes / 1e6,), note="resident, of the whole process")


def _single(server: Server, sites: Sites, scale: Scale, rng: random.Random, peer: float) -> Iterator[Result]:
    runs = walked(server, Walk(server.port, "/v1/locations", scale.names), scale, rng)
    yield Result(SINGLE, _scale(sites), runs.rates, peer, runs.cost)
    yield Result(SINGLE_P99, _scale(sites), runs.p99s_ms)


def _bulk(
    figure: Figure, media: str, server: Server, sites: Sites, scale: Scale, rng: random.Random, peer: float
) -> Result:
    encode, decode = _FORMS[media]
    batches = list(world.drawn(rng, scale.names, BATCH, BATCHES))
    requests = [post("/v1/locations", encode(LfnsBody([world.lfn(one) for one in batch])), media) for batch in batches]
    checked = exchanged(Load(server.port, requests, CONNECTIONS), keep=True)
    strays = sum(
        _strays(decode(body, type=Locations), batch, sites) for batch, body in zip(batches, checked.bodies, strict=True)
    )
    assert strays <= STRAY_RATE_MAX * BATCH * BATCHES, f"{strays} sites too many in {BATCH * BATCHES} answers"
    runs = repeated(server, lambda: sent(server.port, requests, scale.run_s, CONNECTIONS), scale.runs, BATCH)
    return Result(figure, _scale(sites), runs.rates, peer, runs.cost)


def _strays(answer: Locations, numbers: list[int], sites: Sites) -> int:
    """How many sites the answer names that do not hold the LFN; every one that does must be there."""
    assert not answer.incomplete, f"{len(answer.incomplete)} LFNs are not complete; missing {answer.missing[:3]}"
    strays = 0
    for number in numbers:
        found, right = set(answer.locations[world.lfn(number)]), set(sites.of(number))
        assert right <= found, f"{world.lfn(number)} is at {right}, found at {found}"
        strays += len(found - right)
    return strays


def pybloom_rate(sites: Sites, asked: int) -> float:
    """LFNs a second that the loop over one pybloom-live filter per site answers."""
    filters = {sites.name(site): BloomFilter(2 * sites.names * 3 // sites.count, 1e-5) for site in range(sites.count)}
    for number in range(sites.names):
        for site in sites.of(number):
            filters[site].add(world.lfn(number))
    started = time.perf_counter()
    for number in islice(cycle(range(sites.names)), asked):
        name = world.lfn(number)
        found = [site for site, filter_ in filters.items() if name in filter_]
        assert set(found) >= set(sites.of(number))
    return asked / (time.perf_counter() - started)


def _scale(sites: Sites) -> str:
    return f"{sites.count:,} sites, {sites.names:,} LFNs at 3 each"


if __name__ == "__main__":
    run("Lookups at an index node.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
