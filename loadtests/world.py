"""A synthetic site: names that number n gives, the same in every program and in the script that walks them.

Names look like those of an experiment's data: a thousand files to a block, ascending with their number, so that a
store can be filled in the order of its keys.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from reploc.wire import MappingItem, MappingsBody

FILES_PER_BLOCK = 1_000
DATASET = "/Run2026/Simulation"
LFN_PREFIX = "/store/mc/Run2026/Simulation/"
PFN_PREFIX = "root://storage.example.org:1094//data"
SIZE_FIRST = 1 << 30


def lfn(number: int) -> str:
    """The name of file `number`, below 10¹²; `walk.lua` makes the same."""
    return f"{LFN_PREFIX}{number // FILES_PER_BLOCK:09d}/{number:012d}.root"


def pfn(number: int) -> str:
    return PFN_PREFIX + lfn(number)


def collection(number: int) -> str:
    return f"{DATASET}#{number // FILES_PER_BLOCK:09d}"


def size(number: int) -> int:
    return SIZE_FIRST + number


def checksum(number: int) -> str:
    return f"adler32:{number * 2_654_435_761 % (1 << 32):08x}"


def mapping(number: int) -> MappingItem:
    """The registration of file `number`, with everything that a site knows of it."""
    return MappingItem(lfn(number), pfn(number), size(number), checksum(number), collection(number))


def registration(number: int) -> bytes:
    """The request body, in JSON, that registers file `number` as new."""
    return msgspec.json.encode(MappingsBody("create", [mapping(number)]))


def later_mapping(number: int) -> MappingItem:
    """The registration of a file that is not in a filled store, and whose name lies beside that of file `number`."""
    name = lfn(number).removesuffix(".root") + ".later.root"
    return MappingItem(name, PFN_PREFIX + name, size(number), checksum(number), collection(number))


def drawn(rng: random.Random, names: int, batch: int, batches: int) -> Iterator[list[int]]:
    """Batches of distinct numbers below `names`."""
    for _ in range(batches):
        yield rng.sample(range(names), batch)
