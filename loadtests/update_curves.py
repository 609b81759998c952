"""How long an update takes: by the names of the catalog that sends it, and by how many catalogs send at once.

    python -m loadtests.update_curves [--quick] [--names N]

By names: a real catalog of 10,000 to 10 million names from the moment that it listens, with nothing built, until an
empty node holds every slot (`full_update.py`). By senders: 1 to 32 catalogs of a million names whose filters are built
already send to one empty node at the same moment, until the last one is told that all is held; all of them send from
one process, so that the second core is the node's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from loadtests import world
from loadtests.curve import Curve, Line
from loadtests.full_update import update
from loadtests.lasting_node import NODE, lasting_node, slots_complete
from loadtests.program import Scale, run, said, workspace
from loadtests.servers import Server
from loadtests.sites import send
from loadtests.stores import filled
from reploc import bloom, digest
from reploc.client.node import RliNodeClient
from reploc.digest import slots_of
from reploc.members import IndexSettings
from reploc.sender.sender import Identity, Sender
from reploc.sender.slot_filters import SlotBuild, build_slot

CATALOGS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
QUICK_CATALOGS, TOY_CATALOGS = (10_000, 100_000, 1_000_000), (1_000, 3_000)
SENDERS, TOY_SENDERS = (1, 2, 4, 8, 16, 32), (1, 2)
#: Names of each catalog that sends at once with others.
NAMES, QUICK_NAMES, TOY_NAMES = 1_000_000, 1_000_000, 5_000
#: Catalogs up to this many names are measured several times: larger ones take longer and vary less.
SEVERAL_TIMES_UP_TO = 1_000_000


def measure(scale: Scale) -> Iterator[Curve]:
    """Both curves."""
    with workspace() as folder:
        yield _by_names(scale, folder)
        yield _by_senders(scale, folder)


def _by_names(scale: Scale, folder: Path) -> Curve:
    catalogs = scale.of(CATALOGS, QUICK_CATALOGS, TOY_CATALOGS)
    seconds, sent = [], []
    for names in catalogs:
        store = filled(scale, folder, names=names)
        said(f"updates from a catalog of {names:,} names")
        times = scale.runs if names <= SEVERAL_TIMES_UP_TO else 1
        runs = [update(folder, store, names, scale.seed) for _ in range(times)]
        seconds.append(median(one.seconds for one in runs))
        sent.append(runs[-1].sent_bytes)
    bytes_each = ", ".join(f"{each / names:.2f} at {names:,}" for each, names in zip(sent, catalogs, strict=True))
    return Curve(
        "names",
        "A full update, by the names of the catalog",
        "names",
        "s",
        (Line("from its store to answering at the node", tuple(zip(catalogs, seconds, strict=True))),),
        f"Bytes on the wire for each name, with HTTP's headers: {bytes_each}.",
    )


def _by_senders(scale: Scale, folder: Path) -> Curve:
    counts = scale.of(SENDERS, SENDERS, TOY_SENDERS)
    builds, names_in = _builds(scale.names)
    last, mean = [], []
    for count in counts:
        said(f"{count} catalogs of {scale.names:,} names send at once")
        with lasting_node(folder) as (server, index):
            senders = [_sender(number, builds, names_in, index) for number in range(count)]
            took = asyncio.run(_at_once(server, senders, index))
        last.append(max(took))
        mean.append(sum(took) / count)
    return Curve(
        "senders",
        f"Full updates of {scale.names:,} names, by the catalogs sending at once",
        "catalogs sending at once",
        "s",
        (
            Line("until the last is told that all is held", tuple(zip(counts, last, strict=True))),
            Line("until each is told, on average", tuple(zip(counts, mean, strict=True))),
        ),
        "Filters are built before; all catalogs send the filters of the same names from one process, each over a "
        "connection of its own.",
    )


def _builds(names: int) -> tuple[list[SlotBuild], np.ndarray]:
    """The filters of a catalog of files 0 to `names`, and how many names are in each slot."""
    index = IndexSettings()
    digests = digest.of([world.lfn(number) for number in range(names)])
    slots = slots_of(digests, index.slots)
    counts = np.bincount(slots, minlength=index.slots)
    size_class = bloom.class_for(int(counts.max()), index.error_rate)
    parts = np.split(digests[np.argsort(slots, kind="stable")], np.cumsum(counts)[:-1])
    return [build_slot(slot, part, size_class, index.error_rate) for slot, part in enumerate(parts)], counts


def _sender(number: int, builds: list[SlotBuild], names_in: np.ndarray, index: IndexSettings) -> Sender:
    name = f"site-{number:04d}.example.org"
    identity = Identity(name, f"http://{name}:39280", f"sender of {name}", incarnation=1)
    sender = Sender(identity, 1, index, names_in, position=1, now=time.monotonic())
    sender.rebuilt(builds, position=1)
    return sender


async def _at_once(server: Server, senders: list[Sender], index: IndexSettings) -> list[float]:
    """Seconds until each sender was told that all is held; all begin at the same moment."""
    clients = [RliNodeClient(server.url) for _ in senders]
    started = time.perf_counter()

    async def told(client: RliNodeClient, sender: Sender) -> float:
        async with client:
            await send(client, sender, NODE)
        return time.perf_counter() - started

    took = await asyncio.gather(*(told(client, sender) for client, sender in zip(clients, senders, strict=True)))
    complete = await slots_complete(server)
    assert complete == index.slots, f"the node is complete for {complete} of {index.slots} slots"
    return took


if __name__ == "__main__":
    run("How long an update takes.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
