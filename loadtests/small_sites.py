"""An index node of up to a hundred thousand small sites: its memory, its answers, and the signs of life that it takes.

    python -m loadtests.small_sites [--quick] [--names SITES]

`small_world.py` makes the sites up. Each has a sender of the product's own, which tells all that its site holds in one
piece, as fingerprints. The node is a real one, fresh for each number of sites, told and asked over HTTP; every answer
of a batch is checked. That many sites renew their news all the time, as often as a setting says: how fast a node takes
renewals is measured too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from loadtests import world
from loadtests.curve import Curve, Line
from loadtests.exchange import JSON, MSGPACK, Answered, Load, exchanged, in_a_process, post
from loadtests.figure import Figure, Result, shown
from loadtests.lasting_node import NODE, lasting_node
from loadtests.program import Scale, run, said, workspace
from loadtests.rli_lookups import PEER, pybloom_rate
from loadtests.runs import repeated, walked
from loadtests.servers import Server
from loadtests.sites import REPLICAS, Sites, send
from loadtests.small_world import SmallWorld
from loadtests.wrk import Walk, sent
from reploc.client.node import RliNodeClient
from reploc.members import IndexSettings
from reploc.sender.placing import Placing
from reploc.sender.sender import Identity, Sender
from reploc.sender.slot_keys import SlotFingerprints
from reploc.wire import LfnsBody, Locations, SoftState, SoftStateAnswer

AT = "100,000 sites"
MEMORY = Figure("small sites, memory of the node", "GB", "less", None, AT)
TOLD = Figure("small sites, told to the node from nothing", "sites/s", "more", None, AT)
SINGLE = Figure("small sites, one LFN per request", "requests/s", "more", None, AT, PEER)
P99 = Figure("small sites, one LFN per request, p99", "ms", "less", None, AT)
BULK = Figure("small sites, bulk lookup of 1,000 in JSON", "LFN/s", "more", None, AT, PEER)
#: A hundred thousand sites, each once in `renewal_interval_s`, by default.
RENEWALS = Figure("small sites, renewals taken", "renewals/s", "more", round(100_000 / 30), AT)

COUNTS, QUICK_COUNTS, TOY_COUNTS = (100, 1_000, 10_000), (100, 1_000), (10,)
SITES, QUICK_SITES, TOY_SITES = 100_000, 10_000, 100
BATCH, BATCHES = 1_000, 64
CONNECTIONS = 4
#: Sites that are told at once.
TELLERS = 4
#: Messages of that many sites are sent once more without news, so often.
RENEWING, TOY_RENEWING = 5_000, 50
#: Names of each site in the loop's filters: its cost hangs on the number of sites alone.
PEER_NAMES = 2
#: LFNs that the loop is asked for, times sites: some seconds.
PEER_QUESTIONS = 1_000_000


@dataclass(frozen=True)
class Measured:
    """What a node of so many sites costs and gives."""

    what: str
    empty_bytes: int
    resident_bytes: int
    told_s: float
    single: tuple[float, ...]
    p99_ms: tuple[float, ...]
    single_note: str
    bulk: tuple[float, ...]
    bulk_note: str
    renewals: tuple[float, ...]
    renewals_note: str


def measure(scale: Scale) -> Iterator[Result | Curve]:
    """Figures at the most sites, and plots of what answers cost and of the memory at fewer."""
    counts = sorted({*(each for each in scale.of(COUNTS, QUICK_COUNTS, TOY_COUNTS) if each < scale.names), scale.names})
    found, loop = [], []
    for count in counts:
        found.append(_measured(SmallWorld(count, scale.seed), scale))
        asked = max(10, PEER_QUESTIONS // count // scale.of(1, 4, 100))
        loop.append(in_a_process(pybloom_rate, Sites(count, count * PEER_NAMES), asked))
    most, peer = found[-1], loop[-1]
    yield Result(MEMORY, most.what, (most.resident_bytes / 1e9,), note=_each(most, SmallWorld(counts[-1], scale.seed)))
    yield Result(TOLD, most.what, (counts[-1] / most.told_s,), note=f"in {most.told_s:,.0f} s, by {TELLERS} at a time")
    yield Result(SINGLE, most.what, most.single, peer, most.single_note)
    yield Result(P99, most.what, most.p99_ms)
    yield Result(BULK, most.what, most.bulk, peer, most.bulk_note)
    yield Result(RENEWALS, most.what, most.renewals, note=most.renewals_note)
    yield Curve(
        "small-sites",
        "What an LFN costs a node of small sites, by their number",
        "sites",
        "µs per LFN",
        (
            Line("1,000 LFNs at once", _points(counts, [one.bulk for one in found])),
            Line("one LFN at a time", _points(counts, [one.single for one in found])),
            Line(PEER, _points(counts, [(rate,) for rate in loop])),
        ),
        f"Over HTTP; 10 to 1,000 names at each site, each LFN at {REPLICAS} of them. The loop answers the same "
        "question from one pybloom-live filter per site, in one process and without HTTP.",
    )
    held = tuple((float(count), one.resident_bytes / 1e6) for count, one in zip(counts, found, strict=True))
    yield Curve(
        "small-sites-memory",
        "Memory of a node of small sites, by their number",
        "sites",
        "MB",
        (Line("resident", held),),
        f"Of the whole process, which takes {shown(most.empty_bytes / 1e6)} MB when it holds nothing.",
    )


def _points(counts: list[int], rates: list[tuple[float, ...]]) -> tuple[tuple[float, float], ...]:
    return tuple((count, 1e6 / float(np.median(each))) for count, each in zip(counts, rates, strict=True))


def _each(found: Measured, made: SmallWorld) -> str:
    return (
        f"{found.resident_bytes / made.pairs:.0f} bytes for each name at a site, "
        f"{found.resident_bytes / made.count / 1e3:.1f} kB for each site"
    )


def _measured(made: SmallWorld, scale: Scale) -> Measured:
    what = f"{made.count:,} sites, {made.names:,} LFNs, {made.pairs:,} replicas"
    rng = random.Random(scale.seed)
    with workspace() as folder, lasting_node(folder) as (server, index):
        said(f"telling a node what {what} are")
        empty = server.resident_bytes
        began = time.monotonic()
        asyncio.run(_told(made, server.url, index))
        told_s = time.monotonic() - began
        resident = server.resident_bytes
        said(f"{what}: told in {told_s:.1f} s, {resident / 1e6:,.0f} MB")
        _check(made, server, scale, rng)
        single = walked(server, Walk(server.port, "/v1/locations", made.named), scale, rng)
        batch = min(BATCH, made.named)
        requests = [_request(numbers) for numbers in world.drawn(rng, made.named, batch, BATCHES)]
        bulk = repeated(server, lambda: sent(server.port, requests, scale.run_s, CONNECTIONS), scale.runs, batch)
        before = server.cpu_s
        renewed = [_renewed(made, server, index, 2 + number, scale) for number in range(scale.runs)]
        renewals_note = server.share(before, sum(one.seconds for one in renewed), sum(one.answers for one in renewed))
        return Measured(
            what,
            empty,
            resident,
            told_s,
            single.rates,
            single.p99s_ms,
            single.cost,
            bulk.rates,
            bulk.cost,
            tuple(one.rate for one in renewed),
            renewals_note,
        )


async def _told(made: SmallWorld, url: str, index: IndexSettings) -> None:
    """Tells a node what every site holds, several at a time."""
    sites = iter(range(made.count))

    async def tell(client: RliNodeClient) -> None:
        for site in sites:
            await send(client, _sender(made, site, index), NODE)

    async with RliNodeClient(url) as client:
        await asyncio.gather(*(tell(client) for _ in range(TELLERS)))


def _sender(made: SmallWorld, site: int, index: IndexSettings) -> Sender:
    """The catalog of a site as a sender that has built what it tells."""
    name, now = made.name(site), time.monotonic()
    identity = Identity(name, f"http://{name}:39280", f"sender of {name}", incarnation=1)
    held = made.digests(made.held(site))
    form = SlotFingerprints(Placing(index.partition, one_piece=True))
    sender = Sender(identity, 1, index, np.array([len(held)]), position=1, now=now, form=form)
    sender.rebuilt([form.build(0, held, ())], position=1)
    return sender


def _check(made: SmallWorld, server: Server, scale: Scale, rng: random.Random) -> None:
    """Every answer of some batches names exactly the sites that hold the LFN."""
    batches = [rng.sample(range(made.named), min(BATCH, made.named)) for _ in range(scale.of(16, 8, 2))]
    requests = [_request(batch) for batch in batches]
    checked = exchanged(Load(server.port, requests, CONNECTIONS), keep=True)
    for batch, body in zip(batches, checked.bodies, strict=True):
        answer = msgspec.json.decode(body, type=Locations)
        assert not answer.incomplete, f"{len(answer.incomplete)} LFNs are not complete; missing {answer.missing[:3]}"
        for number, sites in zip(batch, made.of(np.array(batch)).tolist(), strict=True):
            found, right = answer.locations[world.lfn(number)], {made.name(site) for site in sites}
            assert len(found) == len(right) and right.issuperset(found), f"{world.lfn(number)} is at {right}: {found}"


def _request(batch: list[int]) -> bytes:
    return post("/v1/locations", msgspec.json.encode(LfnsBody([world.lfn(number) for number in batch])), JSON)


def _renewed(made: SmallWorld, server: Server, index: IndexSettings, number: int, scale: Scale) -> Answered:
    """Some sites' messages once more, without news and with a higher number; each is said to be current."""
    renewing = range(0, made.count, max(1, made.count // scale.of(RENEWING, RENEWING, TOY_RENEWING)))
    requests = [
        post("/v1/softstate", msgspec.msgpack.encode(_renewal(_sender(made, site, index), number)), MSGPACK)
        for site in renewing
    ]
    answered = exchanged(Load(server.port, requests, CONNECTIONS), keep=True)
    assert all(msgspec.msgpack.decode(body, type=SoftStateAnswer).current for body in answered.bodies)
    return answered


def _renewal(sender: Sender, number: int) -> SoftState:
    [told] = [send.message for send in sender.due(time.monotonic()) if send.node == NODE]
    return msgspec.structs.replace(told, summaries=[], message=number)


if __name__ == "__main__":
    run("An index node of many small sites.", measure, SITES, QUICK_SITES, TOY_SITES)
