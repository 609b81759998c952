"""Totals of collections in one index node: the memory that they take, and what asking for them costs.

    python -m loadtests.block_totals [--quick]

Sixty sites hold two copies of each of five million blocks with names as a collaboration gives them. Placement asks for
each site's blocks as an Arrow stream; an unchanged site costs it a line, which is measured too.
"""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlencode

import numpy as np
import polars as pl

from loadtests.figure import Figure, Result, shown
from loadtests.lasting_node import NODE, lasting_node
from loadtests.program import Scale, run, said, workspace
from loadtests.servers import Server
from loadtests.sites import send
from lrc.slot_totals import SlotTotals, build_totals
from reploc.client.node import RliNodeClient
from reploc.members import IndexSettings
from reploc.sender.sender import Identity, Sender
from reploc.wire import CollectionTotals

RESIDENT = Figure("totals of collections, resident", "GB", "less", 1.5, "10,000,000 (site, block) pairs")
FILLED = Figure("totals of collections, told to the node", "s", "less")
PULLED = Figure(
    "totals of collections, pulled as Arrow, all sites", "s", "less", 30.0, "10,000,000 (site, block) pairs"
)
UNCHANGED = Figure("totals of collections, pulled when nothing changed", "ms", "less")
ONE = Figure("totals of collections, one block", "ms", "less")

#: Blocks, each at so many of so many sites.
BLOCKS, QUICK_BLOCKS, TOY_BLOCKS = 5_000_000, 500_000, 6_000
SITES, COPIES = 60, 2
#: Questions about one block, of which the mean is told.
ASKED = 200


def measure(scale: Scale) -> Iterator[Result]:
    """Memory, and seconds to fill and to pull."""
    what = f"{COPIES * scale.names:,} (site, block) pairs"
    with workspace() as folder, lasting_node(folder) as (server, index):
        empty = server.resident_bytes
        began = time.monotonic()
        asyncio.run(_told(scale.names, server, index))
        yield Result(FILLED, what, (time.monotonic() - began,), note="senders made in the same time")
        gained = server.resident_bytes - empty
        note = f"{shown(gained / COPIES / scale.names)} bytes a pair beyond an empty node's {shown(empty / 1e9)} GB"
        yield Result(RESIDENT, what, (server.resident_bytes / 1e9,), note=note)
        yield _pulled(scale, server, what)
        yield Result(UNCHANGED, what, tuple(_timed_ms(server, "/v1/collections/sites") for _ in range(scale.runs)))
        paths = [f"/v1/collection?{urlencode({'name': block(number)})}" for number in range(0, scale.names, 997)]
        yield Result(ONE, what, (sum(_timed_ms(server, path) for path in paths[:ASKED]) / len(paths[:ASKED]),))
        note = f"{shown(server.peak_bytes / 1e9)} GB at its peak"
        yield Result(RESIDENT, f"{what}, after all questions", (server.resident_bytes / 1e9,), note=note)


def block(number: int) -> str:
    """The name of a block: sixty bytes, ten blocks a dataset."""
    dataset = number // 10
    run, unique = "ABCDEFG"[dataset % 7], number * 2_654_435_761 % (1 << 64)
    return f"/Primary{dataset % 97}/Run2026{run}-v{dataset:07d}/AODSIM#{unique:016x}"


def _told_of(site: int, blocks: int) -> list[CollectionTotals]:
    """What a site holds: every block whose number leads to it, whole."""
    numbers = [*range(site, blocks, SITES), *range((site + SITES // COPIES) % SITES, blocks, SITES)]
    return [
        CollectionTotals(block(number), 1 + number % 100, (1 + number % 100) * 3_000_000_000, 0) for number in numbers
    ]


async def _told(blocks: int, server: Server, index: IndexSettings) -> None:
    began = time.monotonic()
    async with RliNodeClient(server.url) as client:
        for site in range(SITES):
            await send(client, await asyncio.to_thread(_sender, site, blocks, index), NODE)
            if site % 10 == 0:
                said(f"telling the node: {site} of {SITES} sites, {time.monotonic() - began:.0f} s")


def _sender(site: int, blocks: int, index: IndexSettings) -> Sender:
    name = f"site-{site:02d}.example.org"
    identity = Identity(name, f"http://{name}:39280", f"sender of {name}", incarnation=1)
    counts = np.zeros(index.slots, dtype=np.int64)
    form = SlotTotals(index.partition)
    sender = Sender(identity, 1, index, counts, position=1, now=time.monotonic(), about="collections", form=form)
    sender.rebuilt(build_totals(range(index.slots), _told_of(site, blocks), index.partition), position=1)
    return sender


def _pulled(scale: Scale, server: Server, what: str) -> Result:
    """Pulls every site's stream, as placement does when it starts, and adds up what is in them."""
    began, rows, sent = time.monotonic(), 0, 0
    for site in range(SITES):
        query = urlencode({"site": f"site-{site:02d}.example.org"})
        with urllib.request.urlopen(f"{server.url}/v1/collections/arrow?{query}", timeout=120) as answer:
            body = answer.read()
        frame = pl.read_ipc_stream(body)
        rows, sent = rows + frame.height, sent + len(body)
    took = time.monotonic() - began
    assert rows == COPIES * scale.names, f"{rows:,} rows came of {COPIES * scale.names:,}"
    return Result(PULLED, what, (took,), note=f"{shown(sent / 1e6)} MB, one site after the other")


def _timed_ms(server: Server, path: str) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(server.url + path, timeout=60) as answer:
        answer.read()
    return (time.monotonic() - began) * 1e3


if __name__ == "__main__":
    run("Totals of collections in one node.", measure, BLOCKS, QUICK_BLOCKS, TOY_BLOCKS)
