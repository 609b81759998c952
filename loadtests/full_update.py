"""A full update: a site's whole catalog from its store to an empty index node, in seconds and in bytes.

    python -m loadtests.full_update [--quick] [--names N]

The clock runs from the moment that the catalog's process listens, with nothing built, until the node says that it
holds every slot. A proxy between the two counts what passes, HTTP's headers included.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from loadtests import servers, world
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, workspace
from loadtests.servers import Server
from loadtests.stores import filled
from loadtests.wiretap import tapped
from reploc.client.node import RliNodeClient
from reploc.demo.ports import free_port
from reploc.members import IndexSettings

AT = "1,000,000 LFNs"
SECONDS = Figure("full update, from store to answering at the node", "s", "less", 1.5, AT)
WIRE = Figure("full update, on the wire at 1e-5", "MB", "less", 3.5, AT)

NAMES, QUICK_NAMES, TOY_NAMES = 1_000_000, 1_000_000, 10_000
#: A node that has been up for so long believes that it knows all senders, so that its word "complete" counts.
EXPIRY_S = 2.0
#: Seconds that an update may take, and between two looks at the node: each costs it a fiftieth of the time.
UPDATE_S = 120.0
LOOK_S = 0.01
#: Names that are looked up at the node afterwards.
CHECKED = 1_000


def measure(scale: Scale) -> Iterator[Result]:
    """Both figures: the time in several runs, the bytes of the last."""
    with workspace() as folder:
        store = filled(scale, folder)
        runs = [update(folder, store, scale.names, scale.seed) for _ in range(scale.runs)]
    what = f"{scale.names:,} LFNs"
    note = "from the first moment that the catalog listens; the node is looked at every 10 ms"
    yield Result(SECONDS, what, tuple(one.seconds for one in runs), note=note)
    yield Result(WIRE, what, (runs[-1].sent_bytes / 1e6,), note="with HTTP's headers")


@dataclass(frozen=True)
class Update:
    """How long an update took, and the bytes that the catalog sent."""

    seconds: float
    sent_bytes: int


def update(folder: Path, store: Path, names: int, seed: int) -> Update:
    """A full update of an empty node from a store of files 0 to `names`."""
    index = servers.index_of(1, renewal_interval_s=EXPIRY_S / 2, expiry_s=EXPIRY_S)
    name = index.nodes[0].name
    server_port = urlsplit(index.urls[name]).port or 0
    with (
        servers.running(servers.node(folder, name, index)) as node,
        tapped(free_port(), server_port) as wiretap,
    ):
        process = servers.catalog(folder, "site-a", store, _through(wiretap.port, index))
        process.log.unlink(missing_ok=True)
        with servers.running(process, ready=False):
            held_at = asyncio.run(_held(node, names, seed))
            return Update(held_at - _listening_since(process.log), wiretap.sent_bytes)


def _through(port: int, index: IndexSettings) -> IndexSettings:
    """The same index with its one node behind the proxy."""
    node = msgspec.structs.replace(index.nodes[0], url=f"http://127.0.0.1:{port}")
    return msgspec.structs.replace(index, nodes=[node])


async def _held(node: Server, names: int, seed: int) -> float:
    """When the node held all slots of its one site, as seconds since 1970; and every name asked is found in it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + UPDATE_S
    async with RliNodeClient(node.url) as client:
        while True:
            status = await client.status()
            if status.sites_live == 1 and status.slots_complete == status.slots:
                break
            assert loop.time() < until, f"after {UPDATE_S:.0f} s {status.slots_complete} slots are complete"
            await asyncio.sleep(LOOK_S)
        held_at = datetime.now().timestamp()
        lfns = [world.lfn(number) for number in random.Random(seed).sample(range(names), min(names, CHECKED))]
        answer = await client.locations(lfns)
        assert not answer.incomplete and all(answer.locations[lfn] == ["site-a"] for lfn in lfns)
    return held_at


def _listening_since(log: Path) -> float:
    """When the catalog said that it listens, as seconds since 1970."""
    line = next(line for line in log.read_text(encoding="utf-8").splitlines() if "daemon.listening" in line)
    return datetime.fromisoformat(line.split()[0]).timestamp()


if __name__ == "__main__":
    run("A full update of an index node.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
