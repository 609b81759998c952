"""Durable writes at a catalog: one mapping per request from 64 clients, and a thousand at once.

    python -m loadtests.lrc_writes [--quick] [--names N] [--stores DIR]

Every write creates a new LFN, so that one that was there already would show as an error; every answer is checked.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from loadtests import servers, world
from loadtests.exchange import JSON, MSGPACK, Answered, Load, exchanged, post
from loadtests.figure import Figure, Result
from loadtests.lrc_lookups import NAMES, QUICK_NAMES, TOY_NAMES
from loadtests.program import Scale, run, workspace
from loadtests.servers import Server
from loadtests.stores import copied
from reploc.wire import MappingItem, MappingsBody, Written

SINGLE = Figure("LRC, durable put, one mapping per request, 64 clients", "requests/s", "more", 8_000)
BULK_EMPTY = Figure("LRC, durable bulk of 1,000 into an empty catalog", "mappings/s", "more", 100_000)
BULK_FULL = Figure("LRC, durable bulk of 1,000, a block each", "mappings/s", "more", 30_000, "10,000,000 mappings")
BULK_SPREAD = Figure("LRC, durable bulk of 1,000 spread over all names", "mappings/s", "more")

BATCH = 1_000
CLIENTS = 64
#: Clients of bulk requests: some are decoded while others are written, and a commit's pages are shared by several.
BULK_CLIENTS = 8
SINGLES, QUICK_SINGLES, TOY_SINGLES = 30_000, 6_000, 300
BATCHES, QUICK_BATCHES, TOY_BATCHES = 200, 60, 4
#: Batches at a full catalog are fewer, as each is slower.
FULL_BATCHES, QUICK_FULL_BATCHES, TOY_FULL_BATCHES = 60, 20, 2
#: Fewer again where every file dirties pages of its own in every table, and the disk sets the pace.
SPREAD_BATCHES, QUICK_SPREAD_BATCHES, TOY_SPREAD_BATCHES = 16, 8, 2
#: Pages that a commit of a few tens of single puts writes, about; as many bytes has a page of the store.
SYNC_PAGES, SYNC_PAGE_BYTES = 64, 4096


def measure(scale: Scale) -> Iterator[Result]:
    """Every figure; those of a full catalog on a store of `scale.names` mappings."""
    singles = scale.of(SINGLES, QUICK_SINGLES, TOY_SINGLES)
    batches = scale.of(BATCHES, QUICK_BATCHES, TOY_BATCHES)
    with workspace() as folder:
        single = _into_empty(SINGLE, folder, scale, _singles(singles), CLIENTS, f"{singles:,} into an empty catalog")
        synced = (
            f"; the disk alone synced {SYNC_PAGES} scattered pages {_syncs(folder, scale.run_s):,.0f} times a second"
        )
        yield replace(single, note=single.note + synced)
        yield _into_empty(BULK_EMPTY, folder, scale, _blocks(batches), BULK_CLIENTS, f"{batches * BATCH:,} mappings")
        yield from _into_full(folder, scale)


def _syncs(folder: Path, seconds: float) -> float:
    """How often in a second the disk makes durable what a commit of single puts writes."""
    rng, page, pages = random.Random(0), bytes(SYNC_PAGE_BYTES), 1 << 12
    with (folder / "synced").open("wb", buffering=0) as file:
        file.truncate(pages * SYNC_PAGE_BYTES)
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for place in rng.sample(range(pages), SYNC_PAGES):
                os.pwrite(file.fileno(), page, place * SYNC_PAGE_BYTES)
            os.fdatasync(file.fileno())
            done += 1
        return done / (time.perf_counter() - started)


def _into_empty(
    figure: Figure, folder: Path, scale: Scale, requests: Sequence[bytes], clients: int, what: str
) -> Result:
    """A run per new catalog."""
    items = BATCH if figure is BULK_EMPTY else 1
    rates, notes = [], []
    for number in range(scale.runs):
        store = folder / f"empty-{clients}-{number}"
        process = servers.catalog(folder, f"site-{clients}-{number}", store, servers.index_of(1))
        with servers.running(process) as server:
            before = server.cpu_s
            answered = exchanged(Load(server.port, requests, clients), keep=True)
            notes.append(server.share(before, answered.seconds, answered.answers * items))
        require_done(answered, items)
        rates.append(answered.rate * items)
    return Result(figure, what, tuple(rates), note=f"p99 {answered.p99_ms:.0f} ms; {notes[-1]}")


def _into_full(folder: Path, scale: Scale) -> Iterator[Result]:
    """New files beside those that are there: a thousand of one block in a request, and then of any blocks."""
    rng = random.Random(scale.seed)
    batches = scale.of(FULL_BATCHES, QUICK_FULL_BATCHES, TOY_FULL_BATCHES) * scale.runs
    blocks = rng.sample(range(scale.names // BATCH), batches)
    in_blocks = [number for block in blocks for number in range(block * BATCH, (block + 1) * BATCH)]
    others = sorted(set(range(scale.names)).difference(in_blocks))
    spread_batches = scale.of(SPREAD_BATCHES, QUICK_SPREAD_BATCHES, TOY_SPREAD_BATCHES) * scale.runs
    spread = rng.sample(others, spread_batches * BATCH)
    store = copied(scale, folder)
    with servers.running(servers.catalog(folder, "site-a", store, servers.index_of(1))) as server:
        yield _registered(BULK_FULL, server, in_blocks, scale)
        yield _registered(BULK_SPREAD, server, spread, scale)


def _registered(figure: Figure, server: Server, numbers: Sequence[int], scale: Scale) -> Result:
    """The rates of registering these files, in as many runs as the scale says."""
    requests = [_bulk([world.later_mapping(number) for number in part]) for part in _parts(numbers)]
    each = len(requests) // scale.runs
    before, seconds, rates = server.cpu_s, 0.0, []
    for start in range(0, len(requests), each):
        answered = exchanged(Load(server.port, requests[start : start + each], BULK_CLIENTS), keep=True)
        require_done(answered, BATCH)
        rates.append(answered.rate * BATCH)
        seconds += answered.seconds
    note = server.share(before, seconds, len(numbers))
    return Result(figure, f"{scale.names:,} mappings", tuple(rates), note=note)


def _singles(count: int) -> list[bytes]:
    return [post("/v1/mappings", world.registration(number), JSON) for number in range(count)]


def _blocks(batches: int) -> list[bytes]:
    """A block of files per request, as production registers them."""
    return [_bulk([world.mapping(number) for number in part]) for part in _parts(range(batches * BATCH))]


def _parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))


def _bulk(mappings: list[MappingItem]) -> bytes:
    return post("/v1/mappings", msgspec.msgpack.encode(MappingsBody("create", mappings)), MSGPACK)


def require_done(answered: Answered, items: int) -> None:
    """Every mapping of every request is registered."""
    decode = msgspec.json.decode if items == 1 else msgspec.msgpack.decode
    for body in answered.bodies:
        written = decode(body, type=Written)
        assert written.done == items and not written.errors, written.errors[:1]


if __name__ == "__main__":
    run("Durable writes at a catalog.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
