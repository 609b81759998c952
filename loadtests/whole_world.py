"""The framework paper's whole world in one index node: 200 sites, 50 million LFNs, 500 million replicas.

    python -m loadtests.whole_world [--quick] [--names N]

`paper_world.py` says what of it is synthesised: names, and nothing below them. The node is a real one, told over HTTP
by the product's own senders, site after site; memory is what the system says of its process, answers are asked over
HTTP and checked against the world, and sites too many are counted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from loadtests import world
from loadtests.exchange import JSON, MSGPACK, Load, exchanged, post
from loadtests.figure import Figure, Result, shown
from loadtests.lasting_node import NODE, lasting_node, slots_complete
from loadtests.paper_world import PaperWorld, WorldFilters, build
from loadtests.program import Scale, run, said, workspace
from loadtests.runs import repeated, walked
from loadtests.servers import Server
from loadtests.sites import send
from loadtests.wrk import Walk, sent
from reploc import bloom, digest
from reploc.client.node import RliNodeClient
from reploc.members import IndexSettings
from reploc.sender.sender import Identity, Sender
from reploc.wire import LfnsBody, Locations

AT = "200 sites, 50,000,000 LFNs, 500,000,000 replicas"
RESIDENT = Figure("whole world, resident memory of the node", "GB", "less", 3.0, AT)
FILLED = Figure("whole world, all sites' full updates, one after the other", "s", "less", None, AT)
SINGLE = Figure("whole world, one LFN per request", "requests/s", "more", None, AT)
P99 = Figure("whole world, one LFN per request, p99", "ms", "less", None, AT)
BULK_JSON = Figure("whole world, bulk lookup of 1,000 in JSON", "LFN/s", "more", None, AT)
BULK_MSGPACK = Figure("whole world, bulk lookup of 1,000 in MessagePack", "LFN/s", "more", None, AT)
STRAYS = Figure("whole world, false positives among sites that lack the LFN", "of those asked", "less", 1e-5, AT)

NAMES, QUICK_NAMES, TOY_NAMES = 50_000_000, 1_000_000, 20_000
SITES, TOY_SITES = 200, 20
REPLICAS = 10
#: LFNs that have names and can be asked for, at most; never more than half of the world.
NAMED = 1_000_000
BATCH, CONNECTIONS = 1_000, 4
#: Batches of which every answer is checked: half of LFNs that exist, half of LFNs that do not.
BATCHES, TOY_BATCHES = 400, 8

_ENCODE = {JSON: msgspec.json.encode, MSGPACK: msgspec.msgpack.encode}


def measure(scale: Scale) -> Iterator[Result]:
    """Memory, the time to fill, queries, false positives."""
    rng = random.Random(scale.seed)
    sites = scale.of(SITES, SITES, TOY_SITES)
    index = IndexSettings()
    made = PaperWorld(
        sites, scale.names, min(NAMED, scale.names // 2), REPLICAS, index.slots, index.error_rate, scale.seed
    )
    what = f"{sites} sites, {made.names:,} LFNs, {made.names * REPLICAS:,} replicas"
    with workspace() as folder:
        filters = _built(made, folder)
        with lasting_node(folder) as (server, lasting):
            empty = server.resident_bytes
            took = asyncio.run(_told(made, filters, server, lasting))
            yield Result(FILLED, what, (took,), note=_fill_note(filters, made, server))
            full = server.resident_bytes
            yield _strays(made, filters, server, scale, rng, what)
            yield from _queries(made, server, scale, rng, what)
            note = f"after all questions; {shown(empty / 1e9)} GB when empty, {shown(full / 1e9)} GB when filled"
            note += f"; at its peak {shown(server.peak_bytes / 1e9)} GB with the code's own pages"
            yield Result(RESIDENT, what, (server.resident_bytes / 1e9,), note=note)


def _built(made: PaperWorld, folder: Path) -> WorldFilters:
    began = time.monotonic()

    def progress(done: int) -> None:
        if done % (made.slots // 8) == 0:
            said(f"building filters: {done} of {made.slots} slots, {time.monotonic() - began:.0f} s")

    return build(made, folder / "filters", progress)


async def _told(made: PaperWorld, filters: WorldFilters, server: Server, index: IndexSettings) -> float:
    """Tells the node what every site holds, the next site's sender made meanwhile; the seconds that it took."""
    began = time.monotonic()
    async with RliNodeClient(server.url) as client:
        under_way = None
        for site in range(made.sites):
            sender = await asyncio.to_thread(_sender, made, filters, site, index)
            if under_way is not None:
                await under_way
            under_way = asyncio.create_task(send(client, sender, NODE))
            if site % max(1, made.sites // 8) == 0:
                said(f"telling the node: {site} of {made.sites} sites, {time.monotonic() - began:.0f} s")
        if under_way is not None:
            await under_way
    took = time.monotonic() - began
    complete = await slots_complete(server)
    assert complete == index.slots, f"the node is complete for {complete} of {index.slots} slots"
    return took


def _sender(made: PaperWorld, filters: WorldFilters, site: int, index: IndexSettings) -> Sender:
    """The catalog of a site as a sender that has built all its slots."""
    name = made.name(site)
    identity = Identity(name, f"http://{name}:39280", f"sender of {name}", incarnation=1)
    now = time.monotonic()
    sender = Sender(identity, 1, index, filters.counts[:, site], position=1, now=now)
    sender.rebuilt(filters.builds(site), position=1)
    return sender


def _fill_note(filters: WorldFilters, made: PaperWorld, server: Server) -> str:
    sent, count = filters.bits.size / 1e9, made.sites * made.slots
    return f"{shown(sent)} GB of filters, {count:,} of them; the node used {server.cpu_s:.0f} s of a core"


def _strays(
    made: PaperWorld, filters: WorldFilters, server: Server, scale: Scale, rng: random.Random, what: str
) -> Result:
    """Checks answers: no site that holds an LFN is lacking, and how many are named that do not."""
    batches = scale.of(BATCHES, BATCHES // 4, TOY_BATCHES)
    numbers = [
        rng.sample(range(first, first + made.named), min(BATCH, made.named))
        for first in (0, made.names)  # those that exist; and others, whose names nobody holds
        for _ in range(batches // 2)
    ]
    requests = [_request(batch, MSGPACK) for batch in numbers]
    checked = exchanged(Load(server.port, requests, CONNECTIONS), keep=True)
    strays = asked = 0
    for batch, body in zip(numbers, checked.bodies, strict=True):
        held = batch[0] < made.named
        right = _right(made, batch) if held else [set()] * len(batch)
        answer = msgspec.msgpack.decode(body, type=Locations)
        assert not answer.incomplete, f"{len(answer.incomplete)} LFNs are not complete; missing {answer.missing[:3]}"
        for number, sites in zip(batch, right, strict=True):
            found = set(answer.locations[world.lfn(number)])
            assert sites <= found, f"{world.lfn(number)} is at {sites}, found at {found}"
            strays += len(found - sites)
            asked += made.sites - len(sites)
    shape = bloom.geometry(filters.size_class, made.error_rate)
    expected = shape.rate(round(float(filters.counts.mean())))
    note = f"{strays:,} of {asked:,}; expected {expected:.2g}; every site that holds an LFN was named"
    return Result(STRAYS, what, (strays / asked,), note=note)


def _right(made: PaperWorld, numbers: list[int]) -> list[set[str]]:
    """The sites that hold each LFN."""
    places = made.sites_of(digest.of([world.lfn(number) for number in numbers]))
    return [{made.name(site) for site in row} for row in places.tolist()]


def _queries(made: PaperWorld, server: Server, scale: Scale, rng: random.Random, what: str) -> Iterator[Result]:
    runs = walked(server, Walk(server.port, "/v1/locations", made.named), scale, rng)
    yield Result(SINGLE, what, runs.rates, note=runs.cost)
    yield Result(P99, what, runs.p99s_ms)
    for figure, media in ((BULK_JSON, JSON), (BULK_MSGPACK, MSGPACK)):
        numbers = world.drawn(rng, made.named, min(BATCH, made.named), 64)
        load = partial(sent, server.port, [_request(batch, media) for batch in numbers], scale.run_s, CONNECTIONS)
        runs = repeated(server, load, scale.runs, BATCH)
        yield Result(figure, what, runs.rates, note=runs.cost)


def _request(numbers: list[int], media: str) -> bytes:
    return post("/v1/locations", _ENCODE[media](LfnsBody([world.lfn(number) for number in numbers])), media)


if __name__ == "__main__":
    run("The framework paper's whole world in one node.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
