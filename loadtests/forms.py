"""What each form of summary costs, in bytes to tell and in time to ask: where filters, fingerprints, names, totals win.

    python -m loadtests.forms [--quick] [--names N]

By names: the bytes of all summaries of a catalog, told whole, in as many slots as an index has by default. By sites:
what an answer costs a node, in one process and without HTTP; each site holds 2,000 names of its own choice, of which
each has three copies on average, in 16 slots. Both ends are the product's own. Of collections the question is which
sites hold any of one, for each of as many collections.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from loadtests import world
from loadtests.curve import Curve, Line
from loadtests.program import Scale, run, said
from lrc.slot_totals import SlotTotals, build_totals
from reploc import digest
from reploc.digest import slots_of
from reploc.members import IndexSettings
from reploc.partition import Partition
from reploc.sender.form import Form
from reploc.sender.placing import Placing
from reploc.sender.slot_filters import SlotFilters, build_slot
from reploc.sender.slot_keys import SlotFingerprints, SlotLists
from reploc.wire import CollectionTotals, Summary
from rli.filters import Filters
from rli.holding import Holding
from rli.key_sets import HeldFingerprints, HeldLists
from rli.matrix import Matrix
from rli.totals import HeldTotals

CATALOGS = (100, 1_000, 10_000, 100_000, 1_000_000)
QUICK_CATALOGS, TOY_CATALOGS = (100, 10_000, 100_000), (100, 1_000)
COUNTS, QUICK_COUNTS, TOY_COUNTS = (10, 30, 100, 300, 1_000), (10, 100), (3, 10)
#: Names at each site, and slots, where time is measured: 125 names a slot.
NAMES, TOY_NAMES = 2_000, 200
SLOTS = 16
COPIES = 3
BATCH = 1_000
FILTER_BYTES_MAX = 8 << 30


@dataclass(frozen=True)
class Way:
    """One form as a catalog tells it: everything it has, by the names that the catalog holds."""

    label: str
    told: Callable[[Sequence[str], Partition], list[Summary]]


class Asked(Protocol):
    """Answers for many names at once; how many sites it named over all of them."""

    def __call__(self, names: Sequence[str]) -> int: ...


def measure(scale: Scale) -> Iterator[Curve]:
    """Both curves."""
    yield _by_names(scale)
    yield _by_sites(scale)


def _by_names(scale: Scale) -> Curve:
    partition = Partition(IndexSettings().slots)
    points: dict[str, list[tuple[float, float]]] = {way.label: [] for way in WAYS}
    for count in scale.of(CATALOGS, QUICK_CATALOGS, TOY_CATALOGS):
        said(f"forms: a catalog of {count:,} names")
        lfns = [world.lfn(number) for number in range(count)]
        for way in WAYS:
            size = sum(len(summary.body) for summary in way.told(lfns, partition))
            points[way.label].append((count, size / count))
    return Curve(
        "form-bytes",
        "A full update in each form, by the names of the catalog",
        "names",
        "bytes a name",
        tuple(Line(label, tuple(of)) for label, of in points.items()),
        f"Bodies of the summaries of {partition.slots} slots, without HTTP; fingerprints also in one piece, as small "
        f"catalogs tell them. An LFN is {len(world.lfn(0))} bytes long, and a collection has "
        f"{world.FILES_PER_BLOCK:,} files. Names differ in numbers alone, and squeeze well.",
    )


def _by_sites(scale: Scale) -> Curve:
    counts = scale.of(COUNTS, QUICK_COUNTS, TOY_COUNTS)
    points: dict[str, list[tuple[float, float]]] = {way.label: [] for way in WAYS if way.label != PIECE}
    held_bytes: dict[str, int] = {}
    for count in counts:
        said(f"forms: a node of {count:,} sites")
        for way in WAYS:
            if way.label == PIECE:
                continue
            asked, names, size = _node(way, count, scale)
            points[way.label].append((count, _microseconds(asked, names, scale)))
            held_bytes[way.label] = size
    sizes = ", ".join(f"{label} {size / 1e6:,.1f} MB" for label, size in held_bytes.items())
    return Curve(
        "form-queries",
        f"An answer in each form, {BATCH:,} names at once, by sites",
        "sites",
        "µs a name",
        tuple(Line(label, tuple(of)) for label, of in points.items()),
        f"Each site holds {scale.names:,} names. Held by the node of {counts[-1]:,} sites: {sizes}.",
    )


def _node(way: Way, sites: int, scale: Scale) -> tuple[Asked, list[str], int]:
    """A node that was told by so many sites: how it is asked, what for, and the bytes that it holds."""
    rng, partition = random.Random(scale.seed), Partition(SLOTS)
    pool = max(scale.names, sites * scale.names // COPIES)
    node = _NODES[way.label](partition)
    for site in range(sites):
        lfns = [world.lfn(number) for number in sorted(rng.sample(range(pool), scale.names))]
        for summary in way.told(lfns, partition):
            for _ in node.holding.store(summary.slot, site, node.holding.verified(summary)):
                pass
    drawn = [rng.randrange(pool) for _ in range(BATCH)]
    names = [world.collection(number) if way.label == TOTALS else world.lfn(number) for number in drawn]
    assert node.asked(names) > 0
    return node.asked, names, node.memory()


def _microseconds(asked: Asked, names: Sequence[str], scale: Scale) -> float:
    """For one name, asked until a fifth of a run's time is full."""
    times, started, seconds = 0, time.perf_counter(), 0.0
    while seconds < scale.run_s / 5:
        asked(names)
        times, seconds = times + 1, time.perf_counter() - started
    return seconds / times / len(names) * 1e6


# ---- the forms -------------------------------------------------------------------------------------------------------

FILTERS, FINGERPRINTS, PIECE, LISTS = "bloom", "fingerprint", "fingerprint, one piece", "none (names)"
TOTALS = "collection"


@dataclass(frozen=True)
class _Node:
    holding: Holding
    asked: Asked
    memory: Callable[[], int]


def _filters(lfns: Sequence[str], partition: Partition) -> list[Summary]:
    rate = IndexSettings().error_rate
    form, digests = SlotFilters(Placing(partition), rate), digest.of(lfns)
    slots = slots_of(digests, partition.slots)
    form.fit(int(np.bincount(slots).max()))
    for slot in range(partition.slots):
        form.replace(build_slot(slot, digests[slots == slot], form.size_class, rate))
    return _whole(form)


def _fingerprints(lfns: Sequence[str], partition: Partition) -> list[Summary]:
    return _keys(SlotFingerprints(Placing(partition)), lfns, partition.slots)


def _piece(lfns: Sequence[str], partition: Partition) -> list[Summary]:
    return _keys(SlotFingerprints(Placing(partition, one_piece=True)), lfns, 1)


def _lists(lfns: Sequence[str], partition: Partition) -> list[Summary]:
    return _keys(SlotLists(Placing(partition)), lfns, partition.slots)


def _keys(form: SlotFingerprints | SlotLists, lfns: Sequence[str], count: int) -> list[Summary]:
    digests = digest.of(lfns)
    slots = slots_of(digests, count)
    for slot in range(count):
        places = np.flatnonzero(slots == slot)
        names = [lfns[at] for at in places.tolist()]
        if isinstance(form, SlotFingerprints):
            form.replace(form.build(slot, digests[places], names))
        else:
            form.replace(form.build(slot, digests[places], names))
    return _whole(form)


def _totals(lfns: Sequence[str], partition: Partition) -> list[Summary]:
    """Of names as `world.lfn` makes them, whose collections its numbers say."""
    files = Counter(world.collection(_number(lfn)) for lfn in lfns)
    rows = [CollectionTotals(name, count, count << 30, 0) for name, count in files.items()]
    form = SlotTotals(partition)
    for build in build_totals(range(partition.slots), rows, partition):
        form.replace(build)
    return _whole(form)


def _number(lfn: str) -> int:
    return int("".join(each for each in lfn.rpartition("/")[2] if each.isdigit()))


def _whole(form: Form) -> list[Summary]:
    return [form.summary(slot, 0) for slot in range(len(form.sequences))]


def _node_of_filters(partition: Partition) -> _Node:
    matrix = Matrix(partition.slots, IndexSettings().error_rate, FILTER_BYTES_MAX)
    return _Node(
        Filters(matrix), lambda names: len(matrix.query(digest.of(names)).rows), lambda: matrix.memory().allocated
    )


def _node_of_fingerprints(_: Partition) -> _Node:
    held = HeldFingerprints()
    return _Node(held, lambda names: len(held.query(digest.of(names)).rows), held.memory)


def _node_of_lists(_: Partition) -> _Node:
    held = HeldLists()
    return _Node(held, lambda names: len(held.query(names).rows), held.memory)


def _node_of_totals(partition: Partition) -> _Node:
    held = HeldTotals(partition)
    return _Node(held, lambda names: sum(len(held.of(name)) for name in names), held.memory)


WAYS = (
    Way(FILTERS, _filters),
    Way(FINGERPRINTS, _fingerprints),
    Way(PIECE, _piece),
    Way(LISTS, _lists),
    Way(TOTALS, _totals),
)
_NODES: dict[str, Callable[[Partition], _Node]] = {
    FILTERS: _node_of_filters,
    FINGERPRINTS: _node_of_fingerprints,
    LISTS: _node_of_lists,
    TOTALS: _node_of_totals,
}

if __name__ == "__main__":
    run("Each form of summary, in bytes and in time.", measure, NAMES, NAMES, TOY_NAMES)
