"""What an answer costs an index of 10 to 10,000 sites, beside the loop over one filter per site.

    python -m loadtests.sites_curve [--quick] [--names N]

The index is a node's own, in one process and without HTTP, told by the product's senders; the loop runs in a process of
its own. Each site holds 2,000 names, in 16 slots, so that ten thousand sites are told in half a minute: what is asked
reads as many rows of bits as with 256. The loop's cost hangs on the number of sites alone, so that its filters hold few
names and it is asked few.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeVar

from loadtests import servers, world
from loadtests.curve import Curve, Line
from loadtests.exchange import in_a_process
from loadtests.program import Scale, run, said
from loadtests.rli_lookups import PEER, pybloom_rate
from loadtests.sites import REPLICAS, Sites
from reploc import digest
from reploc.wire import SoftState, SoftStateAnswer
from rli.index import Index

Asked = TypeVar("Asked")

COUNTS, QUICK_COUNTS, TOY_COUNTS = (10, 30, 100, 300, 1_000, 3_000, 10_000), (10, 100, 1_000), (10, 30)
#: Names at each site, and slots: 125 names a slot.
NAMES, TOY_NAMES = 2_000, 600
SLOTS = 16
#: Nothing expires meanwhile.
LASTING_S = 86_400.0
BATCH = 1_000
#: Names of each site in the loop's filters, and how many LFNs it is asked for: some seconds at ten thousand sites.
PEER_NAMES, PEER_QUESTIONS = 20, 500_000
BYTES_MAX = 8 << 30
#: Questions between two looks at the clock.
_BETWEEN_LOOKS = 8


@dataclass(frozen=True)
class Cost:
    """Microseconds for an LFN: asked one by one, and a thousand at once."""

    single: float
    bulk: float


@dataclass(frozen=True)
class _Here:
    """An index of this process, as senders know a node."""

    index: Index

    async def soft_state(self, message: SoftState) -> SoftStateAnswer:
        return await self.index.receive(message, time.monotonic())


def measure(scale: Scale) -> Iterator[Curve]:
    """One curve of three lines."""
    counts = scale.of(COUNTS, QUICK_COUNTS, TOY_COUNTS)
    costs, loop = [], []
    for count in counts:
        said(f"{count:,} sites of {scale.names:,} names")
        names = max(BATCH, count * scale.names // REPLICAS)
        costs.append(in_a_process(cost, Sites(count, names), scale.run_s / 2, scale.seed))
        asked = max(20, PEER_QUESTIONS // count // scale.of(1, 4, 100))
        loop.append(1e6 / in_a_process(pybloom_rate, Sites(count, count * PEER_NAMES), asked))
    yield Curve(
        "sites",
        "What an answer costs, by the number of sites",
        "sites",
        "µs per LFN",
        (
            Line("1,000 LFNs at once", tuple(zip(counts, (cost.bulk for cost in costs), strict=True))),
            Line("one LFN at a time", tuple(zip(counts, (cost.single for cost in costs), strict=True))),
            Line(PEER, tuple(zip(counts, loop, strict=True))),
        ),
        f"In one process without HTTP, the digest of the name included; {scale.names:,} names at each site, each LFN "
        f"at {REPLICAS} sites. The loop answers the same question from one pybloom-live filter per site.",
    )


def cost(sites: Sites, seconds: float, seed: int) -> Cost:
    """What answers cost at these sites; every answer of a batch is checked."""
    settings = servers.index_of(1, slots=SLOTS, expiry_s=LASTING_S, forget_after_s=LASTING_S)
    node = settings.nodes[0].name
    index = Index(settings, node, BYTES_MAX, time.monotonic())
    asyncio.run(sites.tell(_Here(index), node, settings))
    rng = random.Random(seed)
    batches = [[world.lfn(number) for number in batch] for batch in world.drawn(rng, sites.names, BATCH, 64)]
    now = time.monotonic()
    for number in range(BATCH):
        found = index.location(world.lfn(number), now)
        assert {site.site for site in found.sites} >= set(sites.of(number)), found
    bulk = _seconds_each(lambda batch: index.locations(batch, digest.of(batch), now), batches, seconds) / BATCH
    singles = [lfn for batch in batches for lfn in batch]
    single = _seconds_each(lambda lfn: index.location(lfn, now), singles, seconds)
    return Cost(single * 1e6, bulk * 1e6)


def _seconds_each(ask: Callable[[Asked], object], asked: list[Asked], seconds: float) -> float:
    """Seconds for each question, asked round and round for so long."""
    questions = cycle(asked)
    done, spent, started = 0, 0.0, time.perf_counter()
    while spent < seconds:
        for one in islice(questions, _BETWEEN_LOOKS):
            ask(one)
        done, spent = done + _BETWEEN_LOOKS, time.perf_counter() - started
    return spent / done


if __name__ == "__main__":
    run("What an answer costs by the number of sites.", measure, NAMES, NAMES, TOY_NAMES)
